"""Inodes, directory blocks and the maps of files, as bytes.

ext4 maps a file by extents, ext2 and ext3 by indirect blocks. Blocks are given out in order, without gaps
other than the heads of groups. The blocks that map a file, if its inode is too small, follow its content.

Format: the kernel's Documentation/filesystems/ext4/{inodes,directory,blockmap,ifork,checksums}.rst.
"""

from __future__ import annotations

import stat
import struct
from itertools import chain, islice
from typing import TYPE_CHECKING

import msgspec

from harness.formats.ext.layout import BLOCK, Kind, Layout, crc32c, seed_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


DIRECT = 12  # blocks that an inode names itself; as many always fit into its extents too
_PER_BLOCK = BLOCK // 4  # numbers in an indirect block
EXTENT_MAGIC = 0xF30A
_HEADER = struct.Struct("<HHHHI")  # magic, entries, room for entries, levels below, generation
_EXTENT = struct.Struct("<IHHI")  # first block of the file, blocks, first block on disk (high, low)
_INDEX = struct.Struct("<IIHH")  # first block of the file, block of the node below (low, high), unused
_IN_INODE = 4  # extents or indexes in an inode
_IN_BLOCK = (BLOCK - _HEADER.size) // _EXTENT.size  # in a block; the checksum stands behind them


class NoRoomError(Exception):
    """All blocks are taken, or a file has more than its inode can map."""


class Allocator:
    """Gives out the blocks for content, from the first one on."""

    def __init__(self, layout: Layout) -> None:
        self.used = 0  # how many are taken
        self._layout = layout
        self._group = 0
        self._free = layout.content(0)

    def take(self, count: int) -> list[range]:
        """Take some blocks: runs of consecutive ones, in order.

        Raises:
            NoRoomError: There are not as many left.
        """
        self.used += count
        if 0 < count <= len(self._free):  # nearly always
            run, self._free = self._free[:count], self._free[count:]
            return [run]
        runs = []
        while count:
            if not self._free:
                self._group += 1
                if self._group >= self._layout.groups:
                    raise NoRoomError
                self._free = self._layout.content(self._group)
            run = self._free[:count]
            self._free = self._free[count:]
            count -= len(run)
            runs.append(run)
        return runs


def map_by_extents(
    runs: Sequence[range], blocks: Allocator, put: Callable[[bytes], None], seed: int
) -> tuple[bytes, int]:
    """Map a file by extents: what goes into the inode, 60 bytes, and how many blocks the map takes."""
    entries = []
    first = used = depth = 0
    for run in runs:  # each lies in one group, and so is not too long for an extent
        entries.append(_EXTENT.pack(first, len(run), run.start >> 32, run.start & 0xFFFFFFFF))
        first += len(run)
    while len(entries) > _IN_INODE:
        indexes = []
        for begin in range(0, len(entries), _IN_BLOCK):
            node = entries[begin : begin + _IN_BLOCK]
            [[block]] = blocks.take(1)
            data = _HEADER.pack(EXTENT_MAGIC, len(node), _IN_BLOCK, depth, 0) + b"".join(node)
            data = data.ljust(BLOCK - 4, b"\0")
            put(data + crc32c(seed, data).to_bytes(4, "little"))
            (first,) = struct.unpack_from("<I", node[0])
            indexes.append(_INDEX.pack(first, block & 0xFFFFFFFF, block >> 32, 0))
        used += len(indexes)
        entries, depth = indexes, depth + 1
    header = _HEADER.pack(EXTENT_MAGIC, len(entries), _IN_INODE, depth, 0)
    return (header + b"".join(entries)).ljust(60, b"\0"), used


def map_by_blocks(
    runs: Sequence[range], blocks: Allocator, put: Callable[[bytes], None]
) -> tuple[bytes, int]:
    """Map a file by direct, indirect, double and triple indirect blocks; see `map_by_extents`."""
    numbers = chain.from_iterable(runs)
    pointers = list(islice(numbers, DIRECT))
    pointers += bytes(15 - len(pointers))
    left = sum(map(len, runs)) - DIRECT
    used = blocks.used
    for level in range(3):
        if left > 0:
            reach = _PER_BLOCK ** (level + 1)
            pointers[DIRECT + level] = _put_indirect(level, min(left, reach), numbers, blocks, put)
            left -= reach
    if left > 0:
        raise NoRoomError
    return struct.pack("<15I", *pointers), blocks.used - used


def _put_indirect(
    level: int, count: int, numbers: Iterator[int], blocks: Allocator, put: Callable[[bytes], None]
) -> int:
    """Put the blocks that map the next `count` blocks, lowest level first; return the topmost one."""
    if level:
        reach = _PER_BLOCK**level
        below = [
            _put_indirect(level - 1, min(count - begin, reach), numbers, blocks, put)
            for begin in range(0, count, reach)
        ]
    else:
        below = list(islice(numbers, count))
    [[number]] = blocks.take(1)
    put(struct.pack(f"<{len(below)}I", *below).ljust(BLOCK, b"\0"))
    return number


