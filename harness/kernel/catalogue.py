"""The kernel catalogue: `kernels/*.toml`, one file per kernel line, and what a name or path stands for.

The user's own lines lie in `kernels.d/` of the working directory, and come before those of the project.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import places, toml
from harness.errors import ConfigError
from harness.kernel import modules, stock
from harness.kernel.bzimage import KernelImage, inspect
from harness.kernel.stock import DebianKernel

if TYPE_CHECKING:
    from harness.sources.debian import DebianSource
    from harness.sources.packages import Package

_OWN = Path("kernels.d")


class KernelFile(toml.Table, frozen=True):
    """A kernel that lies on this machine; paths are relative to the file that names them."""

    path: str
    modules: str = ""


class KernelLine(toml.Table, frozen=True):
    """One kernel line of the catalogue; point releases move on below it.

    Attributes:
        summary: One line for `harness list`.
        version: Upstream series, such as "6.1", as a pattern of file names: "7.*" is any of Linux 7.
        bits: Width of the kernel.
        debian: Where it comes from: a package,
        file: or a file.
    """

    summary: str
    version: str
    bits: Literal[32, 64]
    debian: DebianKernel | None = None
    file: KernelFile | None = None

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        if self.debian:
            return f"{self.debian.package} of {self.debian.suite}/{self.debian.architecture}"
        return self.file.path if self.file else ""


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
    """The kernel lines of the catalogue, by name; the user's own stand for the project's of the same name."""
    files = sorted((places.data_root() / "kernels").glob("*.toml"))
    own = sorted(_OWN.absolute().glob("*.toml"))
    return {path.stem: path for path in (*files, *own)}


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
    line = toml.load(known[name], KernelLine)
    if (line.debian is None) == (line.file is None):
        raise ConfigError(f"{known[name]}: it needs one of the tables debian and file: where it comes from")
    return line


def is_path(name: str) -> bool:
    """Whether a kernel is named by the path of its file, perhaps with `,modules=DIR` behind it."""
    path = name.partition(",modules=")[0]
    return "/" in path or path != name or Path(path).is_file()


def obtain(name: str, debian: DebianSource) -> Kernel:
    """Get a kernel by its name in the catalogue, or by the path of the user's own vmlinuz.

    Args:
        name: A name, `PATH`, or `PATH,modules=DIR` with the kernel's `lib/modules/<release>`.
        debian: Where packages come from.

    Raises:
        ConfigError: There is no such kernel or file, the file is no kernel, or the modules are another's.
        InfraError: It cannot be downloaded.
    """
    if is_path(name):
        path, _, directory = name.partition(",modules=")
        return _own(str(Path(path).absolute()), Path(path), Path(directory) if directory else None)
    line = load_line(name)
    where = kernel_files()[name]
    if line.file is not None:
        base = where.parent
        own = base / line.file.modules if line.file.modules else None
        return _promised(line, where, _own(name, base / line.file.path, own))
    assert line.debian is not None  # noqa: S101 - `load_line` saw to it
    found = stock.fetch(line.debian, debian, debian.store)
    return _promised(line, where, Kernel(name, inspect(found.vmlinuz), found.modules, found.package))


def _own(name: str, path: Path, directory: Path | None) -> Kernel:
    """A kernel of the user's own."""
    image = inspect(path.absolute())
    if directory is None:
        return Kernel(name, image)
    directory = directory.absolute()
    if not (directory / "kernel").is_dir() and (inner := directory / "lib/modules" / image.version).is_dir():
        directory = inner
    release = modules.release(directory)
    if image.version and release != image.version:
        raise ConfigError(
            f"the modules in {directory} are of Linux {release}, and {path} is Linux {image.version}",
            hint="give the kernel's own lib/modules/<release> directory",
        )
    return Kernel(name, image, directory)


def _promised(line: KernelLine, where: Path, kernel: Kernel) -> Kernel:
    """The kernel, if it is what its line says."""
    if not fnmatchcase(kernel.series, line.version) or kernel.image.bits != line.bits:
        raise ConfigError(
            f"{where} promises a {line.bits}-bit Linux {line.version}, and "
            f"{kernel.package or kernel.image.path} is a {kernel.image.bits}-bit Linux {kernel.series}",
            hint="the suite has moved on; name another suite or package, or correct the file",
        )
    return kernel


def choose_second(candidates: tuple[str, ...], seed: Kernel) -> str:
    """The first candidate of another series than the seed kernel's.

    Raises:
        ConfigError: All candidates are of the seed kernel's series.
    """
    for name in candidates:
        if not fnmatchcase(seed.series, load_line(name).version):
            return name
    raise ConfigError(
        f"no second kernel differs from the seed kernel {seed.name} ({seed.image.version})",
        hint=f"the recipe's key kernels.second lists {', '.join(candidates)}; add one of another series",
    )
