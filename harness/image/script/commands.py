"""Shell commands that make images again, taken from images that were built.

A disk gets its partition table, files at their places, and then the bytes around them.
"""

from __future__ import annotations

import os
import shlex
import stat
import textwrap
from typing import TYPE_CHECKING, BinaryIO

from harness import recipe as r
from harness.formats.cpio.records import ArchiveSource, Record, read_archive
from harness.formats.disk import partitions
from harness.formats.ext import reader as ext_reader
from harness.formats.ext.layout import KINDS
from harness.formats.ext.source import ExtSource, FoundInode
from harness.formats.iso import reader as iso_reader
from harness.formats.names import printable
from harness.formats.order import in_order, merge
from harness.image import boot_loaders, disk, hybrid
from harness.image.builder_hex0 import starts_by_bios
from harness.image.script.inputs import Given, Inputs, release
from harness.image.script.listing import Listing, Piece, around, changed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from harness.formats.tree import Entry
    from harness.image.factory import Made

_SECTOR = 512
_GPT = 34 * _SECTOR  # bytes of the table and the MBR in front of it; its copy at the end has one sector less
_WIDTH = 100


def commands(made: Made, inputs: Inputs) -> Iterator[str]:
    """The lines of a script that make an image that was built."""
    image = made.image
    match image:
        case r.Initramfs():
            yield from _archive(made, image, inputs)
        case r.Disk():
            yield from _disk(made, image, inputs)
        case r.Iso():
            yield from _hybrid(made, image, inputs)
        case r.BuilderHex0():
            yield from _hex0_disk(made, image, inputs)


def _archive(made: Made, image: r.Initramfs, inputs: Inputs) -> Iterator[str]:
    offset = 0
    for name in image.behind:
        front = made.factory.image(name)
        offset += front.size
        zeros = 4 + -offset % 4
        offset += zeros
        yield f"cat -- {inputs.of(front.path).word} || die {shlex.quote(f'cannot copy {front.path.name}')}"
        yield f"zeros {zeros}"
    contents = {entry.path: entry for entry in made.factory.tree(image.contents) if entry.is_file}
    yield f"mtime={made.factory.context.mtime}"
    with made.artifact.path.open("rb") as file:
        source = ArchiveSource(file, str(made.artifact.path))
        archive = read_archive(source, offset)
        for record in archive.records():
            entry = contents.get(record.path)
            yield _record(source, record, inputs.of(entry.content) if entry and record.size else None)
    yield "trailer"
    if made.artifact.size > archive.end:
        yield f"zeros {made.artifact.size - archive.end}"


def _record(source: ArchiveSource, record: Record, given: Given | None) -> str:
    path = shlex.quote(record.path)
    attributes = f"0{stat.S_IMODE(record.mode):03o} {record.uid} {record.gid}"
    if stat.S_ISDIR(record.mode):
        return f"directory {attributes} {path}"
    if stat.S_ISLNK(record.mode):
        target = os.fsdecode(b"".join(source.blocks(record)))
        return f"symlink {attributes} {path} {shlex.quote(target)}"
    if not stat.S_ISREG(record.mode):
        numbers = f"{record.uid} {record.gid} {record.device[0]} {record.device[1]}"
        return f"special {record.mode:07o} {numbers} {path}"
    attributes += f" {record.size} {path}"
    if record.links > 1:
        command = f"linked {record.inode[0]} {record.links} {attributes}"
        return given.behind(command) if given else f"{command} ''"
    if given and given.text:
        return f"text {attributes} <<'END'\n{given.text}END"
    return f"file {attributes} {given.word if given else repr('')}"


def _hex0_disk(made: Made, image: r.BuilderHex0, inputs: Inputs) -> Iterator[str]:
    base = made.factory.recipe.base
    program = base / image.stage1
    first = inputs.of(program)
    yield f"{'cat --' if starts_by_bios(program.read_bytes()) else 'hex0'} {first.word}"
    if image.stage2:
        second = inputs.of(base / image.stage2)
        yield f"cat -- {second.word}"
        yield f"zeros {-second.size % _SECTOR}"
    yield "src 0 ."
    for entry in in_order(made.factory.tree(image.contents)).values():
        path = shlex.quote(f"./{entry.path}")
        if entry.is_file:
            given = inputs.of(entry.content)
            yield given.behind(f"src {given.size} {path}")
        else:
            yield f"src 0 {path}"
    yield from (f"printf '%s\\n' {shlex.quote(command)}" for command in image.commands)
    yield f"size {made.artifact.size}"


def _disk(made: Made, image: r.Disk, inputs: Inputs) -> Iterator[str]:
    size = made.artifact.size
    yield f"size {size}"
    covered: list[tuple[int, int]] = []
    starts = [0]
    if image.partition:
        options = " ".join(partitions.OPTIONS)
        yield f"sfdisk {options} \"$new\" <<'END' || die 'cannot write a partition table'"
        yield f"{disk.table_commands(image)}END"
        covered.append((0, _GPT if image.table == "gpt" else _SECTOR))
        if image.table == "gpt":
            covered.append((size - _GPT + _SECTOR, size))
        starts = [part.offset for part in partitions.read(made.artifact.path).partitions]
    notes: dict[int, str] = {}
    pieces: list[Piece] = []
    places: tuple[r.Disk | r.Partition, ...] = image.partition or (image,)
    with made.artifact.path.open("rb") as file:
        for start, place in zip(starts, places, strict=True):
            if place.filesystem in KINDS:
                pieces += _filesystem(file, start, made.factory.tree(place.contents), inputs, notes)
            else:
                notes[start] = f"{place.filesystem}, from byte {start} on"
        yield from _filled(file, size, pieces, notes, covered)


