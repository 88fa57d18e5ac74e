"""The place where a stage begins, and what is known there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.console.lines import Block, LineCleaner
from harness.stages.verdict import StageResult  # noqa: TC001 - msgspec reads annotations at run time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.console.recorder import Console

_PIECE = 65536  # bytes of a console that are read at once


class Boundary(msgspec.Struct, frozen=True):
    """The place in a run at which a stage has just begun."""

    stage: str  # the stage that begins
    # where its first line begins in `console.raw`, in bytes: who reads the console from there on sees all
    # that the stage shows
    offset: int
    facts: dict[str, str]  # what was learned before
    stages: tuple[StageResult, ...]  # the stages before, with what came of them


def recorded_before(boundary: Boundary, console: Console) -> Iterator[Block]:
    """The lines of a recorded console before a boundary."""
    cleaner, offset = LineCleaner(), 0
    while data := console.read(offset, min(_PIECE, boundary.offset - offset)):
        offset += len(data)
        if block := cleaner.feed(data):
            yield block
