"""Shell commands that write a hybrid image."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from harness.formats.iso import reader
from harness.formats.merge import merge
from harness.image import boot_loaders, hybrid
from harness.image.script.disk import copies
from harness.image.script.inputs import release
from harness.image.script.listing import Listing, Piece, around

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.formats.tree import Entry
    from harness.image.factory import Made
    from harness.image.script.inputs import Inputs
    from harness.recipe import Iso

_SECTOR = 512
_NOTES = {
    0: "boot record and partition table",
    0x8000: "volume descriptors of ISO 9660",
}


def commands(made: Made, image: Iso, tree: Sequence[Entry], inputs: Inputs) -> Iterator[str]:
    """The commands for a hybrid image that was built; arguments are those of the other kinds."""
    loaders = boot_loaders.unpack(made.factory)
    for path, name in loaders.sources().items():
        inputs.name(path, f"packages/{name}")
    for start in image.menu:
        kernel = made.factory.kernel(start.kernel).image
        inputs.name(kernel.path, f"kernels/{release(kernel.version)}/vmlinuz")
    entries = {
        entry.path: entry
        for entry in merge([*tree, *hybrid.files(image, made.factory, loaders)])
        if entry.is_file
    }
    found: dict[int, Piece] = {}
    notes = dict(_NOTES)
    path = made.artifact.path
    with path.open("rb") as file:
        code = inputs.of(loaders.mbr_code_file)
        found[0] = Piece(0, code.size, 0, code)
        for name, extents in reader.places(path).items():
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
        pieces = [found[offset] for offset in sorted(found)]
        yield f"size {made.artifact.size}"
        yield from copies(file, pieces)
        yield "# All that is no content of a file:"
        covered = [(piece.offset, piece.end) for piece in pieces]
        yield from Listing(notes).commands(around(file, made.artifact.size, covered))


def _inside(file: BinaryIO, start: int, size: int, parts: Sequence[Path], inputs: Inputs) -> Iterator[Piece]:
    """Where files lie in a filesystem that nothing else was ever written to, so that each is in one piece."""
    file.seek(start)
    data = file.read(size)
    for part in parts:
        content = part.read_bytes()
        at = data.find(content)
        if at >= 0 and at % _SECTOR == 0:
            yield Piece(start + at, len(content), 0, inputs.of(part))
