"""Turns what was seen into a verdict: outcome, reason in one sentence, next step, evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.console.lines import STAMP
from harness.machine.protocol import EndCause
from harness.outcome import Outcome
from harness.stages.diagnosis import diagnose
from harness.stages.verdict import Evidence, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from harness.console.lines import Line
    from harness.console.shell import Reply
    from harness.console.watcher import Sighting
    from harness.machine.protocol import End, Observed
    from harness.stages.plan import Check, Failure, Plan, Stage

_EXCERPT = 20  # lines that are evidence, at most
_UNFINISHED = 80  # characters of an unfinished line that are quoted


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure that was seen.

    Attributes:
        failure: What the plan says of it.
        sighting: Where it was seen.
        before: What the lines before it add: its context.
    """

    failure: Failure
    sighting: Sighting
    before: tuple[Sighting, ...] = ()


def failed(plan: Plan, stage: Stage, seen: Sequence[Trouble]) -> Verdict:
    """A failure of the plan was seen; of several, the plan's first is the reason."""
    first = min(seen, key=lambda trouble: plan.failures.index(trouble.failure))
    others = [trouble for trouble in seen if trouble is not first]
    sightings = [sighting for it in (first, *others) for sighting in (*it.before, it.sighting)]
    # The context of several failures may be one line; a kernel message and what it interrupted begin alike.
    lines = list(dict.fromkeys(sighting.line for sighting in sightings))[:_EXCERPT]
    groups = {"count": str(sum(trouble.failure is first.failure for trouble in seen))}
    for sighting in (*first.before, first.sighting):
        groups |= sighting.groups
    return Verdict(
        first.failure.outcome,
        stage.name,
        _sentence(first.failure, groups),
        first.failure.hint,
        _lines(sorted(lines, key=lambda line: line.start)),
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
    machine: Observed,
    wait: Callable[[float], object],
    seen: Sequence[Trouble],
    recent: Iterable[Line],
    tail: Line,
) -> Verdict:
    """A budget is used up: clues, the text screen, or what the processor does is the reason."""
    if seen:
        return failed(plan, stage, seen)
    doing, evidence = diagnose(machine, wait)
    lines = _lines((*recent, tail))
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
    clause = doing.clause
    if unfinished := tail.text.strip():
        clause += f'; the console\'s last line, without an end, is "{unfinished[-_UNFINISHED:]}"'
    hint = "; ".join(part for part in (doing.hint, stage.hint) if part)
    return Verdict(outcome, stage.name, f"{what}: {clause}", hint, evidence)


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
    # Also those of groups that took no part in the match.
    found = {name: (groups.get(name) or "").strip() or "nothing" for name in failure.fields}
    return failure.reason.format_map(found)


def _lines(lines: Iterable[Line]) -> tuple[Evidence, ...]:
    return tuple(Evidence("console", line.text, line.start) for line in lines if STAMP.sub("", line.text))
