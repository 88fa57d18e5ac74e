"""Turns what was seen into a verdict: outcome, reason in one sentence, next step, evidence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.console.watcher import STAMP
from harness.machine.protocol import EndCause
from harness.outcome import Outcome
from harness.stages.diagnosis import diagnose
from harness.stages.verdict import Evidence, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from harness.console.lines import Line
    from harness.console.shell import Reply
    from harness.console.watcher import Sighting
    from harness.machine.protocol import End, Machine
    from harness.stages.plan import Check, Failure, Plan, Stage

_EXCERPT = 20  # lines of a wrong answer that are evidence


def failed(plan: Plan, stage: Stage, seen: Sequence[tuple[Failure, Sighting]]) -> Verdict:
    """A failure of the plan was seen; of several, the plan's first is the reason."""
    failure, sighting = min(seen, key=lambda pair: plan.failures.index(pair[0]))
    return Verdict(
        failure.outcome,
        stage.name,
        _sentence(failure, sighting.groups),
        failure.hint,
        _lines(sighting.line for _, sighting in seen),
    )


def ended(stage: Stage, end: End, recent: Iterable[Line]) -> Verdict:
    """The machine ended when it should not have, and said nothing that the plan knows."""
    evidence = (*_lines(recent), Evidence("machine", f"{end.cause} {end.detail}".strip()))
    match end.cause:
        case EndCause.GUEST_RESET:
            return Verdict(
                Outcome.PANIC,
                stage.name,
                "the machine reset itself without a word (a triple fault, or a kernel that gave up silently)",
                stage.hint or "the kernel that was to run is truncated or does not fit this processor",
                evidence,
            )
        case EndCause.GUEST_SHUTDOWN:
            return Verdict(
                Outcome.FAIL, stage.name, "the guest powered itself off too early", stage.hint, evidence
            )
        case EndCause.GUEST_PANIC:
            return Verdict(
                Outcome.PANIC, stage.name, "the guest reported a panic to the machine", stage.hint, evidence
            )
    return Verdict(
        Outcome.INFRA,
        stage.name,
        f"QEMU ended although nobody asked it to ({end.detail or end.cause})",
        "look for the out-of-memory killer or other reasons on the host, and run again",
        evidence,
    )


def silent(
    plan: Plan,
    stage: Stage,
    outcome: Outcome,
    what: str,
    *,
    machine: Machine,
    wait: Callable[[float], object],
    seen: Sequence[tuple[Failure, Sighting]],
    recent: Iterable[Line],
) -> Verdict:
    """A budget is used up: clues, the text screen, or what the processor does is the reason."""
    if seen:
        return failed(plan, stage, seen)
    doing, evidence = diagnose(machine, wait)
    lines = _lines(recent)
    evidence = (*lines, *evidence)
    # What came over the console as well tells nothing about silence on the console.
    heard = {line.text.strip() for line in lines}
    screen = [item.text for item in evidence if item.what == "screen" and item.text.strip() not in heard]
    for marker in plan.failure_markers(stage, screen=True):
        for text in reversed(screen):
            match = marker.pattern.search(text)
            failure = plan.failure_of(marker)
            if match and failure:
                reason = _sentence(failure, match.groupdict())
                return Verdict(failure.outcome, stage.name, reason, failure.hint, evidence)
    return Verdict(outcome, stage.name, f"{what}: {doing}", stage.hint, evidence)


def refuted(stage: Stage, check: Check, expected: str, reply: Reply) -> Verdict:
    """A check got another answer than the one that proves what it is to prove."""
    got = f"exit status {reply.status}"
    if reply.status == check.status:
        got = f"an answer that does not match {expected!r}"
    lines = reply.text.splitlines()[-_EXCERPT:]
    return Verdict(
        Outcome.FAIL,
        stage.name,
        f"check {check.name} ({check.proves}) got {got}",
        f"run `{check.run}` yourself with `harness shell`",
        tuple(Evidence("console", line, reply.start) for line in lines),
    )


def _sentence(failure: Failure, groups: Mapping[str, str | None]) -> str:
    names = re.compile(failure.pattern).groupindex  # also of groups that took no part in the match
    return failure.reason.format_map({name: (groups.get(name) or "").strip() or "nothing" for name in names})


def _lines(lines: Iterable[Line]) -> tuple[Evidence, ...]:
    return tuple(Evidence("console", line.text, line.start) for line in lines if STAMP.sub("", line.text))
