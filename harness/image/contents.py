"""The contents of an image: what a recipe asks for becomes entries of a file tree."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness import recipe as r
from harness.errors import ConfigError
from harness.image.elf import needed_files
from harness.image.tree import Entry
from harness.kernel import modules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from harness.image.artifact import Artifact
    from harness.kernel.catalogue import Kernel
    from harness.recipe import Content, Packages, Recipe
    from harness.sources.debian import DebianSource
    from harness.sources.packages import Package


@dataclass(frozen=True, slots=True)
class Ingredients:
    """All that contents can refer to.

    Attributes:
        recipe: The recipe whose images are built.
        kernels: Kernels by their role, "seed" and "second".
        debian: Where packages come from.
        images: The images of the recipe that are built already.
    """

    recipe: Recipe
    kernels: Mapping[str, Kernel]
    debian: DebianSource
    images: Mapping[str, Artifact]

    def packages(self, names: tuple[str, ...]) -> tuple[Package, ...]:
        """Packages of the recipe's suite with all that they need."""
        return self.debian.closure(self.recipe.debian.suite, self.recipe.debian.architecture, names)

    def unpacked(self, packages: Iterable[Package]) -> dict[str, Path]:
        """Directories with the packages' files, by package name."""
        place = self.recipe.debian
        return self.debian.unpack(place.suite, place.architecture, list(packages))


def describe(content: Content, given: Ingredients) -> dict[str, object]:
    """All that determines what a content adds, as JSON values: part of the image's key in the store."""
    asked: dict[str, object] = msgspec.to_builtins(content)
    match content:
        case r.File():
            source = given.recipe.base / content.source
            return {**asked, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
        case r.Packages():
            return {**asked, "packages": [package.sha256 for package in given.packages(content.names)]}
        case r.Modules() | r.KernelFile():
            kernel = given.kernels[content.kernel]
            package = kernel.package.sha256 if kernel.package else ""
            return {**asked, "sha256": kernel.image.sha256, "package": package}
        case r.ImageFile():
            return {**asked, "sha256": given.images[content.image].sha256}
    return asked


def entries(content: Content, given: Ingredients) -> Iterator[Entry]:
    """What a content adds to the tree.

    Raises:
        ConfigError: A source file cannot be read, a package lacks a program that is to be kept, or a
            kernel has no modules.
    """
    match content:
        case r.File():
            source = given.recipe.base / content.source
            yield Entry(content.path, stat.S_IFREG | content.mode, content=source, source=content.source)
        case r.Text():
            yield Entry(
                content.path, stat.S_IFREG | content.mode, content=content.text.encode(), source="the recipe"
            )
        case r.Directory():
            yield Entry(content.path, stat.S_IFDIR | content.mode, source="the recipe")
        case r.Symlink():
            yield Entry(content.path, stat.S_IFLNK | 0o777, target=content.target, source="the recipe")
        case r.Device():
            kind = stat.S_IFCHR if content.type == "char" else stat.S_IFBLK
            number = (content.major, content.minor)
            yield Entry(content.path, kind | content.mode, device=number, source="the recipe")
        case r.Packages():
            yield from _package_entries(content, given)
        case r.Modules():
            yield from _module_entries(content, given.kernels[content.kernel])
        case r.KernelFile():
            image = given.kernels[content.kernel].image
            yield Entry(
                content.path, stat.S_IFREG | 0o644, content=image.path, source=f"Linux {image.version}"
            )
        case r.ImageFile():
            artifact = given.images[content.image]
            yield Entry(
                content.path, stat.S_IFREG | 0o644, content=artifact.path, source=f"image {artifact.name}"
            )


def merge(added: Iterable[Entry]) -> list[Entry]:
    """One tree of all entries, sorted by path.

    Directories may be added any number of times, the last one's mode holds: packages share them.

    Raises:
        ConfigError: Two contents add different files at one path.
    """
    tree: dict[str, Entry] = {}
    for entry in added:
        earlier = tree.get(entry.path)
        if earlier is not None and not (earlier.is_directory and entry.is_directory):
            raise ConfigError(
                f"two contents add {entry.path}: {earlier.source} and {entry.source}",
                hint="leave one of them out of the recipe",
            )
        tree[entry.path] = entry
    return [tree[path] for path in sorted(tree, key=os.fsencode)]


def _package_entries(content: Packages, given: Ingredients) -> Iterator[Entry]:
    packages = given.packages(content.names)
    unpacked = given.unpacked(packages)
    tree: dict[str, Entry] = {}
    for package in packages:
        for entry in _walk(unpacked[package.name], str(package)):
            tree[entry.path] = entry
    wanted: Iterable[str] = tree
    if content.keep:
        wanted = needed_files(tree, content.keep)
    drop = [directory.strip("/") for directory in content.drop]
    for path in wanted:
        if not any(path == dropped or path.startswith(f"{dropped}/") for dropped in drop):
            yield tree[path]


def _walk(root: Path, source: str) -> Iterator[Entry]:
    for directory, subdirectories, files in os.walk(root):
        for name in [*subdirectories, *files]:
            path = Path(directory, name)
            status = path.lstat()
            relative = str(path.relative_to(root))
            if stat.S_ISLNK(status.st_mode):
                yield Entry(relative, stat.S_IFLNK | 0o777, target=str(path.readlink()), source=source)
            elif stat.S_ISREG(status.st_mode):
                yield Entry(relative, status.st_mode, content=path, source=source)
            elif stat.S_ISDIR(status.st_mode):
                yield Entry(relative, status.st_mode, source=source)


def _module_entries(content: r.Modules, kernel: Kernel) -> Iterator[Entry]:
    if kernel.modules is None:
        raise ConfigError(
            f"the kernel {kernel.name} comes without modules, and the image needs {', '.join(content.names)}",
            hint="take a kernel of the catalogue for this role",
        )
    found = modules.closure(kernel.modules, content.names)
    for module in found:
        path = f"{content.path}/{module.name}.ko"
        yield Entry(path, stat.S_IFREG | 0o644, content=module.data, source=f"Linux {kernel.image.version}")
    order = "".join(f"{module.name}.ko\n" for module in found)
    yield Entry(f"{content.path}/order", stat.S_IFREG | 0o644, content=order.encode(), source="the recipe")
