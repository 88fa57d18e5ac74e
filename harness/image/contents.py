"""Turns the contents that a recipe asks for into entries."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from harness import recipe as r
from harness.core.errors import ConfigError
from harness.formats import nar
from harness.formats.elf import needed_files
from harness.formats.names import matches
from harness.formats.order import chosen, merge
from harness.formats.tree import Entry
from harness.image import origins
from harness.kernel import modules
from harness.sources import committed, untar
from harness.sources.downloads import WrongContentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from harness.image.ingredients import Artifact, Ingredients
    from harness.kernel.catalogue import Kernel
    from harness.recipe import Content
    from harness.store import Store

__all__ = ["entries", "merge", "tree"]

# Part of the key of unpacked archives: raise it when they are unpacked in another way.
_FORMAT = 1


def entries(content: Content, given: Ingredients) -> Iterator[Entry]:
    """What a content adds to the tree.

    Raises:
        ConfigError: A source cannot be read or is not what the recipe says, a package lacks a program that is
            to be kept, or a kernel has no modules; it names recipe and key.
        InfraError: A download failed.
    """
    match content:
        case r.Checkout():
            yield from _checkout_entries(content, given)
        case r.Files():
            yield from _files_entries(content, given)
        case r.StorePath():
            yield from _store_entries(content)
        case r.Hex():
            with origins.named(content, "source", given):
                data = origins.spelled_out(content, given)
            yield Entry(content.path, stat.S_IFREG | content.mode, content=data, source=content.source)
        case r.Tarball():
            yield from _tarball_entries(content, given)
        case r.Unpacked():
            yield from root_entries(given.image(content.image), content, given.context.store)
        case r.Packages():
            yield from _package_entries(content, given)
        case r.SourcePackage():
            suite, package = origins.source_package(content, given)
            for tarball in given.context.debian.tarballs(suite, package):
                path = f"{content.path}/{tarball.name}"
                yield Entry(path, stat.S_IFREG | 0o644, content=tarball, source=f"source of {package}")
        case r.Modules():
            kernel = given.kernel(content.kernel)
            with origins.named(content, "names", given):
                yield from _module_entries(content, kernel)
        case r.File() | r.Download() | r.KernelFile() | r.ImageFile():
            yield _file_entry(content, given)
        case _:
            yield _stated_entry(content)


def tree(added: Sequence[Content], given: Ingredients) -> list[Entry]:
    """All that contents of one image add, merged into one tree that is sorted by path."""
    # All entries first: their errors name the content that they are about.
    every = [entry for content in added for entry in entries(content, given)]
    try:
        return merge(every)
    except ConfigError as error:
        key = given.recipe.key_of(added[0]).rpartition("[")[0]
        raise ConfigError(f"{given.recipe.path}: key {key}: {error.message}", hint=error.hint) from error


def _stated_entry(content: r.Text | r.Directory | r.Symlink | r.HardLink | r.Device) -> Entry:
    """What stands in the recipe itself."""
    said = partial(Entry, content.path, source="the recipe")
    match content:
        case r.Text():
            return said(stat.S_IFREG | content.mode, content=content.text.encode())
        case r.Directory():
            return said(stat.S_IFDIR | content.mode)
        case r.Symlink():
            return said(stat.S_IFLNK | 0o777, target=content.target)
        case r.HardLink():
            return said(stat.S_IFREG | 0o644, link=content.target)
        case r.Device():
            kind = stat.S_IFCHR if content.type == "char" else stat.S_IFBLK
            return said(kind | content.mode, device=(content.major, content.minor))


def _file_entry(content: r.File | r.Download | r.KernelFile | r.ImageFile, given: Ingredients) -> Entry:
    mode = 0o644
    match content:
        case r.File():
            path, source, mode = given.recipe.base / content.source, content.source, content.mode
        case r.Download():
            path, source, mode = _download(content, given), content.url, content.mode
        case r.KernelFile():
            image = given.kernel(content.kernel).image
            path, source = image.path, f"Linux {image.version}"
        case r.ImageFile():
            artifact = given.image(content.image, content.recipe)
            path, source = artifact.path, f"image {artifact.name}"
            source += f" of {content.recipe}" if content.recipe else ""
    return Entry(content.path, stat.S_IFREG | mode, content=path, source=source)


def _checkout_entries(content: r.Checkout, given: Ingredients) -> Iterator[Entry]:
    snapshot = origins.look(content, given)
    if snapshot.differing:
        first, *others = snapshot.differing
        which = f"{first} and {len(others)} more" if others else first
        given.context.progress.note(
            f"{content.source} differs from its commit {snapshot.commit[:12]}, and goes in as it is: {which}"
        )
    differing = set(snapshot.differing)
    files = snapshot.files
    if content.follow:
        with origins.named(content, "follow", given):
            files = committed.followed(files)
    for file in files:
        if origins.is_dropped(file.path, content.drop) or not matches(file.path, content.keep):
            continue
        if file.is_pointer:
            message = f"{file.place} only names a content that Git LFS keeps, and that is not here"
            raise ConfigError(message, hint="`git lfs pull` fetches it; or leave the file out with drop")
        version = ", modified" if file.path in differing else f" at {snapshot.commit[:12]}"
        yield Entry(
            _below(content.path, file.path),
            file.mode,
            content=(file.content if file.content is not None else file.place)
            if stat.S_ISREG(file.mode)
            else b"",
            target=file.target,
            source=f"{content.source}/{file.path}{version if snapshot.commit else ''}",
        )


def _download(content: r.Download | r.Tarball, given: Ingredients) -> Path:
    # Without a scheme it is a path beside the recipe.
    url = content.url if urlsplit(content.url).scheme else str(given.recipe.base / content.url)
    try:
        return given.context.downloads.get(url, content.sha256)
    except WrongContentError as error:
        raise origins.at(content, "sha256", given, error) from error
    except ConfigError as error:
        raise origins.at(content, "url", given, error) from error


def _tarball_entries(content: r.Tarball, given: Ingredients) -> Iterator[Entry]:
    archive = _download(content, given)

    def build(directory: Path) -> None:
        from harness.sources.untar import unpack_file

        with given.context.progress.task(f"unpacking {content.url.rpartition('/')[2]}"):
            unpack_file(archive, directory, content.url)

    with origins.named(content, "url", given):
        key = {"format": _FORMAT, "sha256": content.sha256}
        directory = given.context.store.get("tarball", key, build)
    with origins.named(content, "strip", given):
        found = _stripped_members(content, directory)
    for entry in chosen(found, found):
        link = entry.link and _below(content.path, entry.link)
        yield msgspec.structs.replace(entry, path=_below(content.path, entry.path), link=link)


def _files_entries(content: r.Files, given: Ingredients) -> Iterator[Entry]:
    with origins.named(content, "source", given):
        found = origins.files(content, given)
    for name, place in found.items():
        source = f"{content.source}/{name}"
        yield Entry(_below(content.path, name), stat.S_IFREG | content.mode, content=place, source=source)


def _store_entries(content: r.StorePath) -> Iterator[Entry]:
    """A path of a store."""
    top = Path(content.source)
    for member in nar.of_path(top):
        yield Entry(
            f"{content.path}/{member.path}".rstrip("/"),
            member.mode,
            content=top / member.path if member.is_file else b"",
            target=member.target,
            source=content.path,
        )


def _stripped_members(content: r.Tarball, directory: Path) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in _members(directory, content.url):
        path = _stripped(entry.path, content.strip)
        if not path or origins.is_dropped(path, content.drop):
            continue
        if path in found and not (entry.is_directory and found[path].is_directory):
            raise ConfigError(f"with {content.strip} directories taken off, {content.url} has {path} twice")
        if stat.S_ISFIFO(entry.mode):
            raise ConfigError(
                f"{content.url} has the FIFO {path}, and images hold none", hint="leave it out with drop"
            )
        # A link to what was taken off leads to what no path is.
        link = entry.link and (_stripped(entry.link, content.strip) or f"/{entry.link}")
        found[path] = msgspec.structs.replace(entry, path=path, link=link)
    if not found:
        raise ConfigError(f"with {content.strip} directories taken off, nothing is left of {content.url}")
    return found


def _stripped(path: str, count: int) -> str:
    return "/".join(path.split("/")[count:])


def _below(directory: str, path: str) -> str:
    return f"{directory}/{path}" if directory else path


def root_entries(artifact: Artifact, content: r.Unpacked, store: Store) -> Iterator[Entry]:
    """The files of a root that diskimage-builder made; they are unpacked once."""
    from harness.image.dib.root import MADE_HERE, owners_in

    def build(directory: Path) -> None:
        from harness.sources.untar import unpack_file

        unpack_file(artifact.path, directory, artifact.path.name)

    directory = store.get("unpacked", {"format": _FORMAT, "tar": artifact.digest}, build)
    owners = owners_in(artifact.path)
    found = {entry.path: entry for entry in _members(directory, MADE_HERE)}
    kept = [path for path in found if not origins.is_dropped(path, content.drop)]
    for entry in chosen(found, kept):
        yield msgspec.structs.replace(
            entry,
            path=_below(content.path, entry.path),
            link=entry.link and _below(content.path, entry.link),
            source=owners.get(entry.path, MADE_HERE),
        )


def _package_entries(content: r.Packages, given: Ingredients) -> Iterator[Entry]:
    packages = origins.packages(content, given)
    place = given.recipe.debian
    roots = given.context.debian.unpack(place.suite, place.architecture, packages)
    found: dict[str, Entry] = {}
    for package in packages:
        for entry in _members(roots[package.name].parent, str(package)):
            found[entry.path] = entry
    wanted: Iterable[str] = found
    if content.keep:
        with origins.named(content, "keep", given):
            wanted = needed_files(found, content.keep)
    yield from chosen(found, [path for path in wanted if not origins.is_dropped(path, content.drop)])


def _members(directory: Path, source: str) -> Iterator[Entry]:
    """What was unpacked into a directory."""
    for member in untar.members(directory):
        yield Entry(
            os.fsdecode(member.name),
            member.mode,
            content=untar.content(directory, member) if stat.S_ISREG(member.mode) else b"",
            target=os.fsdecode(member.target),
            device=member.device,
            uid=member.uid,
            gid=member.gid,
            link=os.fsdecode(member.link),
            source=source,
        )


def _module_entries(content: r.Modules, kernel: Kernel) -> Iterator[Entry]:
    if kernel.modules is None:
        raise ConfigError(
            f"the kernel {kernel.name} comes without modules, and the image needs {', '.join(content.names)}",
            hint="add them (--kernel PATH,modules=DIR), or take a kernel of the catalogue for this role",
        )
    found = modules.closure(kernel.modules, content.names)
    for module in found:
        path = f"{content.path}/{module.name}.ko"
        yield Entry(path, stat.S_IFREG | 0o644, content=module.data, source=f"Linux {kernel.image.version}")
    order = "".join(f"{module.name}.ko\n" for module in found)
    yield Entry(f"{content.path}/order", stat.S_IFREG | 0o644, content=order.encode(), source="the recipe")
