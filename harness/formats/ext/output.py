"""Writes contents, inodes and metadata to their places in an image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from harness.formats.ext.layout import BLOCK, Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.formats.ext.groups import Identity
    from harness.formats.ext.inode import Inode

_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)
_PROBE = 64  # bytes of a piece that are looked at before all of it is


def write_at(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of it.

    Raises:
        OSError: The file takes no more.
    """
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


class Content:
    """A stream that goes into the blocks for content, one after the other.

    What is nothing but zeros is not written: the image is a hole there already, and reads the same.
    """

    def __init__(self, fd: int, offset: int, layout: Layout) -> None:
        self._fd = fd
        self._places = self._all_places(offset, layout)
        self._start = self._end = 0  # the bytes that are next

    @staticmethod
    def _all_places(offset: int, layout: Layout) -> Iterator[tuple[int, int]]:
        for group in range(layout.groups):
            content = layout.content(group)
            yield offset + content.start * BLOCK, offset + content.stop * BLOCK

    def write(self, data: bytes | memoryview) -> None:
        """Append at most 1 MiB."""
        view = memoryview(data)
        while view:
            start, size = self._advance(len(view))
            piece, view = view[:size], view[size:]
            if piece[:_PROBE] != _ZEROS[: len(piece[:_PROBE])] or bytes(piece) != _ZEROS[:size]:
                write_at(self._fd, piece, start)

    def skip(self, size: int) -> None:
        """Append zeros."""
        while size:
            size -= self._advance(size)[1]

    def _advance(self, size: int) -> tuple[int, int]:
        """Where the next bytes go, and how many can go there."""
        while self._start == self._end:
            self._start, self._end = next(self._places)
        start, size = self._start, min(size, self._end - self._start)
        self._start += size
        return start, size


class InodeTable:
    """The inode tables of all groups, filled in the order of the inodes; a group's is written at once."""

    def __init__(self, fd: int, offset: int, layout: Layout) -> None:
        self._fd = fd
        self._offset = offset
        self._layout = layout
        self._group = 0
        self._table = bytearray()

    def add(self, inode: Inode, identity: Identity) -> None:
        """Add an inode; groups must come in order."""
        group, index = divmod(inode.number - 1, self._layout.inodes_per_group)
        if group != self._group:
            self.flush()
            self._group = group
        size = self._layout.kind.inode_size
        start = index * size
        if len(self._table) < start:
            self._table.extend(bytes(start - len(self._table)))
        self._table[start : start + size] = inode.encode(self._layout.kind, identity.seed, identity.mtime)

    def flush(self) -> None:
        """Write what has been added."""
        write_at(self._fd, self._table, self._offset + self._layout.table(self._group) * BLOCK)
        self._table = bytearray()
