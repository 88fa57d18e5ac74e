"""Writes ext2, ext3 and ext4 filesystems from entries, without root.

Every block is written once and in order. All sizes are known beforehand, so each file, directory and map gets
its blocks before a byte is written. Contents go out as one stream that is hashed on the way; inodes and what
describes the groups follow. That is faster than `mke2fs -d` (benchmarks/disk.py), and the bits depend on no
other program.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.formats.ext import groups as ext_groups
from harness.formats.ext.inode import (
    DIRECT,
    Allocator,
    Inode,
    NoRoomError,
    device_map,
    map_by_blocks,
    map_by_extents,
)
from harness.formats.ext.layout import BLOCK, FIRST, JOURNAL, LOST_FOUND, Kind, Layout, lay_out, seed_of
from harness.formats.ext.tree import InodeTree, Node, plant
from harness.formats.output import Output, open_content
from harness.formats.tree import Entry, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from harness.formats.ext.groups import Identity

_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)
_PROBE = 64  # bytes of a piece that are looked at before all of it is


def write_at(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of it."""
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


class TooSmallError(Exception):
    """The content does not fit."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed  # the size in bytes, in whole MiB, in which it does


class Filesystem(msgspec.Struct, frozen=True):
    """A filesystem that has been planned and can be written."""

    layout: Layout  # how it is laid out
    identity: Identity  # label, UUID and time
    tree: InodeTree  # what is in it
    bytes: int  # how much of a disk it takes, holes aside

    def write(self, fd: int, offset: int) -> list[Written]:
        """Write it into a file that holds nothing but zeros there, from `offset` on.

        Returns what was written, in the order of the paths' bytes; lost+found is among it, the root is not.
        """
        layout, identity = self.layout, self.identity
        blocks = Allocator(layout)
        content = Content(fd, offset, layout)
        table = InodeTable(fd, offset, layout)
        directories = [0] * layout.groups
        journal = None
        if layout.journal:
            content.write(ext_groups.journal_start(layout, identity).ljust(BLOCK, b"\0"))
            content.skip((layout.journal - 1) * BLOCK)
            journal = _journal(layout, identity, blocks, content.write)
            table.add(journal, identity)
        with Output(content) as out:
            for node in self.tree.in_order:
                inode = _place(node, layout.kind, identity, blocks, out)
                table.add(inode, identity)
                if node.entry.is_directory:
                    directories[(node.number - 1) // layout.inodes_per_group] += 1
        table.flush()
        described = ext_groups.describe(
            layout,
            identity,
            used_blocks=blocks.used,
            used_inodes=max(inode.number, LOST_FOUND),
            directories=directories,
            journal=journal,
        )
        for start, data in described:
            write_at(fd, data, offset + start)
        return self._written(out.sums)

    def _written(self, sums: Mapping[str, str]) -> list[Written]:
        written = []
        for path, entry in self.tree.entries.items():
            node = self.tree.nodes[path]
            main = node.entry
            size = 0 if main.is_directory else node.size
            written.append(Written.of(entry, main, size, sums.get(main.path, "")))
        return written


def plan(kind: Kind, size: int, entries: Iterable[Entry], identity: Identity) -> Filesystem:
    """Plan a filesystem, before anything is written.

    Raises:
        TooSmallError: The content does not fit.
    """
    tree = plant(entries, kind, identity.seed)
    inodes = FIRST + len(tree.entries)
    layout = lay_out(kind, size, inodes)
    used = _blocks_used(layout, tree, identity) if layout else None
    if layout is None or used is None:
        raise TooSmallError(_smallest(kind, tree, identity, inodes))
    groups = layout.groups * (2 + layout.descriptor_blocks)
    tables = inodes * kind.inode_size // BLOCK
    return Filesystem(layout, identity, tree, (used - layout.journal + groups + tables) * BLOCK)


def _blocks_used(layout: Layout, tree: InodeTree, identity: Identity) -> int | None:
    """How many blocks content takes in this layout; None if it does not fit."""
    blocks = Allocator(layout)
    try:
        if layout.journal:
            _journal(layout, identity, blocks, _nowhere)
        for node in tree.in_order:
            if node.has_blocks:
                runs = blocks.take(-(-node.size // BLOCK))
                if node.size > DIRECT * BLOCK:
                    _map(layout.kind, 0, runs, blocks, _nowhere)
    except NoRoomError:
        return None
    return blocks.used


def _smallest(kind: Kind, tree: InodeTree, identity: Identity, inodes: int) -> int:
    """A size in whole MiB in which the content fits; the smallest one, or a little more."""
    content = sum(-(-node.size // BLOCK) for node in tree.in_order if node.has_blocks) * BLOCK
    size = max(content + inodes * kind.inode_size >> 20, 1) << 20
    while True:
        layout = lay_out(kind, size, inodes)
        if layout and _blocks_used(layout, tree, identity) is not None:
            return size
        size += max(1, size >> 29) << 20


def _journal(layout: Layout, identity: Identity, blocks: Allocator, put: Callable[[bytes], None]) -> Inode:
    runs = blocks.take(layout.journal)
    mapping, used = _map(layout.kind, seed_of(identity.seed, JOURNAL), runs, blocks, put)
    count = layout.journal
    return Inode(JOURNAL, 0o100600, 0, 0, 1, count * BLOCK, count + used, mapping, mapped=True)


def _place(node: Node, kind: Kind, identity: Identity, blocks: Allocator, out: Output) -> Inode:
    """Give a file its blocks, and put out its content and its map."""
    entry = node.entry
    count = 0
    if node.has_blocks:
        count = -(-node.size // BLOCK)
        runs = blocks.take(count)
        seed = seed_of(identity.seed, node.number) if kind.has_checksums else 0
        _put_content(node, out)
        mapping, used = _map(kind, seed, runs, blocks, out.put)
        count += used
    elif entry.is_device:
        mapping = device_map(*entry.device)
    else:
        mapping = os.fsencode(entry.target).ljust(60, b"\0")
    return Inode(
        number=node.number,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        links=node.links,
        size=node.size,
        blocks=count,
        map=mapping,
        mapped=node.has_blocks,
    )


def _map(
    kind: Kind, file_seed: int, runs: Sequence[range], blocks: Allocator, put: Callable[[bytes], None]
) -> tuple[bytes, int]:
    if kind.has_extents:
        return map_by_extents(runs, blocks, put, file_seed)
    return map_by_blocks(runs, blocks, put)


def _nowhere(data: bytes) -> None:
    """Take what is only counted."""


def _put_content(node: Node, out: Output) -> None:
    entry = node.entry
    if entry.is_directory:
        for block in node.blocks:
            out.put(block)
    elif entry.is_symlink:
        out.put(os.fsencode(entry.target))
    elif isinstance(entry.content, Path):
        fd = open_content(entry, entry.content)
        try:
            out.copy_file(entry, fd, node.size)
        finally:
            os.close(fd)
    else:
        out.put_file(entry.path, entry.content)
    out.put(bytes(-node.size % BLOCK))
