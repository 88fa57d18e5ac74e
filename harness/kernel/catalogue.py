"""The kernel catalogue: `kernels/*.toml`, one file per kernel line, and what a name or path stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import places, toml
from harness.errors import ConfigError
from harness.kernel import built, fragments, source
from harness.kernel.bzimage import KernelImage, inspect
from harness.kernel.fragments import Wish

if TYPE_CHECKING:
    from harness.kernel.built import Order
    from harness.sources.debian import DebianSource
    from harness.sources.packages import Package


class DebianKernel(toml.Table, frozen=True):
    """Which package of the Debian archive carries a kernel."""

    suite: str
    architecture: str
    package: str


class KernelBuild(toml.Table, frozen=True):
    """What a kernel is built from."""

    suite: str
    package: str
    fragments: tuple[str, ...]


class KernelLine(toml.Table, frozen=True):
    """One kernel line of the catalogue; point releases move on below it. Either `debian` or `build` is there.

    Attributes:
        summary: One line for `harness list`.
        version: Upstream series, such as "6.1".
        bits: Width of the kernel.
        debian: The package that has it.
        build: What it is built from here.
    """

    summary: str
    version: str
    bits: Literal[32, 64]
    debian: DebianKernel | None = None
    build: KernelBuild | None = None


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel at hand.

    Attributes:
        name: Name in the catalogue, or the path that the user gave.
        image: What the bootable file says about itself.
        modules: Its `lib/modules/<release>` directory, if it came with one. That of a kernel that was
            built here has no modules, and says what is built in.
        package: The package that it, or its source, came from, if any.
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
    """Read a kernel line of the catalogue, or the file of one, a path that ends in `.toml`.

    Raises:
        ConfigError: There is none of that name, or its file is wrong.
    """
    path = _file_of(name)
    line = toml.load(path, KernelLine)
    if (line.debian is None) == (line.build is None):
        what = "neither of the tables" if line.debian is None else "both tables,"
        hint = "a kernel comes from a package, or is built from one's source"
        raise ConfigError(f"{path} has {what} debian and build", hint=hint)
    return line


def _file_of(name: str) -> Path:
    if name.endswith(".toml"):
        return Path(name).absolute()
    known = kernel_files()
    if name not in known:
        raise ConfigError(
            f"there is no kernel {name!r}",
            hint=f"known kernels: {', '.join(known)}; or give the path of a vmlinuz with a / in it",
        )
    return known[name]


def obtain(name: str, debian: DebianSource) -> Kernel:
    """Get a kernel by its name in the catalogue, or by the path of the user's own vmlinuz or kernel line.

    One that is built from source is built if the store does not have it, which takes minutes.

    Raises:
        ConfigError: There is no such kernel or file, the file is no kernel, or it cannot be built so.
        InfraError: It cannot be downloaded, or its build failed.
    """
    if not name.endswith(".toml") and ("/" in name or Path(name).is_file()):
        path = Path(name).absolute()
        return Kernel(name=str(path), image=inspect(path))
    line = load_line(name)
    if line.debian is None:
        asked = order(name, debian)
        found = built.obtain(asked, debian)
        kernel = Kernel(asked.name, inspect(found.vmlinuz), found.modules, asked.package)
        moved = "correct the file: bits decides what is built"
    else:
        kernel = _packaged(name, line.debian, debian)
        moved = "the suite has moved on; name another suite or package, or correct the file"
    if (kernel.series, kernel.image.bits) != (line.version, line.bits):
        raise ConfigError(
            f"{_file_of(name)} promises a {line.bits}-bit Linux {line.version}, and {kernel.package} is a "
            f"{kernel.image.bits}-bit Linux {kernel.series}",
            hint=moved,
        )
    return kernel


def _packaged(name: str, place: DebianKernel, debian: DebianSource) -> Kernel:
    package = debian.newest(place.suite, place.architecture, place.package)
    root = debian.unpack(place.suite, place.architecture, [package])[package.name]
    release = package.name.removeprefix("linux-image-")
    return Kernel(
        name=name,
        image=inspect(root / "boot" / f"vmlinuz-{release}"),
        modules=root / "lib/modules" / release,
        package=package,
    )


def order(name: str, debian: DebianSource) -> Order:
    """What has to be built for a kernel of the catalogue, or for the file of one.

    Raises:
        ConfigError: There is no such kernel, none is built for it, or its fragments are wrong.
        InfraError: The archive does not answer.
    """
    path, line = _file_of(name), load_line(name)
    if line.build is None:
        known = ", ".join(each for each in kernel_files() if load_line(each).build)
        message = f"the kernel {name} is not built but comes from a package"
        raise ConfigError(message, hint=f"built are: {known}")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,48}", path.stem):
        hint = "take letters, digits, dots and dashes, 48 at most: the name becomes a part of `uname -r`"
        raise ConfigError(f"{path.name} is no name for a kernel", hint=hint)
    package = source.resolve(line.build.suite, line.build.package, debian)
    if not package.version.startswith(f"{line.version}."):
        raise ConfigError(
            f"{path} promises Linux {line.version}, and {line.build.suite} has {package}",
            hint="name another suite or package, or correct the file",
        )
    # `uname -r` tells kernels apart that are built from one source: 6.1.176-tiny-i686-disk.
    release = f'"-{path.stem.replace(f"-{line.version}", "", 1)}"'
    wishes = (
        *fragments.compose(line.build.fragments, path.parent),
        Wish("LOCALVERSION", release, f"the name {path.name}"),
    )
    return built.Order(path.stem, line.bits, line.build.suite, package, wishes)


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
