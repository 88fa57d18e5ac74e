"""Shell commands that write archives: initramfs images, disks of builder-hex0."""

from __future__ import annotations

import os
import shlex
import stat
from typing import TYPE_CHECKING

from harness.formats.cpio.records import ArchiveSource, read_archive
from harness.formats.order import in_order
from harness.image.builder_hex0 import starts_by_bios

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.formats.cpio.records import Record
    from harness.formats.tree import Entry
    from harness.image.factory import Made
    from harness.image.script.inputs import Given, Inputs
    from harness.recipe import BuilderHex0, Initramfs


def commands(made: Made, image: Initramfs, tree: Sequence[Entry], inputs: Inputs) -> Iterator[str]:
    """The commands for an archive that was built.

    Yields:
        Lines.
    """
    offset = 0
    for name in image.behind:
        front = made.factory.image(name)
        offset += front.size
        zeros = 4 + -offset % 4
        offset += zeros
        yield f"cat -- {inputs.of(front.path).word} || die {shlex.quote(f'cannot copy {front.path.name}')}"
        yield f"zeros {zeros}"
    contents = {entry.path: entry for entry in tree if entry.is_file}
    yield f"mtime={made.factory.workshop.mtime}"
    with made.artifact.path.open("rb") as file:
        source = ArchiveSource(file, str(made.artifact.path))
        archive = read_archive(source, offset)
        for record in archive.records():
            entry = contents.get(record.path)
            given = inputs.of(entry.content) if entry is not None and record.size else None
            yield from _record(source, record, given)
    yield "trailer"
    if made.artifact.size > archive.end:
        yield f"zeros {made.artifact.size - archive.end}"


def _record(source: ArchiveSource, record: Record, given: Given | None) -> Iterator[str]:
    path = shlex.quote(record.path)
    attributes = f"0{stat.S_IMODE(record.mode):03o} {record.uid} {record.gid}"
    if stat.S_ISDIR(record.mode):
        yield f"directory {attributes} {path}"
    elif stat.S_ISLNK(record.mode):
        target = os.fsdecode(b"".join(source.blocks(record)))
        yield f"symlink {attributes} {path} {shlex.quote(target)}"
    elif not stat.S_ISREG(record.mode):
        numbers = f"{record.uid} {record.gid} {record.device[0]} {record.device[1]}"
        yield f"special {record.mode:07o} {numbers} {path}"
    else:
        what = "file"
        if record.links > 1:
            what = f"linked {record.inode[0]} {record.links}"
        content = "''" if given is None else given.word
        if given is not None and given.text and what == "file":
            yield f"text {attributes} {record.size} {path} <<'END'"
            yield f"{given.text}END"
        elif given is not None and given.text:
            yield f"{what} {attributes} {record.size} {path} - <<'END'"
            yield f"{given.text}END"
        else:
            yield f"{what} {attributes} {record.size} {path} {content}"


def boot_disk_commands(
    made: Made, image: BuilderHex0, tree: Sequence[Entry], inputs: Inputs
) -> Iterator[str]:
    """The commands for a disk of builder-hex0 that was built; arguments are those of the other kinds."""
    base = made.factory.recipe.base
    program = base / image.stage1
    first = inputs.of(program)
    yield f"{'cat --' if starts_by_bios(program.read_bytes()) else 'hex0'} {first.word}"
    if image.stage2:
        second = inputs.of(base / image.stage2)
        yield f"cat -- {second.word}"
        yield f"zeros {-second.size % 512}"
    yield "src 0 ."
    for entry in in_order(tree).values():
        path = shlex.quote(f"./{entry.path}")
        if not entry.is_file:
            yield f"src 0 {path}"
            continue
        given = inputs.of(entry.content)
        if given.text:
            yield f"src {given.size} {path} - <<'END'"
            yield f"{given.text}END"
        else:
            yield f"src {given.size} {path} {given.word}"
    yield from (f"printf '%s\\n' {shlex.quote(command)}" for command in image.commands)
    yield f"size {made.artifact.size}"