# mode uid size atime ctime mtime dtime gid links blocks flags version, block map,
# generation acl size_high fragment, blocks_high acl_high uid_high gid_high checksum reserved
INODE = struct.Struct("<HHIIIIIHHIII60sIIIIHHHHHH")
# extra_isize checksum_high ctime_extra mtime_extra atime_extra crtime crtime_extra version_high projid
_EXTRA = struct.Struct("<HHIIIIIII")
_USES_EXTENTS = 0x80000
FAST_LINK = 60  # a symbolic link's target that is shorter stands in the inode
_TAIL = struct.Struct("<IHBBI")  # no inode, length 12, no name, type 0xDE, checksum
# Types of files, as directories tell them.
TYPES = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFSOCK: 6,
    stat.S_IFLNK: 7,
}


class Inode(msgspec.Struct, frozen=True):
    """What an inode says."""

    number: int  # its number
    mode: int  # full `st_mode`
    uid: int  # owner, 32 bits
    gid: int  # group, 32 bits
    links: int  # link count; 1 in a directory with more than can be counted
    size: int  # bytes of content, or of a link's target
    blocks: int  # blocks that content and map take
    map: bytes  # 60 bytes: what maps the content, a link's target, or a device's number
    mapped: bool  # whether it maps content, even if that is empty

    def encode(self, kind: Kind, seed: int, mtime: int) -> bytes:
        """The inode's bytes."""
        time = mtime & 0xFFFFFFFF
        sectors = self.blocks * (BLOCK // 512)
        flags = _USES_EXTENTS if kind.has_extents and self.mapped else 0
        data = INODE.pack(
            *(self.mode, self.uid & 0xFFFF, self.size & 0xFFFFFFFF, time, time, time, 0),
            *(self.gid & 0xFFFF, self.links, sectors & 0xFFFFFFFF, flags, 0, self.map),
            *(0, 0, self.size >> 32, 0, sectors >> 32, 0, self.uid >> 16, self.gid >> 16, 0, 0),
        )
        if kind.inode_size > INODE.size:
            later = _epochs_later(mtime)
            data += _EXTRA.pack(_EXTRA.size, 0, later, later, later, time, later, 0, 0)
        data = data.ljust(kind.inode_size, b"\0")
        if kind.has_checksums:
            checksum = crc32c(seed_of(seed, self.number), data).to_bytes(4, "little")
            data = data[:124] + checksum[:2] + data[126:130] + checksum[2:] + data[132:]
        return data


def _epochs_later(mtime: int) -> int:
    """How often the 32 bits of a time, taken as a signed number, must be carried on (i_*time_extra)."""
    return (mtime + (1 << 31) >> 32) & 3


def device_map(major: int, minor: int) -> bytes:
    """A device's number as an inode has it: in the old form where it fits (linux/kdev_t.h)."""
    if major < 256 and minor < 256:
        return struct.pack("<I", major << 8 | minor).ljust(60, b"\0")
    return struct.pack("<II", 0, minor & 0xFF | major << 8 | (minor & ~0xFF) << 12).ljust(60, b"\0")


class Name(msgspec.Struct, frozen=True):
    """A name in a directory."""

    name: bytes  # at most 255 bytes
    number: int  # its inode
    mode: int  # the inode's mode; only the type matters


def directory_blocks(names: Iterable[Name], kind: Kind, seed: int, *, least: int = 1) -> Iterator[bytes]:
    """The content of a directory: a plain list, in the order of the names, "." and ".." among them."""
    room = BLOCK - (_TAIL.size if kind.has_checksums else 0)
    block: list[bytes] = []
    used = 0
    last = b""
    for name in names:
        size = 8 + len(name.name) + 3 & ~3
        if used + size > room:
            yield _finish(block, last, room - used + len(last), room, seed)
            least -= 1
            block, used, last = [], 0, b""
        if last:
            block.append(last)
        last = struct.pack("<IHBB", name.number, size, len(name.name), TYPES[stat.S_IFMT(name.mode)])
        last += name.name.ljust(size - 8, b"\0")
        used += size
    yield _finish(block, last, room - used + len(last), room, seed)
    for _ in range(1, least):
        yield _finish([], bytes(8), room, room, seed)


def _finish(block: list[bytes], last: bytes, length: int, room: int, seed: int) -> bytes:
    """Stretch the last entry over what is left, and add the checksum."""
    data = b"".join(block) + last[:4] + length.to_bytes(2, "little") + last[6:]
    data = data.ljust(room, b"\0")
    return data if room == BLOCK else data + _TAIL.pack(0, _TAIL.size, 0, 0xDE, crc32c(seed, data))
