"""Verdicts with evidence, and results of stages."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from harness.core.outcome import Outcome  # noqa: TC001 - msgspec reads annotations at run time


class Evidence(msgspec.Struct, frozen=True):
    """Something that was seen and that the verdict rests on.

    Attributes:
        what: "console", "screen", "processor" or "machine".
        text: The line, or what was measured.
        offset: For console lines: where the line begins in `console.raw`, in bytes.
    """

    what: str
    text: str
    offset: int | None = None


class Verdict(msgspec.Struct, frozen=True):
    """The end of a run in words.

    Attributes:
        outcome: Its kind.
        stage: The stage in which it was decided.
        reason: Why, in one sentence.
        hint: What to do next.
        evidence: What it rests on, in the order in which it was seen.
    """

    outcome: Outcome
    stage: str
    reason: str
    hint: str = ""
    evidence: tuple[Evidence, ...] = ()


class StageStatus(StrEnum):
    """How far a stage got."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not reached"
    NOT_APPLICABLE = "not applicable"  # the machine has no kernel of its own, and the stage is about one
    RESUMED = "resumed"  # it passed in the run whose checkpoint this one went on from


class CheckResult(msgspec.Struct, frozen=True):
    """A check in the guest's shell, done.

    Attributes:
        stage: The stage that it belongs to.
        name: Its name in the plan.
        passed: Whether the answer was the expected one.
        answer: What was found, in a few words.
        seconds: How long it took, in host seconds.
        offset: Where in `console.raw` the answer is, in bytes.
    """

    stage: str
    name: str
    passed: bool
    answer: str
    seconds: float
    offset: int


class StageResult(msgspec.Struct, frozen=True):
    """A stage, ended or not reached.

    Attributes:
        name: Its name in the plan.
        status: How far it got.
        wall: Host seconds that it took.
        cpu: Processor seconds that the machine took meanwhile.
        start: Where it begins in `console.raw`, in bytes.
        end: Where it ends there.
    """

    name: str
    status: StageStatus
    wall: float = 0.0
    cpu: float = 0.0
    start: int = 0
    end: int = 0


class RunResult(msgspec.Struct, frozen=True):
    """All that came of following a plan.

    Attributes:
        verdict: How it ended.
        stages: Every stage of the plan, in order.
        checks: The checks that were done, in order.
        facts: What was learned on the way: kernel releases, the compiler's version.
        not_applicable: Stages, and checks as "stage.check", that this machine has no use for.
    """

    verdict: Verdict
    stages: tuple[StageResult, ...]
    checks: tuple[CheckResult, ...] = ()
    facts: dict[str, str] = {}
    not_applicable: tuple[str, ...] = ()


class Decided(Exception):  # noqa: N818 - not an error: the run is over
    """The verdict is known; unwinds to the caller that follows the run."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict
