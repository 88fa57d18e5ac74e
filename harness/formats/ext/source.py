"""Inodes of ext2, ext3 and ext4 filesystems, and what they map.

Format: the kernel's Documentation/filesystems/ext4/{group_descr,inodes,ifork,inlinedata,attributes}.rst.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.formats.ext import superblock as ext_superblock
from harness.formats.ext.inode import EXTENT_MAGIC, INODE
from harness.formats.ext.layout import crc32c, seed_of
from harness.formats.ext.superblock import ExtError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 1 << 20  # most bytes that are read at once
_ZEROS = bytes(PIECE)
EXTENTS, INLINE, _ENCRYPTED = 0x80000, 0x10000000, 0x800  # flags of inodes
_DEPTH_MAX = 5  # of an extent tree (fs/ext4/extents.c)
_UNWRITTEN = 32768  # an extent of more blocks is 32768 shorter and reads as zeros
_ATTRIBUTES_MAGIC = 0xEA020000
_SYSTEM = 7  # the space of names that "data" is in


class FoundInode(msgspec.Struct, frozen=True):
    """An inode as it was read."""

    at: int  # where it stands in the filesystem, in bytes
    number: int  # its number
    mode: int  # full `st_mode`
    uid: int  # owner
    gid: int  # group
    links: int  # link count
    size: int  # in bytes
    mtime: int  # seconds since 1970
    flags: int  # as they are on disk
    sectors: int  # of 512 bytes (or blocks), as they are on disk; attributes count as well
    attributes: int  # block with further attributes; 0 for none
    map: bytes  # the 60 bytes that map the content, or are it
    rest: bytes  # what stands behind the first 128 bytes


class ExtSource:
    """A filesystem in a file, which is moved about in.

    It begins at `offset`, and there are `room` bytes for it; None is all up to the end of the file.
    """

    def __init__(self, file: BinaryIO, offset: int, room: int | None = None) -> None:
        self.superblock = ext_superblock.read(file, offset)
        self._file = file
        self._offset = offset
        size = self.superblock.about.size
        has = file.seek(0, os.SEEK_END) - offset
        if room is not None and room < size <= has:
            raise self.error(
                1024, f"the filesystem has {size} bytes, more than its partition, which has {room}"
            )
        if has < size:
            raise self.error(has, f"the image is cut off: its filesystem has {size} bytes")

    def error(self, at: int, what: str) -> ExtError:
        """An error at a byte of the filesystem."""
        return ExtError(f"{getattr(self._file, 'name', 'the image')}, byte {self._offset + at}: {what}")

    def read(self, at: int, size: int) -> bytes:
        """Bytes of the filesystem, at most 1 MiB."""
        self._file.seek(self._offset + at)
        data = self._file.read(size)
        if len(data) < size:
            raise self.error(at + len(data), "the image is cut off")
        return data

    def inode(self, number: int) -> FoundInode:
        """Read an inode."""
        superblock = self.superblock
        if not 0 < number <= superblock.inodes:
            raise self.error(1024, f"there is no inode {number}, but a directory has it")
        group, index = divmod(number - 1, superblock.inodes_per_group)
        at = self._inode_table(group) * superblock.block_size + index * superblock.inode_size
        data = self.read(at, superblock.inode_size)
        mode, uid, size, _, _, mtime, _, gid, links, sectors, flags, _, mapping, generation, *more = (
            INODE.unpack(data[:128])
        )
        attributes, size_high, _, sectors_high, attributes_high, uid_high, gid_high, checksum, _ = more
        extra = struct.unpack_from("<H", data, 128)[0] if superblock.inode_size > 128 else 0
        if superblock.seed is not None:
            if extra >= 4:
                checksum |= struct.unpack_from("<H", data, 130)[0] << 16
                data = data[:130] + b"\0\0" + data[132:]
            found = crc32c(seed_of(superblock.seed, number, generation), data[:124] + b"\0\0" + data[126:])
            if checksum != (found if extra >= 4 else found & 0xFFFF):
                raise self.error(at, f"inode {number} does not match its checksum")
        (later,) = struct.unpack_from("<I", data, 136) if extra >= 12 else (0,)
        return FoundInode(
            at=at,
            number=number,
            mode=mode,
            uid=uid | uid_high << 16,
            gid=gid | gid_high << 16,
            links=links,
            size=size | (size_high << 32 if stat.S_ISREG(mode) else 0),
            mtime=mtime - (mtime >> 31 << 32) + ((later & 3) << 32),
            flags=flags,
            sectors=sectors | sectors_high << 32,
            attributes=attributes | attributes_high << 32,
            map=mapping,
            rest=data[128:],
        )

    def _inode_table(self, group: int) -> int:
        """The block that a group's part of the inode table begins with."""
        superblock = self.superblock
        per_block = superblock.block_size // superblock.descriptor_size
        block = 1024 // superblock.block_size + 1 + group // per_block
        first = superblock.first_meta_group
        if first is not None and group // per_block >= first:
            leader = group // per_block * per_block
            block = superblock.first_block + leader * superblock.blocks_per_group
            block += superblock.has_superblock(leader)
        at = block * superblock.block_size + group % per_block * superblock.descriptor_size
        data = self.read(at, superblock.descriptor_size)
        table = int.from_bytes(data[8:12], "little")
        if superblock.descriptor_size >= 64:
            table |= int.from_bytes(data[40:44], "little") << 32
        if not 0 < table < superblock.blocks:
            raise self.error(at, f"the inode table of group {group} is said to be at block {table}")
        return table

    def content(self, inode: FoundInode) -> Iterator[bytes]:
        """The content of a file or directory, in pieces of at most 1 MiB; holes are zeros."""
        if inode.flags & _ENCRYPTED:
            raise self.error(inode.at, f"inode {inode.number} is encrypted")
        if inode.flags & INLINE:  # where it says that there is more, the kernel reads zeros
            data = self.inline(inode)
            yield data
            yield from _zeros(inode.size - len(data))
            return
        size = self.superblock.block_size
        done = mapped = 0
        for first, block, count in self.runs(inode):
            if done >= inode.size:
                return
            if first * size < done:
                raise self.error(inode.at, f"the map of inode {inode.number} is not in order")
            mapped += count
            if mapped > self.superblock.blocks:
                raise self.error(inode.at, f"inode {inode.number} maps more blocks than there are")
            yield from _zeros(min(first * size, inode.size) - done)
            done = min(first * size, inode.size)
            end = min((first + count) * size, inode.size)
            if not block:
                yield from _zeros(end - done)
                done = end
            elif not 0 < block <= block + count <= self.superblock.blocks:
                raise self.error(
                    0, f"inode {inode.number} maps block {block + count - 1}, which does not exist"
                )
            while done < end:
                piece = self.read((block - first) * size + done, min(end - done, PIECE))
                yield piece
                done += len(piece)
        yield from _zeros(inode.size - done)

    def runs(self, inode: FoundInode) -> Iterator[tuple[int, int, int]]:
        """Where the content is: first block of the file, block of the filesystem (0: zeros), count."""
        if inode.flags & EXTENTS:
            yield from self._extents(inode, inode.map, None)
            return
        pointers = struct.unpack("<15I", inode.map)
        for first, block in enumerate(pointers[:12]):
            if block:
                yield first, block, 1
        first, reach = 12, 1
        for level, block in enumerate(pointers[12:]):
            if block:
                yield from self._indirect(inode, level, block, first)
            reach *= self.superblock.block_size // 4
            first += reach

    def _indirect(
        self, inode: FoundInode, level: int, block: int, first: int
    ) -> Iterator[tuple[int, int, int]]:
        size = self.superblock.block_size
        if first * size >= inode.size:
            return
        reach = (size // 4) ** level
        for number in struct.unpack(f"<{size // 4}I", self._map_block(inode, block)):
            if number and level:
                yield from self._indirect(inode, level - 1, number, first)
            elif number:
                yield first, number, 1
            first += reach

    def _extents(
        self, inode: FoundInode, node: bytes, expected: int | None
    ) -> Iterator[tuple[int, int, int]]:
        magic, entries, room, depth = struct.unpack_from("<HHHH", node)
        fits = entries <= room <= len(node) // 12 - 1 and depth <= _DEPTH_MAX
        if magic != EXTENT_MAGIC or not fits or depth != (depth if expected is None else expected):
            raise self.error(inode.at, f"the extents of inode {inode.number} are damaged")
        for at in range(12, 12 * (entries + 1), 12):
            if depth:
                low, high = struct.unpack_from("<4xIH", node, at)
                below = self._map_block(inode, low | high << 32)
                yield from self._extents(inode, below, depth - 1)
            else:
                first, count, high, low = struct.unpack_from("<IHHI", node, at)
                written = count <= _UNWRITTEN
                yield first, (low | high << 32) if written else 0, count if written else count - _UNWRITTEN

    def _map_block(self, inode: FoundInode, block: int) -> bytes:
        if not 0 < block < self.superblock.blocks:
            raise self.error(
                0, f"the map of inode {inode.number} goes on in block {block}, which does not exist"
            )
        return self.read(block * self.superblock.block_size, self.superblock.block_size)

    def inline(self, inode: FoundInode) -> bytes:
        """Content that stands in the inode: in the place of the map, then in the attribute system.data."""
        data = inode.map
        if inode.size > len(data):
            data += self._system_data(inode)
        return data[: inode.size]

    def _system_data(self, inode: FoundInode) -> bytes:
        start = int.from_bytes(inode.rest[:2], "little")
        names = inode.rest[start:]
        if int.from_bytes(names[:4], "little") != _ATTRIBUTES_MAGIC:
            return b""
        names = names[4:]
        at = 0
        while len(names) >= at + 16 and names[at : at + 4] != bytes(4):
            length, space, offset, block, size = struct.unpack_from("<BBHII", names, at)
            if (space, names[at + 16 : at + 16 + length], block) == (_SYSTEM, b"data", 0):
                return names[offset : offset + size]
            at += 16 + length + 3 & ~3
        return b""


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _ZEROS[:count]
        count -= PIECE
