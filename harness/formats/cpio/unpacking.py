"""Unpacks an initramfs as Linux does (init/initramfs.c).

An archive is a sequence of records and not a set of files. The kernel makes no directory that has no record,
gives names with one inode number one content, and says nothing about what it leaves out.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.formats.cpio.reader import Segment, segments_and_archives
from harness.formats.names import LINKS_MAX
from harness.formats.tree import Member

if TYPE_CHECKING:
    from harness.formats.cpio.records import ArchiveSource, Record

_NAME_MAX = 255

# What the kernel has before it unpacks anything (usr/default_cpio_list).
_INITIAL = ("", "dev", "root")
# What is taken out of the archive itself, before there are files (find_cpio_data).
_EARLY = ("kernel/x86/microcode/", "kernel/firmware/acpi/")


class Unpacking(msgspec.Struct, frozen=True):
    """What became of an initramfs."""

    segments: list[Segment]  # what the initramfs consists of
    members: list[Member]  # the files that there are afterwards, each with a content of its own
    dropped: dict[str, str]  # what the kernel leaves out without a word, and why
    early: list[str]  # what the kernel takes out of the archive itself, before there are files
    # pairs of names with different contents and one inode number: both get the later content
    mixed: list[tuple[str, str]]


class _Inode(msgspec.Struct):
    """A file, link, directory or device; several names can have it."""

    mode: int
    first: str
    device: tuple[int, int] = (0, 0)
    target: str = ""
    source: ArchiveSource | None = None
    content: Record | None = None

    def member(self, path: str) -> Member:
        source, content = self.source, self.content
        blocks = partial(source.blocks, content) if source and content else partial(iter, ())
        return Member(
            path=path,
            mode=self.mode,
            size=content.size if content else 0,
            target=self.target,
            device=self.device,
            blocks=blocks,
        )


def unpack(file: BinaryIO) -> Unpacking:
    """Unpack an initramfs as the kernel does, in thought."""
    root = _Root()
    segments = []
    for segment, archives in segments_and_archives(file):
        segments.append(segment)
        for archive in archives:
            links: dict[tuple[object, ...], str] = {}
            for record in archive.records():
                root.add(archive.source, record, links)
    return Unpacking(
        segments,
        [inode.member(path) for path, inode in root.inodes.items() if inode.first],
        root.dropped,
        root.early,
        root.mixed,
    )


class _LeftOutError(Exception):
    """The kernel leaves a record out."""


class _Root:
    """The root filesystem while it is filled."""

    def __init__(self) -> None:
        self.inodes = {path: _Inode(stat.S_IFDIR | 0o755, "") for path in _INITIAL}
        self.dropped: dict[str, str] = {}
        self.early: list[str] = []
        self.mixed: list[tuple[str, str]] = []
        self._below: dict[str, int] = {"": 2}  # entries of each directory

    def add(self, source: ArchiveSource, record: Record, links: dict[tuple[object, ...], str]) -> None:
        """Unpack a record; `links` has the first names of inodes of its archive."""
        if record.path.startswith(_EARLY) and stat.S_ISREG(record.mode):
            self.early.append(record.path)
            return
        first = None
        if record.links > 1 and not stat.S_ISDIR(record.mode) and not stat.S_ISLNK(record.mode):
            # The name is kept before anything is made of it, so it may be one that does not come to be.
            key = (*record.inode, stat.S_IFMT(record.mode))
            first = links.get(key)
            links.setdefault(key, record.path)
        try:
            if stat.S_ISDIR(record.mode):
                self._put(self._directory(record), _Inode(record.mode, record.path))
                return
            self._check_name(record.path)
            place = self._clear(record.path, 0 if stat.S_ISLNK(record.mode) else record.mode)
            if stat.S_ISLNK(record.mode):
                target = os.fsdecode(source.take(record.content, record.size, "a link's target"))
                self._put(place, _Inode(record.mode, record.path, target=target.partition("\0")[0]))
            else:
                self._add_file(source, record, place, first)
        except _LeftOutError as error:
            self.dropped[record.path] = str(error)

    def _add_file(self, source: ArchiveSource, record: Record, place: str, first: str | None) -> None:
        """Add a file, or another name of the one that was called `first`."""
        inode = self.inodes.get(place)
        if first is None:
            if inode is None:
                inode = _Inode(record.mode, record.path, device=record.device)
                self._put(place, inode)
        else:
            place = self._clear(record.path, 0)
            inode = self.inodes.get(self._place(first))
            if inode is None or stat.S_ISDIR(inode.mode):
                raise _LeftOutError(f"it is a hard link to {first}, which is gone")
            self._put(place, inode)
            if stat.S_ISLNK(inode.mode):  # another record took the place of the file, and is written through
                place = self._place(record.path, follow=True)
                inode = self.inodes.get(place) or _Inode(record.mode, record.path)
                if stat.S_ISDIR(inode.mode):
                    raise _LeftOutError(f"it is a hard link to {first}, which leads to a directory")
                self._put(place, inode)
        if not stat.S_ISREG(record.mode):
            return
        if not stat.S_ISREG(inode.mode):
            raise _LeftOutError(f"it is a hard link to {first}, which is no file by then")
        inode.mode, inode.first = record.mode, inode.first or record.path
        if record.size or first is None:
            if first is not None and not _same(inode, source, record):
                self.mixed.append((first, record.path))
            inode.source, inode.content = source, record

    def _directory(self, record: Record) -> str:
        """Where a directory is, or can be made; only in its own name may a / stand at the end."""
        name = record.path.rstrip("/")
        if name == record.path:
            return self._clear(name, record.mode)
        inode = self.inodes.get(place := self._place(name))
        return place if inode is None else self._place(record.path)

    def _check_name(self, path: str) -> None:
        """Leave out what is no directory and has the name of one."""
        last = path.rpartition("/")[2]
        if last in {"", ".", ".."}:
            place = "" if last else self._place(path.rstrip("/"))
            inode = self.inodes.get(place)
            if place and inode and stat.S_ISDIR(inode.mode):
                self._clear(place, 0)  # it is empty, and is removed before that fails
            raise _LeftOutError("it is no directory, and its name ends like that of one")

    def _place(self, path: str, *, follow: bool = False) -> str:
        """Where a name leads, through links on the way; through one at its end only to `follow` it."""
        at: list[str] = []
        rest = path.split("/")[::-1]
        links = 0
        while rest:
            part = rest.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                at = at[:-1]
                continue
            if len(os.fsencode(part)) > _NAME_MAX:
                raise _LeftOutError(f"no name has more than {_NAME_MAX} bytes")
            here = "/".join([*at, part])
            inode = self.inodes.get(here)
            if rest or (follow and inode is not None and stat.S_ISLNK(inode.mode)):
                if inode is None:
                    raise _LeftOutError(f"there is no record of the directory {here} before it")
                if stat.S_ISLNK(inode.mode):
                    links += 1
                    if links > LINKS_MAX:
                        raise _LeftOutError(f"{here} is a circle of links")
                    rest += inode.target.split("/")[::-1]
                    at = [] if inode.target.startswith("/") else at
                    continue
                if not stat.S_ISDIR(inode.mode):
                    raise _LeftOutError(f"{here} is no directory")
            at.append(part)
        return "/".join(at)

    def _clear(self, path: str, mode: int) -> str:
        """Remove what has a name, unless it is of the same kind (clean_path); return where the name leads."""
        place = self._place(path)
        inode = self.inodes.get(place)
        if inode is None or (mode and stat.S_IFMT(inode.mode) == stat.S_IFMT(mode)):
            return place
        if self._below.get(place):
            raise _LeftOutError("a directory that is not empty has its name")
        del self.inodes[place]
        self._below[place.rpartition("/")[0]] -= 1
        return self._place(path)  # what was removed may have been on the way

    def _put(self, place: str, inode: _Inode) -> None:
        if place not in self.inodes:
            above = place.rpartition("/")[0]
            self._below[above] = self._below.get(above, 0) + 1
        self.inodes[place] = inode


def _same(inode: _Inode, source: ArchiveSource, record: Record) -> bool:
    """Whether a file has no content yet, or that of a record already."""
    content = inode.content
    if content is None or inode.source is None or not content.size:
        return True
    if content.size != record.size:
        return False
    return all(a == b for a, b in zip(inode.source.blocks(content), source.blocks(record), strict=True))
