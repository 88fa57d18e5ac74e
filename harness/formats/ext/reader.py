"""Reads the files of ext2, ext3 and ext4 filesystems, without root.

Format: the kernel's Documentation/filesystems/ext4/directory.rst. The index of a directory (htree) looks like
free space in a plain list, so all directories are read as one.
"""

from __future__ import annotations

import os
import stat
import struct
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from harness.formats.ext import superblock as ext_superblock
from harness.formats.ext.inode import TYPES
from harness.formats.ext.source import EXTENTS, INLINE, ExtSource, FoundInode
from harness.formats.ext.superblock import ExtError, ExtFilesystem
from harness.formats.tree import Member

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ExtError", "ExtFilesystem", "begins", "identify", "members", "names", "walk"]

_ROOT = 2
_PATH_MAX = 1 << 16  # bytes; the kernel's own limit for what a program can name is 4096


def identify(file: BinaryIO, offset: int = 0) -> ExtFilesystem | None:
    """What the filesystem at a byte of a file says about itself; None where none can be read."""
    try:
        return ext_superblock.read(file, offset).about
    except ExtError:
        return None


def begins(file: BinaryIO, offset: int) -> bool:
    """Whether a filesystem is meant to be at a byte of a file, sound or not."""
    file.seek(offset + 1024 + 56)
    return file.read(2) == b"\x53\xef"


def members(file: BinaryIO, offset: int = 0, room: int | None = None) -> Iterator[Member]:
    """All files of a filesystem, each directory before what is in it, the root first, with the path "".

    It begins at `offset`, and there are `room` bytes for it; None is all up to the end of the file. Of a file
    with several names, the first that is found carries the content.
    """
    source = ExtSource(file, offset, room)
    first_names: dict[int, str] = {}
    for path, inode in walk(source):
        yield _member(source, inode, path, first_names)


def walk(source: ExtSource) -> Iterator[tuple[bytes, FoundInode]]:
    """All names of a filesystem with their inodes, in the order of `members`."""
    # Each directory has blocks of its own, so all together are not larger than the filesystem.
    left = source.superblock.blocks * source.superblock.block_size
    directories = set()
    waiting = [(b"", _ROOT)]
    while waiting:
        path, number = waiting.pop()
        inode = source.inode(number)
        is_directory = stat.S_ISDIR(inode.mode)
        if not path and not is_directory:
            raise source.error(inode.at, "the root is no directory")
        yield path, inode
        if not is_directory:
            continue
        name = os.fsdecode(path)
        if number in directories:
            raise source.error(inode.at, f"the directory {name!r} (inode {number}) is in two places")
        directories.add(number)
        left -= inode.size
        if left < 0:
            raise source.error(inode.at, f"the directory {name!r} (inode {number}) is larger than can be")
        below = [(path + b"/" + each if path else each, child) for each, child in names(source, inode)]
        if any(len(inner) > _PATH_MAX for inner, _ in below):
            raise source.error(inode.at, f"directories are nested deeper than {_PATH_MAX} bytes of path")
        waiting += reversed(below)


def _member(source: ExtSource, inode: FoundInode, path: bytes, first_names: dict[int, str]) -> Member:
    name = os.fsdecode(path)
    kind = stat.S_IFMT(inode.mode)
    if kind not in TYPES or not inode.links:
        raise source.error(inode.at, f"{name!r} is inode {inode.number}, which is free or damaged")
    regular = kind == stat.S_IFREG
    link = ""
    if regular and inode.links > 1:
        first = first_names.setdefault(inode.number, name)
        link = first if first != name else ""
    return Member(
        path=name,
        mode=inode.mode,
        uid=inode.uid,
        gid=inode.gid,
        mtime=inode.mtime,
        size=inode.size if regular else 0,
        target=os.fsdecode(_target(source, inode)) if kind == stat.S_IFLNK else "",
        link=link,
        device=_device(inode.map) if kind in {stat.S_IFCHR, stat.S_IFBLK} else (0, 0),
        blocks=partial(source.content, inode) if regular else partial(iter, ()),
    )


def _target(source: ExtSource, inode: FoundInode) -> bytes:
    """Where a symbolic link leads; a short target stands in the inode itself."""
    if inode.size >= source.superblock.block_size:
        raise source.error(inode.at, f"the link in inode {inode.number} has a target of {inode.size} bytes")
    if inode.size < len(inode.map) and not inode.flags & (EXTENTS | INLINE):
        attributes = source.superblock.block_size // 512 if inode.attributes else 0
        if inode.sectors <= attributes:
            return inode.map[: inode.size]
    return b"".join(source.content(inode))


def _device(mapping: bytes) -> tuple[int, int]:
    """A device's number: in the old form, or in the new one behind four zeros (linux/kdev_t.h)."""
    old, new = struct.unpack_from("<II", mapping)
    if old:
        return old >> 8 & 0xFF, old & 0xFF
    return new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00


def names(source: ExtSource, inode: FoundInode) -> Iterator[tuple[bytes, int]]:
    """What is in a directory: names and inodes, without "." and ".."."""
    if inode.flags & INLINE:
        data = source.inline(inode)
        # The number of the parent, then one list up to the end of the map, and another one behind it.
        for part in (data[4 : len(inode.map)], data[len(inode.map) :]):
            yield from _list(source, inode, part)
        return
    size = source.superblock.block_size
    if inode.size % size:
        raise source.error(inode.at, f"the directory in inode {inode.number} does not end with a block")
    for piece in source.content(inode):
        for start in range(0, len(piece), size):
            yield from _list(source, inode, piece[start : start + size])


def _list(source: ExtSource, inode: FoundInode, block: bytes) -> Iterator[tuple[bytes, int]]:
    at = 0
    while at < len(block):
        left = len(block) - at
        if left < 8:
            raise source.error(inode.at, f"the directory in inode {inode.number} is damaged")
        number, length, name_length = struct.unpack_from("<IHB", block, at)
        if length in {0, 0xFFFF} and left == 1 << 16:
            length = 1 << 16  # what 16 bits cannot say
        if length % 4 or not max(8 + (name_length if number else 0), 8) <= length <= left:
            raise source.error(0, f"the directory in inode {inode.number} is damaged")
        name = block[at + 8 : at + 8 + name_length]
        at += length
        if not number or name in {b".", b".."}:
            continue
        if not name or b"/" in name or b"\0" in name:
            raise source.error(inode.at, f"the directory in inode {inode.number} has the name {name!r}")
        yield name, number
