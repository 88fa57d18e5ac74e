"""Where one stage of a run ends and the next begins, with all that is known there."""

from __future__ import annotations

import msgspec

from harness.stages.verdict import StageResult


class Boundary(msgspec.Struct, frozen=True):
    """The place in a run at which a stage has just begun.

    Attributes:
        stage: The stage that begins.
        offset: Where its first line begins in `console.raw`, in bytes: who reads the console from there on
            sees all that the stage shows.
        facts: What was learned before.
        stages: The stages before, with what came of them.
    """

    stage: str
    offset: int
    facts: dict[str, str]
    stages: tuple[StageResult, ...]
