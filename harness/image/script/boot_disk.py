"""The commands that write a disk of builder-hex0."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from harness.formats.order import in_order
from harness.image.builder_hex0 import starts_by_bios

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.formats.tree import Entry
    from harness.image.factory import Made
    from harness.image.script.inputs import Inputs
    from harness.recipe import BuilderHex0

_SECTOR = 512


def commands(made: Made, image: BuilderHex0, tree: Sequence[Entry], inputs: Inputs) -> Iterator[str]:
    """The commands for a disk that was built; arguments are those of the other kinds."""
    base = made.factory.recipe.base
    program = base / image.stage1
    first = inputs.of(program)
    yield f"{'cat --' if starts_by_bios(program.read_bytes()) else 'hex0'} {first.word}"
    if image.stage2:
        second = inputs.of(base / image.stage2)
        yield f"cat -- {second.word}"
        yield f"zeros {-second.size % _SECTOR}"
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
