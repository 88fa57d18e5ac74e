"""The kernel catalogue: `kernels/*.toml`, and kernels given by path.

The user's own lines lie in `kernels.d/` of the working directory, and come before those of the project.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from harness.core import paths, toml
from harness.core.architecture import DEFAULT, of_debian
from harness.core.errors import ConfigError
from harness.kernel import stock
from harness.kernel.bzimage import KernelImage, inspect
from harness.kernel.stock import DebianKernel

if TYPE_CHECKING:
    from harness.kernel.built import Order
    from harness.sources.debian import DebianSource
    from harness.sources.packages import Package

_OWN = Path("kernels.d")


class KernelFile(toml.Table, frozen=True):
    """A kernel that lies on this machine; paths are relative to the file that names them."""

    path: str
    modules: str = ""


class KernelBuild(toml.Table, frozen=True):
    """What a kernel is built from."""

    suite: str
    package: str
    fragments: tuple[str, ...]


class KernelLine(toml.Table, frozen=True):
    """One kernel line of the catalogue; point releases move on below it."""

    summary: str  # one line for `harness list`
    version: str  # upstream series, such as "6.1", as a pattern of file names: "7.*" is any of Linux 7
    bits: Literal[32, 64]  # width of the kernel
    debian: DebianKernel | None = None  # where it comes from: a package,
    file: KernelFile | None = None  # a file,
    # or the source of a package, from which it is built here. One of the three is there
    build: KernelBuild | None = None

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        if self.debian:
            return f"{self.debian.package} of {self.debian.suite}/{self.debian.architecture}"
        if self.build:
            return f"built from {self.build.package} of {self.build.suite}"
        return self.file.path if self.file else ""


class Kernel(msgspec.Struct, frozen=True):
    """A kernel at hand."""

    name: str  # name in the catalogue, or the path that the user gave
    image: KernelImage  # what the bootable file says about itself
    # its `lib/modules/<release>` directory, if it came with one. That of a kernel that was built here has
    # no modules, and says what is built in
    modules: Path | None = None
    package: Package | None = None  # the package that it, or its source, came from, if any

    @property
    def series(self) -> str:
        """Upstream series: "6.1" of "6.1.0-50-686"."""
        return ".".join(self.image.version.split(".")[:2])


def kernel_files() -> dict[str, Path]:
    """The kernel lines of the catalogue, by name; the user's own stand for the project's of the same name."""
    files = sorted((paths.data_root() / "kernels").glob("*.toml"))
    own = sorted(_OWN.absolute().glob("*.toml"))
    return {path.stem: path for path in (*files, *own)}


def load_line(name: str) -> KernelLine:
    """Read a kernel line of the catalogue, or the file of one, a path that ends in `.toml`."""
    path = _file_of(name)
    line = toml.load(path, KernelLine)
    tables = {"debian": line.debian, "file": line.file, "build": line.build}
    if sum(table is not None for table in tables.values()) != 1:
        there = ", ".join(name for name, table in tables.items() if table is not None) or "none"
        raise ConfigError(
            f"{path} needs exactly one of the tables {', '.join(tables)}, and has {there}",
            hint="a kernel comes from a package, is a file, or is built from a package's source",
        )
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


def is_path(name: str) -> bool:
    """Whether a name is the path of a kernel file, perhaps with `,modules=DIR` behind it."""
    path = name.partition(",modules=")[0]
    return path != name or (not name.endswith(".toml") and ("/" in path or Path(path).is_file()))


def obtain(name: str, debian: DebianSource) -> Kernel:
    """Get a kernel by its name in the catalogue, or by the path of the user's own vmlinuz or kernel line.

    One that is built from source is built if the store does not have it, which takes minutes.

    Args:
        name: A name, `PATH`, or `PATH,modules=DIR` with the kernel's `lib/modules/<release>`.
        debian: Where packages come from.
    """
    if is_path(name):
        path, _, directory = name.partition(",modules=")
        return _own(str(Path(path).absolute()), Path(path), Path(directory) if directory else None)
    line, where = load_line(name), _file_of(name)
    moved = "the suite has moved on; name another suite or package, or correct the file"
    if line.debian is not None:
        fetched = stock.fetch(line.debian, debian, debian.store)
        kernel = Kernel(name, inspect(fetched.vmlinuz), fetched.modules, fetched.package)
    elif line.file is not None:
        own = where.parent / line.file.modules if line.file.modules else None
        kernel = _own(name, where.parent / line.file.path, own)
    else:
        from harness.kernel import built

        asked = order(name, debian)
        made = built.obtain(asked, debian)
        kernel = Kernel(asked.name, inspect(made.vmlinuz), made.modules, asked.package)
        moved = "correct the file: bits decides what is built"
    _check_architecture(where, line, kernel)
    if not fnmatchcase(kernel.series, line.version) or kernel.image.bits != line.bits:
        raise ConfigError(
            f"{where} promises a {line.bits}-bit Linux {line.version}, and "
            f"{kernel.package or kernel.image.path} is a {kernel.image.bits}-bit Linux {kernel.series}",
            hint=moved,
        )
    return kernel


def _check_architecture(where: Path, line: KernelLine, kernel: Kernel) -> None:
    if line.debian and kernel.image.architecture != of_debian(line.debian.architecture):
        raise ConfigError(
            f"{where} names {line.origin}, and its kernel is for {kernel.image.architecture}",
            hint="correct the file: debian.architecture and debian.package belong together",
        )


def architecture_of(name: str) -> str:
    """For which architecture a kernel is, by its name in the catalogue or by its path."""
    if is_path(name):
        return inspect(Path(name.partition(",modules=")[0]).absolute()).architecture
    line, where = load_line(name), _file_of(name)
    if line.file:
        return inspect(where.parent / line.file.path).architecture
    return of_debian(line.debian.architecture) if line.debian else DEFAULT


def _own(name: str, path: Path, directory: Path | None) -> Kernel:
    """A kernel of the user's own."""
    image = inspect(path.absolute())
    if directory is None:
        return Kernel(name, image)
    directory = directory.absolute()
    if not (directory / "kernel").is_dir() and (inner := directory / "lib/modules" / image.version).is_dir():
        directory = inner
    from harness.kernel import modules  # few kernels are the user's own

    release = modules.release(directory)
    if image.version and release != image.version:
        message = f"the modules in {directory} are of Linux {release}, and {path} is Linux {image.version}"
        raise ConfigError(message, hint="give the kernel's own lib/modules/<release> directory")
    return Kernel(name, image, directory)


