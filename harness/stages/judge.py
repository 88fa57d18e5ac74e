"""Makes a verdict with reason, next step and evidence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from harness.console.lines import STAMP, Line
from harness.core import last_words
from harness.core.outcome import Outcome
from harness.machine.protocol import End, EndCause, Observed
from harness.stages.diagnosis import diagnose
from harness.stages.error_lines import ERRORS_SHOWN, distance, last_errors, looks_like_error
from harness.stages.verdict import Evidence, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from harness.console.shell import Reply
    from harness.console.watcher import MarkerMatch
    from harness.stages.console_reader import LastLines
    from harness.stages.plan import Check, Failure, Plan, Stage

# What stands on the screen of a machine whose guest never writes there: words of SeaBIOS, of boot loaders, of
# the x86 decompressor, and of QEMU's kernel loader.
_FIRMWARE = re.compile(
    r"\s*(?:SeaBIOS|Machine UUID|iPXE|Press |Booting |Loading|Decompressing|Parsing ELF|Performing|\.+$"
    r"|No relocation|(?:Physical|Virtual) KASLR|early console|Probing|(?:Welcome to )?GRUB|\w+LINUX|boot:)"
)
_PANIC = re.compile(rf"{last_words.PANIC}: (.*)")
_RESTART = re.compile(last_words.RESTART)
UNKNOWN = "no line is a failure that the plan knows"
_EXCERPT = 20  # lines that are evidence, at most
_UNFINISHED = 80  # characters of an unfinished line that are quoted


class FailureMatch(msgspec.Struct, frozen=True):
    """A failure that was seen."""

    failure: Failure  # what the plan says of it
    sighting: MarkerMatch  # where it was seen
    before: tuple[MarkerMatch, ...] = ()  # what the lines before it add: its context

    @property
    def clue(self) -> bool:
        """Whether it only explains a failure that follows."""
        return self.failure.clue or not self.sighting.certain


def passed(plan: Plan) -> Verdict:
    """All of the plan came true, as far as it applies."""
    reason = "every stage and check of the plan passed"
    if plan.not_applicable:
        names = ", ".join(plan.not_applicable)
        reason = f"every stage and check of the plan that applies here passed; not applicable: {names}"
    return Verdict(Outcome.PASS, plan.stages[-1].name, reason)


def failed(plan: Plan, stage: Stage, seen: Sequence[FailureMatch], recent: LastLines) -> Verdict | None:
    """A failure of the plan was seen, or clues that explain an end; None where no clue explains it.

    Of several, a lasting one is the reason, else a clue right before the failure, else the plan's first.
    """
    cries = [it.sighting.line.start for it in seen if not it.clue]
    lines = recent.before(min(cries, default=recent.end))
    known = {it.sighting.line.start for it in seen}
    ranked = [(rank, it) for it in seen if (rank := _rank(it, lines, known)) is not None]
    if not ranked:
        return None
    seen = [it for _, it in ranked]
    _, first = min(ranked, key=lambda pair: (pair[0], plan.failures.index(pair[1].failure), _place(pair[1])))
    others = [it for it in seen if it is not first]
    sightings = [sighting for it in (first, *others) for sighting in (*it.before, it.sighting)]
    # The context of several failures may be one line; a kernel message and what it interrupted begin alike.
    shown = list(dict.fromkeys(sighting.line for sighting in sightings))[: _EXCERPT - ERRORS_SHOWN]
    starts = {line.start for line in shown}
    shown += [line for line in last_errors(lines) if line.start not in starts]
    groups = {"count": str(sum(trouble.failure is first.failure for trouble in seen))}
    for sighting in (*first.before, first.sighting):
        groups |= sighting.groups
    failure, evidence = first.failure, _lines(sorted(shown, key=lambda line: line.start))
    return Verdict(failure.outcome, stage.name, _sentence(failure, groups), failure.hint, evidence)


def _rank(seen: FailureMatch, lines: Sequence[Line], known: Collection[int]) -> int | None:
    if seen.failure.lasting:
        return 0
    start = seen.sighting.line.start
    explains = seen.clue and start < lines[-1].end if lines else False
    far = distance(start, lines, known) if explains else 1
    return None if far is None else min(far, 1) + 1


def _place(seen: FailureMatch) -> int:
    """Sorts sightings of one failure: of clues, the nearest is the better guess."""
    start = seen.sighting.line.start
    return -start if seen.clue and not seen.failure.lasting else start


def ended(stage: Stage, end: End, recent: LastLines) -> Verdict:
    """The machine ended when it should not have, and said nothing that the plan knows."""
    lines = recent.with_errors()
    evidence = (*_lines(lines), Evidence("machine", f"{end.cause} {end.detail}".strip()))
    panic = next((said for line in reversed(lines) if (said := _PANIC.search(line.text))), None)
    match end.cause:
        case EndCause.GUEST_RESET if panic:
            outcome, reason = Outcome.PANIC, f"the kernel panicked: {panic[1]}"
        case EndCause.GUEST_RESET if any(_RESTART.search(line.text) for line in lines):
            outcome, reason = Outcome.FAIL, "the guest restarted itself too early"
        case EndCause.GUEST_RESET if any(looks_like_error(line.text) for line in lines):
            outcome, reason = Outcome.PANIC, f"the machine reset itself, and {UNKNOWN}"
        case EndCause.GUEST_RESET:
            outcome = Outcome.PANIC
            reason = (
                "the machine reset itself without a word (a triple fault, or a kernel that gave up silently)"
            )
        case EndCause.GUEST_SHUTDOWN:
            outcome, reason = Outcome.FAIL, "the guest powered itself off too early"
        case EndCause.GUEST_PANIC:
            outcome, reason = Outcome.PANIC, "the guest reported a panic to the machine"
        case EndCause.EXITED | EndCause.GAVE_UP:
            outcome, reason = Outcome.FAIL, f"the first process ended before the plan did ({end.detail})"
        case _:
            reason = f"the machine ended without being asked to ({end.detail or end.cause})"
            hint = "look for the out-of-memory killer or other reasons on the host, and run again"
            return Verdict(Outcome.INFRA, stage.name, reason, hint, evidence)
    hint = stage.hint
    if end.cause == EndCause.GUEST_RESET:
        hint = hint or "the kernel that was to run is truncated or does not fit this processor"
    return Verdict(outcome, stage.name, reason, hint, evidence)


def silent(
    plan: Plan,
    stage: Stage,
    outcome: Outcome,
    what: str,
    *,
    machine: Observed,
    wait: Callable[[float], object],
    seen: Sequence[FailureMatch],
    recent: LastLines,
) -> Verdict:
    """A budget is used up, `what` in words: clues, the text screen, or what the processor does is the reason.

    The outcome is HANG or TIMEOUT, unless the reason is of another kind; the machine is still running.
    """
    if verdict := failed(plan, stage, seen, recent):
        return verdict
    tail = recent.tail
    unfinished = tail.text.strip()
    doing, evidence = diagnose(machine, wait, asked=bool(unfinished))
    lines = _lines((*recent.with_errors(), tail))
    evidence = (*lines, *evidence)
    # What came over the console as well tells nothing about silence on the console.
    rows = [item.text for item in evidence if item.what == "screen"]
    screen = [row for row in rows if not recent.said(row.strip())]
    for marker in plan.failure_markers(stage, screen=True):
        for text in reversed(screen):
            match = marker.pattern.search(text)
            failure = plan.failure_of(marker)
            if match and failure:
                reason = _sentence(failure, match.groupdict())
                return Verdict(failure.outcome, stage.name, reason, failure.hint, evidence)
    unheard = [row.strip() for row in screen if not _FIRMWARE.match(row)]
    if unheard and not lines:
        reason = f'{what}: the guest does not use the serial console: its screen shows "{unheard[-1]}"'
        hint = "put console=ttyS0 on the kernel's command line, last of all consoles"
        return Verdict(outcome, stage.name, reason, hint, evidence)
    clause = doing.clause
    if unheard:
        clause += f'; its screen, unlike the console, shows "{unheard[-1]}"'
    if unfinished:
        clause += f'; the console\'s last line, without an end, is "{unfinished[-_UNFINISHED:]}"'
    hint = "; ".join(part for part in (doing.hint, stage.hint) if part)
    return Verdict(outcome, stage.name, f"{what}: {clause}", hint, evidence)


def refuted(stage: Stage, check: Check, expected: str, reply: Reply) -> Verdict:
    """A check got another answer than the one that proves what it is to prove."""
    got = f"exit status {reply.status}"
    if reply.status == check.status:
        got = f"an answer that does not match {expected!r}"
    lines = reply.text.splitlines()[-_EXCERPT:]
    reason = f"check {check.name} ({check.proves}) got {got}"
    hint = f"run `{check.run}` yourself with `harness shell`"
    evidence = tuple(Evidence("console", line, reply.start) for line in lines)
    return Verdict(Outcome.FAIL, stage.name, reason, hint, evidence)


def _sentence(failure: Failure, groups: Mapping[str, str | None]) -> str:
    # Also those of groups that took no part in the match.
    found = {name: (groups.get(name) or "").strip() or "nothing" for name in failure.fields}
    return failure.reason.format_map(found)


def _lines(lines: Iterable[Line]) -> tuple[Evidence, ...]:
    return tuple(Evidence("console", line.text, line.start) for line in lines if STAMP.sub("", line.text))