def _hybrid(made: Made, image: r.Iso, inputs: Inputs) -> Iterator[str]:
    loaders = boot_loaders.unpack(made.factory)
    for path, name in loaders.sources().items():
        inputs.name(path, f"packages/{name}")
    for start in image.menu:
        kernel = made.factory.kernel(start.kernel).image
        inputs.name(kernel.path, f"kernels/{release(kernel.version)}/vmlinuz")
    tree = merge([*made.factory.tree(image.contents), *hybrid.files(image, made.factory, loaders)])
    entries = {entry.path: entry for entry in tree if entry.is_file}
    notes = {0: "boot record and partition table", 0x8000: "volume descriptors of ISO 9660"}
    with made.artifact.path.open("rb") as file:
        code = inputs.of(loaders.mbr_code_file)
        found = {0: Piece(0, code.size, 0, code)}
        for name, extents in iso_reader.places(made.artifact.path).items():
            if not extents or not sum(size for _, size in extents):
                continue
            if name == boot_loaders.EFI_SYSTEM:
                notes[extents[0][0]] = f"{name}: a FAT filesystem, from which UEFI starts"
                parts = loaders.parts_of_efi_system()
                found |= {piece.offset: piece for piece in _inside(file, *extents[0], parts, inputs)}
            elif (entry := entries.get(name)) is not None:
                skip = 0
                for offset, size in extents:
                    found[offset] = Piece(offset, size, skip, inputs.of(entry.content))
                    skip += size
        yield f"size {made.artifact.size}"
        yield from _filled(file, made.artifact.size, found.values(), notes)


def _inside(file: BinaryIO, start: int, size: int, parts: Sequence[Path], inputs: Inputs) -> Iterator[Piece]:
    """Where files lie in a filesystem that nothing else was ever written to, so that each is in one piece."""
    file.seek(start)
    data = file.read(size)
    for part in parts:
        content = part.read_bytes()
        at = data.find(content)
        if at >= 0 and at % _SECTOR == 0:
            yield Piece(start + at, len(content), 0, inputs.of(part))


def _filled(
    file: BinaryIO,
    size: int,
    pieces: Iterable[Piece],
    notes: Mapping[int, str],
    covered: Sequence[tuple[int, int]] = (),
) -> Iterator[str]:
    """The commands that copy files to their places in an image, and write what is around them."""
    pieces = sorted(pieces, key=lambda piece: piece.offset)
    for piece in pieces:
        if piece.given.text:
            yield f"put_text {piece.offset} <<'END'\n{piece.given.text}END"
        else:
            yield f"put {piece.offset} {piece.skip} {piece.size} {piece.given.word}"
        if rows := [f"{offset:08x}: {data.hex()}" for offset, data in changed(file, piece)]:
            yield from ["hex <<'END'", "# what the image has changed in this file", *rows, "END"]
    yield "# All that is no content of a file:"
    made = sorted([*covered, *((piece.offset, piece.offset + piece.size) for piece in pieces)])
    yield from Listing(notes).commands(around(file, size, made))


def _filesystem(
    file: BinaryIO, start: int, tree: Sequence[Entry], inputs: Inputs, notes: dict[int, str]
) -> Iterator[Piece]:
    """The pieces of files in a filesystem, and what all else is."""
    source = ExtSource(file, start)
    notes |= {start + at: text for at, text in _groups(source).items()}
    entries = {entry.path: entry for entry in tree if entry.is_file}
    size = source.superblock.block_size
    seen = set[int]()
    for path, inode in ext_reader.walk(source):
        if inode.number in seen:
            continue
        seen.add(inode.number)
        name = os.fsdecode(path)
        notes[start + inode.at] = f"inode {inode.number}: {_described(name, inode)}"
        runs = _joined(source, inode) if inode.size and not stat.S_ISLNK(inode.mode) else []
        if stat.S_ISDIR(inode.mode):
            notes[start + runs[0][1] * size] = _directory(name, ext_reader.names(source, inode))
        elif stat.S_ISREG(inode.mode) and (entry := entries.get(name)) is not None:
            given = inputs.of(entry.content)
            if given.text and len(runs) > 1:
                continue  # it is spelled out with all else
            for first, at, count in runs:
                length = min(count * size, inode.size - first * size)
                yield Piece(start + at * size, length, first * size, given)


def _joined(source: ExtSource, inode: FoundInode) -> list[tuple[int, int, int]]:
    """The runs of a file's blocks, as long as they are."""
    found: list[tuple[int, int, int]] = []
    for first, block, count in source.runs(inode):
        held = found[-1] if found else (0, 0, 0)
        if held[2] and held[0] + held[2] == first and held[1] + held[2] == block:
            found[-1] = (held[0], held[1], held[2] + count)
        else:
            found.append((first, block, count))
    return found


def _described(name: str, inode: FoundInode) -> str:
    kinds = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "symbolic link"}
    kind = kinds.get(stat.S_IFMT(inode.mode), "device")
    attributes = f"mode {stat.S_IMODE(inode.mode):04o}, owner {inode.uid}:{inode.gid}, {inode.size} bytes"
    return f"/{printable(name)}: {kind}, {attributes}"


def _directory(name: str, inside: Iterable[tuple[bytes, int]]) -> str:
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
        parts = ("map of its used blocks", "map of its used inodes", "its part of the inode table")
        for at, what in enumerate(parts):
            block = int.from_bytes(descriptor[4 * at : 4 * at + 4], "little")
            found[block * size] = f"group {group}: {what}"
    return found
