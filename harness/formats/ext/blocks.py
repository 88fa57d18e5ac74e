"""Allocates blocks, and maps them by extents or indirect blocks.

ext4 maps a file by extents, ext2 and ext3 by indirect blocks.

Blocks are given out in order, without gaps other than the heads of groups. The blocks that map a file, if its
inode is too small for that, follow the file's content.

Format: the kernel's Documentation/filesystems/ext4/blockmap.rst and ifork.rst.
"""

from __future__ import annotations

import struct
from itertools import chain, islice
from typing import TYPE_CHECKING

from harness.formats.ext.checksum import crc32c
from harness.formats.ext.layout import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness.formats.ext.layout import Layout

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
    """Gives out the blocks for content, from the first one on.

    Attributes:
        used: How many are taken.
    """

    def __init__(self, layout: Layout) -> None:
        self.used = 0
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
    """Map a file by extents.

    Returns:
        What goes into the inode, 60 bytes; how many blocks the map takes.

    Raises:
        NoRoomError: There are no blocks left.
    """
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
