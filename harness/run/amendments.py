"""Amends a verdict by what the judge of the console cannot know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import InfraError
from harness.core.outcome import Outcome
from harness.stages.events import Ended, Listener, TakenOver
from harness.stages.verdict import RunResult, StageStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.record.packages import PackageWatch
    from harness.run.checkpoints import Checkpoint
    from harness.stages.plan import Plan


def amended(
    result: RunResult,
    directory: Path,
    plan: Plan,
    *,
    expected: Mapping[str, str],
    packages: PackageWatch | None,
    start: Checkpoint | None,
    taken: TakenOver | None,
) -> RunResult:
    """The result of a run whose machine has ended; only a PASS can become another outcome.

    Files must have the sha256 that is expected, and packages be as the tree says. The reason tells of a
    checkpoint that the run went on from, and of a person who took it over.
    """
    wrong = _disproved(directory, plan, expected)
    passed = result.verdict.outcome == Outcome.PASS
    if passed and wrong:
        hint = "compare the programs with those of a good run; console.log has the commands that made them"
        result = failed(result, Verdict(Outcome.FAIL, result.verdict.stage, wrong, hint))
    verdict = packages.judged(result.verdict) if packages is not None else result.verdict
    if passed and start is not None:  # it shows nothing of the stages before
        verdict = _prefixed(verdict, f"resumed at {start.state.boundary.stage}")
    return by_hand(msgspec.structs.replace(result, verdict=verdict), taken)


def by_hand(result: RunResult, taken: TakenOver | None) -> RunResult:
    """The result, which is not the plan's alone where a person took the run over."""
    if taken is None:
        return result
    when = f"taken over by hand in stage {taken.stage} at {taken.seconds:.1f} s"
    return msgspec.structs.replace(result, verdict=_prefixed(result.verdict, when))


def announced(result: RunResult, listener: Listener) -> RunResult:
    """Tell how the run ended; only a PASS becomes INFRA where the disk is full by then."""
    try:
        listener.event(Ended(result.verdict))
    except InfraError as error:
        if result.verdict.outcome == Outcome.PASS:
            verdict = Verdict(Outcome.INFRA, result.verdict.stage, error.message, error.hint)
            return msgspec.structs.replace(result, verdict=verdict)
    return result


def _prefixed(verdict: Verdict, words: str) -> Verdict:
    return msgspec.structs.replace(verdict, reason=f"{words}: {verdict.reason}")


def failed(result: RunResult, verdict: Verdict) -> RunResult:
    """The result with another verdict, whose stage failed."""
    stages = tuple(
        msgspec.structs.replace(stage, status=StageStatus.FAILED) if stage.name == verdict.stage else stage
        for stage in result.stages
    )
    return msgspec.structs.replace(result, verdict=verdict, stages=stages)


def _disproved(directory: Path, plan: Plan, expected: Mapping[str, str]) -> str:
    """Which products are not as they should be; what a console showed of products becomes their list."""
    from harness.record import gathering
    from harness.stages import products

    wraps = max(stage.wraps for stage in plan.stages)
    sums, approved = gathering.shown(directory / "console.raw", wraps=wraps)
    known = products.read(directory)
    if known is None and sums:
        products.write_sums(known := sums, directory)
    return products.disproved(expected, known or {}, approved)
