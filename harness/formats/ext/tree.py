"""Numbers, sizes and links the files of a filesystem."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.formats.ext.inode import FAST_LINK, TYPES, Name, directory_blocks
from harness.formats.ext.layout import BLOCK, DIR_NLINK, FIRST, LOST_FOUND, ROOT, Kind, seed_of
from harness.formats.order import in_order, name
from harness.formats.output import unreadable
from harness.formats.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


_NAME_MAX = 255
_LOST_FOUND = b"lost+found"
_LOST_FOUND_BLOCKS = 4  # as many as mke2fs makes: room for what e2fsck finds where there are no blocks left


class Node(msgspec.Struct, eq=False):
    """A file, directory, link or device: all that shares an inode."""

    number: int  # the inode's number
    entry: Entry  # what it is
    size: int = 0  # bytes of its content, or of a link's target
    parent: int = 0  # for a directory, the number of the one that it is in
    links: int = 0  # names that lead to it
    # what is in a directory, in the order of the bytes
    names: list[Name] = msgspec.field(default_factory=list)
    blocks: Sequence[bytes] = ()  # the content of a directory

    @property
    def has_blocks(self) -> bool:
        """Whether it has content in blocks, even if that is empty."""
        entry = self.entry
        return entry.is_file or entry.is_directory or (entry.is_symlink and self.size >= FAST_LINK)


class InodeTree(msgspec.Struct, frozen=True):
    """The files of a filesystem."""

    # all entries, missing parents and lost+found included, by their paths in bytes, in order
    entries: Mapping[bytes, Entry]
    # what they become, by the same paths; hard links share one. The root's path is empty
    nodes: Mapping[bytes, Node]

    @property
    def in_order(self) -> list[Node]:
        """The nodes in the order of their inodes, each once."""
        return sorted(set(self.nodes.values()), key=lambda node: node.number)


def plant(entries: Iterable[Entry], kind: Kind, seed: int) -> InodeTree:
    """Number the entries, and write the directories.

    Raises:
        ConfigError: What `in_order` raises; a name, number or size that the filesystem cannot hold; content
            that is missing or no regular file.
    """
    entries = list(entries)
    if all(entry.path != os.fsdecode(_LOST_FOUND) for entry in entries):
        entries.append(Entry(os.fsdecode(_LOST_FOUND), stat.S_IFDIR | 0o700))
    ordered = in_order(entries)
    if not ordered[_LOST_FOUND].is_directory:
        raise ConfigError(
            f"{name(ordered[_LOST_FOUND])} must be a directory: e2fsck puts there what it finds"
        )
    nodes = {b"": Node(ROOT, Entry("", stat.S_IFDIR | 0o755), parent=ROOT, links=2)}
    number = FIRST
    for path, entry in ordered.items():
        if path == _LOST_FOUND:
            nodes[path] = Node(LOST_FOUND, entry)
        elif not entry.link:
            nodes[path] = Node(number, entry, _size(entry, kind))
            number += 1
    for path, entry in ordered.items():
        if entry.link:
            nodes[path] = nodes[os.fsencode(entry.link)]
        _enter(nodes, path, nodes[path])
    for node in nodes.values():
        _check(node, kind)
    for node in nodes.values():
        if node.entry.is_directory:
            dots = [Name(b".", node.number, stat.S_IFDIR), Name(b"..", node.parent, stat.S_IFDIR)]
            least = _LOST_FOUND_BLOCKS if node.number == LOST_FOUND else 1
            file_seed = seed_of(seed, node.number)
            node.blocks = list(directory_blocks(dots + node.names, kind, file_seed, least=least))
            node.size = len(node.blocks) * BLOCK
    return InodeTree(ordered, nodes)


def _enter(nodes: Mapping[bytes, Node], path: bytes, node: Node) -> None:
    """Enter a file into its directory."""
    above, _, last = path.rpartition(b"/")
    if len(last) > _NAME_MAX:
        raise ConfigError(f"{name(node.entry)} has a name of more than {_NAME_MAX} bytes")
    parent = nodes[above]
    parent.names.append(Name(last, node.number, node.entry.mode))
    node.links += 1
    if node.entry.is_directory:
        node.parent = parent.number
        node.links += 1  # its own "."
        parent.links += 1  # its ".."


def _check(node: Node, kind: Kind) -> None:
    entry = node.entry
    if node.links > kind.links_max:
        if not (entry.is_directory and kind.ro_compat & DIR_NLINK):
            raise ConfigError(f"{name(entry)} has {node.links} links; {kind.name} can count {kind.links_max}")
        node.links = 1  # many
    if not (0 <= entry.uid < 1 << 32 and 0 <= entry.gid < 1 << 32):
        raise ConfigError(f"{name(entry)} belongs to {entry.uid}:{entry.gid}, which is no owner in 32 bits")
    if stat.S_IFMT(entry.mode) not in TYPES or entry.mode >> 16:
        raise ConfigError(f"{name(entry)} has mode {entry.mode:o}, which names no type of file")


def _size(entry: Entry, kind: Kind) -> int:
    if entry.is_symlink:
        return len(os.fsencode(entry.target))
    if not entry.is_file:
        return 0
    if not isinstance(entry.content, Path):
        return len(entry.content)
    try:
        status = entry.content.stat()
    except OSError as error:
        raise unreadable(entry, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{entry.content}, content of {name(entry)}, is no regular file")
    if status.st_size > kind.size_max:
        raise ConfigError(
            f"{entry.content} has {status.st_size} bytes; a file in {kind.name} has {kind.size_max}"
        )
    return status.st_size
