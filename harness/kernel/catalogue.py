"""The kernel catalogue: `kernels/*.toml`, one file per kernel line, and what a name or path stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import places, toml
from harness.errors import ConfigError
from harness.kernel.bzimage import KernelImage, inspect

if TYPE_CHECKING:
    from harness.sources.debian import DebianSource
    from harness.sources.packages import Package


class DebianKernel(toml.Table, frozen=True):
    """Which package of the Debian archive carries a kernel."""

    suite: str
    architecture: str
    package: str


class KernelLine(toml.Table, frozen=True):
    """One kernel line of the catalogue; point releases move on below it.

    Attributes:
        summary: One line for `harness list`.
        version: Upstream series, such as "6.1".
        bits: Width of the kernel.
        debian: Where it comes from.
    """

    summary: str
    version: str
    bits: Literal[32, 64]
    debian: DebianKernel


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel at hand.

    Attributes:
        name: Name in the catalogue, or the path that the user gave.
        image: What the bootable file says about itself.
        modules: Its `lib/modules/<release>` directory, if it came with one.
        package: The package that it came from, if any.
    """

    name: str
    image: KernelImage
    modules: Path | None = None
    package: Package | None = None

    @property
    def series(self) -> str:
        """Upstream series: "6.1" of "6.1.0-50-686"."""
        return ".".join(self.image.version.split(".")[:2])


def kernel_files() -> dict[str, Path]:
    """The kernel lines of the catalogue, by name."""
    return {path.stem: path for path in sorted((places.data_root() / "kernels").glob("*.toml"))}


def load_line(name: str) -> KernelLine:
    """Read a kernel line of the catalogue.

    Raises:
        ConfigError: There is none of that name, or its file is wrong.
    """
    known = kernel_files()
    if name not in known:
        raise ConfigError(
            f"there is no kernel {name!r}",
            hint=f"known kernels: {', '.join(known)}; or give the path of a vmlinuz with a / in it",
        )
    return toml.load(known[name], KernelLine)


def obtain(name: str, debian: DebianSource) -> Kernel:
    """Get a kernel by its name in the catalogue, or by the path of the user's own vmlinuz.

    Raises:
        ConfigError: There is no such kernel or file, or the file is no kernel.
        InfraError: It cannot be downloaded.
    """
    if "/" in name or Path(name).is_file():
        path = Path(name).absolute()
        return Kernel(name=str(path), image=inspect(path))
    line = load_line(name)
    place = line.debian
    package = debian.newest(place.suite, place.architecture, place.package)
    root = debian.unpack(place.suite, place.architecture, [package])[package.name]
    release = package.name.removeprefix("linux-image-")
    kernel = Kernel(
        name=name,
        image=inspect(root / "boot" / f"vmlinuz-{release}"),
        modules=root / "lib/modules" / release,
        package=package,
    )
    if (kernel.series, kernel.image.bits) != (line.version, line.bits):
        raise ConfigError(
            f"{kernel_files()[name]} promises a {line.bits}-bit Linux {line.version}, and {package} is a "
            f"{kernel.image.bits}-bit Linux {kernel.series}",
            hint="the suite has moved on; name another suite or package, or correct the file",
        )
    return kernel


def choose_second(candidates: tuple[str, ...], seed: Kernel) -> str:
    """The first candidate of another series than the seed kernel's.

    Raises:
        ConfigError: All candidates are of the seed kernel's series.
    """
    for name in candidates:
        if load_line(name).version != seed.series:
            return name
    raise ConfigError(
        f"no second kernel differs from the seed kernel {seed.name} ({seed.image.version})",
        hint=f"the recipe's key kernels.second lists {', '.join(candidates)}; add one of another series",
    )