def order(name: str, debian: DebianSource) -> Order:
    """What has to be built for a kernel of the catalogue, or for the file of one."""
    from harness.kernel import fragments, source  # few kernels are built here
    from harness.kernel.built import Order

    path, line = _file_of(name), load_line(name)
    if line.build is None:
        known = ", ".join(each for each in kernel_files() if load_line(each).build)
        message = f"the kernel {name} is not built but comes from a {'package' if line.debian else 'file'}"
        raise ConfigError(message, hint=f"built are: {known}")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,48}", path.stem):
        hint = "take letters, digits, dots and dashes, 48 at most: the name becomes a part of `uname -r`"
        raise ConfigError(f"{path.name} is no name for a kernel", hint=hint)
    package = source.resolve(line.build.suite, line.build.package, debian)
    if not fnmatchcase(package.version, f"{line.version}.*"):
        what = f"{path} promises Linux {line.version}, and {line.build.suite} has {package}"
        raise ConfigError(what, hint="name another suite or package, or correct the file")
    # `uname -r` tells kernels apart that are built from one source: 6.1.176-tiny-i686-disk.
    release = f'"-{path.stem.replace(f"-{line.version}", "", 1)}"'
    settings = (
        *fragments.compose(line.build.fragments, path.parent),
        fragments.Setting("LOCALVERSION", release, f"the name {path.name}"),
    )
    return Order(path.stem, line.bits, line.build.suite, package, settings)


def choose_second(candidates: tuple[str, ...], seed: Kernel) -> str:
    """The first candidate of another series than the seed kernel's."""
    for name in candidates:
        if not fnmatchcase(seed.series, load_line(name).version):
            return name
    raise ConfigError(
        f"no second kernel differs from the seed kernel {seed.name} ({seed.image.version})",
        hint=f"the recipe's key kernels.second lists {', '.join(candidates)}; add one of another series",
    )
