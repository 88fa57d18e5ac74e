"""Verdicts with evidence, and results of stages."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from harness.core.outcome import Outcome  # noqa: TC001 - msgspec reads annotations at run time


class Evidence(msgspec.Struct, frozen=True):
    """Something that was seen and that the verdict rests on."""

    what: str  # "console", "screen", "processor" or "machine"
    text: str  # the line, or what was measured
    offset: int | None = None  # for console lines: where the line begins in `console.raw`, in bytes


class Verdict(msgspec.Struct, frozen=True):
    """The end of a run in words."""

    outcome: Outcome  # its kind
    stage: str  # the stage in which it was decided
    reason: str  # why, in one sentence
    hint: str = ""  # what to do next
    evidence: tuple[Evidence, ...] = ()  # what it rests on, in the order in which it was seen


class StageStatus(StrEnum):
    """How far a stage got."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not reached"
    NOT_APPLICABLE = "not applicable"  # the machine has no kernel of its own, and the stage is about one
    RESUMED = "resumed"  # it passed in the run whose checkpoint this one went on from


class CheckResult(msgspec.Struct, frozen=True):
    """A check in the guest's shell, done."""

    stage: str  # the stage that it belongs to
    name: str  # its name in the plan
    passed: bool  # whether the answer was the expected one
    answer: str  # what was found, in a few words
    seconds: float  # how long it took, in host seconds
    offset: int  # where in `console.raw` the answer is, in bytes


class StageResult(msgspec.Struct, frozen=True):
    """A stage, ended or not reached."""

    name: str  # its name in the plan
    status: StageStatus  # how far it got
    wall: float = 0.0  # host seconds that it took
    cpu: float = 0.0  # processor seconds that the machine took meanwhile
    start: int = 0  # where it begins in `console.raw`, in bytes
    end: int = 0  # where it ends there


class Boundary(msgspec.Struct, frozen=True):
    """The place in a run at which a stage has just begun."""

    stage: str  # the stage that begins
    # where its first line begins in `console.raw`, in bytes: who reads the console from there on sees all
    # that the stage shows
    offset: int
    facts: dict[str, str]  # what was learned before
    stages: tuple[StageResult, ...]  # the stages before, with what came of them


class RunResult(msgspec.Struct, frozen=True):
    """All that came of following a plan."""

    verdict: Verdict  # how it ended
    stages: tuple[StageResult, ...]  # every stage of the plan, in order
    checks: tuple[CheckResult, ...] = ()  # the checks that were done, in order
    facts: dict[str, str] = {}  # what was learned on the way: kernel releases, the compiler's version
    # stages, and checks as "stage.check", that this machine has no use for
    not_applicable: tuple[str, ...] = ()


class Decided(Exception):  # noqa: N818 - not an error: the run is over
    """The verdict is known; unwinds to the caller that follows the run."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict
