"""Shell commands that write a disk.

They make the partition table, put files at their places, and write the filesystems around them.
"""

from __future__ import annotations

import os
import stat
import textwrap
from typing import TYPE_CHECKING, BinaryIO

from harness.formats.disk import partitions
from harness.formats.ext import reader
from harness.formats.ext.layout import KINDS
from harness.formats.ext.source import ExtSource
from harness.formats.names import printable
from harness.image import disk
from harness.image.script.listing import Listing, Piece, around, changed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from harness.formats.ext.source import FoundInode
    from harness.formats.tree import Entry
    from harness.image.factory import Made
    from harness.image.script.inputs import Given, Inputs
    from harness.recipe import Disk

_GPT = 34 * 512  # bytes of the table and the MBR in front of it; its copy at the end has one sector less
_WIDTH = 100


def commands(made: Made, image: Disk, trees: Sequence[Sequence[Entry]], inputs: Inputs) -> Iterator[str]:
    """The commands for a disk that was built.

    Yields:
        Lines.
    """
    size = made.artifact.size
    yield f"size {size}"
    covered: list[tuple[int, int]] = []
    if image.partition:
        options = " ".join(partitions.OPTIONS)
        yield f"sfdisk {options} \"$new\" <<'END' || die 'cannot write a partition table'"
        yield f"{disk.table_commands(image)}END"
        covered.append((0, _GPT if image.table == "gpt" else 512))
        if image.table == "gpt":
            covered.append((size - _GPT + 512, size))
        starts = [part.offset for part in partitions.read(made.artifact.path).partitions]
    else:
        starts = [0]
    notes: dict[int, str] = {}
    pieces: list[Piece] = []
    with made.artifact.path.open("rb") as file:
        kinds = [place.filesystem for place in image.partition or (image,)]
        for start, kind, tree in zip(starts, kinds, trees, strict=True):
            if kind in KINDS:
                pieces += _filesystem(file, start, tree, inputs, notes)
            else:
                notes[start] = f"{kind}, from byte {start} on"
        pieces.sort(key=lambda piece: piece.offset)
        yield from copies(file, pieces)
        yield "# All that is no content of a file:"
        covered += [(piece.offset, piece.end) for piece in pieces]
        yield from Listing(notes).commands(around(file, size, sorted(covered)))


def copies(file: BinaryIO, pieces: Sequence[Piece]) -> Iterator[str]:
    """The commands that copy files to their places in an image."""
    for piece in pieces:
        if piece.given.text:
            yield f"put_text {piece.offset} <<'END'"
            yield f"{piece.given.text}END"
        else:
            yield f"put {piece.offset} {piece.skip} {piece.size} {piece.given.word}"
        rows = changed(file, piece)
        yield from Listing({}).changes(rows, "what the image has changed in this file")


def _filesystem(
    file: BinaryIO, start: int, tree: Sequence[Entry], inputs: Inputs, notes: dict[int, str]
) -> Iterator[Piece]:
    """The pieces of files in a filesystem, and what all else is."""
    source = ExtSource(file, start)
    notes |= {start + at: text for at, text in _groups(source).items()}
    entries = {entry.path: entry for entry in tree if entry.is_file}
    size = source.superblock.block_size
    seen = set[int]()
    for path, inode in reader.walk(source):
        if inode.number in seen:
            continue
        seen.add(inode.number)
        name = os.fsdecode(path)
        notes[start + inode.at] = f"inode {inode.number}: {_described(name, inode)}"
        runs = list(_joined(source, inode)) if inode.size and not stat.S_ISLNK(inode.mode) else []
        if stat.S_ISDIR(inode.mode):
            notes[start + runs[0][1] * size] = _listed(name, reader.names(source, inode))
        elif stat.S_ISREG(inode.mode) and (entry := entries.get(name)) is not None:
            given = inputs.of(entry.content)
            yield from _pieces(given, start, size, inode.size, runs)


def _pieces(
    given: Given, start: int, block: int, size: int, runs: Sequence[tuple[int, int, int]]
) -> Iterator[Piece]:
    if given.text and len(runs) == 1:
        yield Piece(start + runs[0][1] * block, size, 0, given)
        return
    for first, at, count in runs:
        yield Piece(start + at * block, min(count * block, size - first * block), first * block, given)


def _joined(source: ExtSource, inode: FoundInode) -> Iterator[tuple[int, int, int]]:
    """The runs of a file's blocks, as long as they are."""
    held: tuple[int, int, int] | None = None
    for first, block, count in source.runs(inode):
        if held and held[0] + held[2] == first and held[1] + held[2] == block:
            held = (held[0], held[1], held[2] + count)
            continue
        if held:
            yield held
        held = (first, block, count)
    if held:
        yield held


def _described(name: str, inode: FoundInode) -> str:
    kinds = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "symbolic link"}
    kind = kinds.get(stat.S_IFMT(inode.mode), "device")
    attributes = f"mode {stat.S_IMODE(inode.mode):04o}, owner {inode.uid}:{inode.gid}, {inode.size} bytes"
    return f"/{printable(name)}: {kind}, {attributes}"


def _listed(name: str, inside: Iterable[tuple[bytes, int]]) -> str:
    """A directory with what is in it, as lines of a comment."""
    words = " ".join(f"{printable(os.fsdecode(each))}={number}" for each, number in inside)
    text = f"directory /{printable(name)}, names and inodes: {words}"
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n# ".join(lines)


def _groups(source: ExtSource) -> Mapping[int, str]:
    """What describes the groups of a filesystem, by offset in it."""
    superblock = source.superblock
    size = superblock.block_size
    found = {1024: f"{superblock.about.kind} from byte 0 of this filesystem on: its superblock"}
    for group in range(-(-superblock.blocks // superblock.blocks_per_group)):
        begin = group * superblock.blocks_per_group * size
        if superblock.has_superblock(group):
            if group:
                found[begin] = f"group {group}: a copy of the superblock"
            found[begin + size] = f"group {group}: descriptors of all groups"
        descriptor = source.read(size + group * superblock.descriptor_size, 12)
        for at, what in enumerate(
            ("map of its used blocks", "map of its used inodes", "its part of the inode table")
        ):
            block = int.from_bytes(descriptor[4 * at : 4 * at + 4], "little")
            found[block * size] = f"group {group}: {what}"
    return found
