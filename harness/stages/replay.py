"""Follows a plan over a console log, without a machine.

A log says nothing of the machine: neither how it ended nor what it did while it was silent. So stages that
only a shell's answers prove are left out, budgets do not run, and the end is what the console says of it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.console.watcher import Watcher
from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.machine.protocol import End, EndCause, Observed, Usage, end_told_by
from harness.stages.events import Audience
from harness.stages.judge import UNKNOWN
from harness.stages.log_file import open_log
from harness.stages.observer import Observer
from harness.stages.prefixes import Prefix, Unclear, find_prefix
from harness.stages.verdict import Decided, Evidence, RunResult, StageResult, StageStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.console.lines import Line
    from harness.stages.plan import Plan, Stage

_LAST_WORDS = 4096  # bytes at the end of a log in which a kernel's last words may stand
_HEAD = 1 << 18  # bytes from which the lines' prefix is learned
_AROUND = 1 << 16  # and bytes on both sides of the first kernel's banner
_LIMIT = 1 << 18
_BANNER = b"Linux version "
_PADDING = re.compile(rb"[ \t]{2,}(?=\r*\n)")  # behind lines that were copied off a terminal


class Replay(msgspec.Struct, frozen=True):
    """What a log shows."""

    result: RunResult  # how the run went, as far as the log tells
    unseen: tuple[str, ...]  # stages that no log can show: only a shell's answers prove them
    prefix: str = ""  # what other programs put before each line, that of one line; it was left out
    before: tuple[str, ...] = ()  # stages before the one in which the log begins
    placed: bool = (
        True  # whether a kernel or a stage begins in it, so that it is known which stages it is from
    )


def replay(plan: Plan, log: Path, *, seconds_at: Callable[[int], float] | None = None) -> Replay:
    """Follow a plan over a console log.

    Args:
        plan: What was expected of the run.
        log: The bytes of the console, also compressed; "-" is standard input. What other programs put before
            each line, such as times, is left out.
        seconds_at: When the byte at an offset came, if that is known; asked in rising order. The particulars
            of a failure are then looked for as long as in a run, and otherwise to the end of the log.
    """
    shown = tuple(
        msgspec.structs.replace(stage, checks=(), types="")
        for number, stage in enumerate(plan.stages)
        if stage.begins or number == 0
    )
    unseen = tuple(stage.name for stage in plan.stages if stage.name not in {s.name for s in shown})
    plan = msgspec.structs.replace(plan, stages=shown)
    with open_log(log) as file:
        prefix = _prefix(file, plan, log)
        tape = _Tape(log, file, prefix, seconds_at)
        # The first line that begins a stage ends the one before, in which a log without its head begins.
        first = _later(plan, plan.stages[1:], tape, 0)
        number = max(0, plan.stages.index(first[0]) - 1) if first else 0
        begun, *others = plan.stages[number:]
        own = _later(plan, [begun], tape, 0, banners=True)
        if number and (own is None or (first and own[1].start > first[1].start)):
            begun = msgspec.structs.replace(begun, begins="")
        placed = bool(first or own) or _BANNER in _sample(file)
        result = _follow(msgspec.structs.replace(plan, stages=(begun, *others)), tape)
    before = tuple(stage.name for stage in plan.stages[:number])
    if before and result.verdict.outcome == Outcome.PASS:
        names = ", ".join(before)
        reason = f"the log shows the right end, but not the stages {names}: its beginning is missing"
        verdict = Verdict(Outcome.HANG, result.verdict.stage, reason, "judge the whole log")
        result = msgspec.structs.replace(result, verdict=verdict)
    return Replay(result, unseen, prefix.example if prefix else "", before, placed)


def _prefix(file: BinaryIO, plan: Plan, log: Path) -> Prefix | None:
    lines = [stage.begins for stage in plan.stages if not stage.prompt] + [plan.end_line]
    notes = [note for stage in plan.stages for note in stage.notes]
    try:
        return find_prefix(
            _sample(file),
            [re.compile(text) for text in (*lines, *notes) if text],
            [text for failure in plan.failures for text in (failure.pattern, *failure.context)],
        )
    except Unclear as unclear:
        raise ConfigError(
            f"the lines of {log} do not begin where the console's did, such as: {unclear.line[:200]!r}",
            hint="other programs put something before each line: cut it off, and try again",
        ) from None


def _sample(file: BinaryIO) -> bytes:
    """The first lines of a log, and those around the first banner of a kernel if it comes later."""
    file.seek(0)
    head = block = file.read(_HEAD)
    while block and _BANNER not in block:
        file.seek(-min(len(_BANNER), len(block) - 1), os.SEEK_CUR)
        block = file.read(_HEAD) if len(block) == _HEAD else b""
    if block is head or not block:
        return head
    file.seek(max(0, file.tell() - len(block) + block.index(_BANNER) - _AROUND))
    return head[: head.rfind(b"\n") + 1] + file.read(2 * _AROUND).partition(b"\n")[2]


def _follow(plan: Plan, tape: _Tape) -> RunResult:
    observer = Observer(plan, tape, tape, scale=float("inf"), listener=Audience(), poll=0.0)
    try:
        for stage in plan.stages:
            observer.enter(stage)
        observer.await_end()
    except Decided as decided:
        verdict = _as_a_log_tells(decided.verdict, plan, tape, observer.boundary.offset)
    passed = verdict.outcome == Outcome.PASS
    observer.leave(StageStatus.PASSED if passed else StageStatus.FAILED)
    reached = {stage.name for stage in observer.stages}
    missing = (
        StageResult(stage.name, StageStatus.NOT_REACHED) for stage in plan.stages if stage.name not in reached
    )
    return RunResult(verdict, (*observer.stages, *missing), facts=dict(observer.facts))


def _as_a_log_tells(verdict: Verdict, plan: Plan, tape: _Tape, start: int) -> Verdict:
    """Put what the end of a run would mean, decided in a stage that begins at `start`, into that of a log."""
    if verdict.outcome == Outcome.PASS:
        reason = "the log shows every stage that a log can show, and the right end"
        return msgspec.structs.replace(verdict, reason=reason)
    if not any(item.what == "machine" for item in verdict.evidence):
        return verdict
    evidence = tuple(item for item in verdict.evidence if item.what != "machine")
    number = plan.stages.index(plan.stage(verdict.stage))
    if later := _later(plan, plan.stages[number + 2 :], tape, start):
        stage, line = later
        reason = f"the line with which stage {plan.stages[number + 1].name} begins is missing in the log: "
        reason += f"that of the later stage {stage.name} is there"
        hint = "lines of the log are missing or damaged, or it follows another plan"
        evidence = (Evidence("console", line.text, line.start), *evidence)
        return Verdict(Outcome.HANG, verdict.stage, reason, hint, evidence)
    if tape.cause is not None:
        return verdict
    if verdict.stage == plan.stages[-1].name:
        reason = "the log ends in the last stage that it can show, without the end of the machine"
    else:
        reason = f"the log ends in this stage, and {UNKNOWN}"
    hint = "look at its last lines: the guest hung, was stopped, or the log was cut off"
    return Verdict(Outcome.HANG, verdict.stage, reason, hint, evidence)


def _later(
    plan: Plan, stages: Sequence[Stage], tape: _Tape, start: int, *, banners: bool = False
) -> tuple[Stage, Line] | None:
    """One of these stages that begins somewhere after the start, and the line with which it does."""
    markers = {plan.begin_marker(stage): stage for stage in stages if not stage.prompt}
    # The banner of a kernel may be that of an earlier one.
    begins = {
        mark: it
        for mark, it in markers.items()
        if mark and (banners or not mark.pattern.match("Linux version 1"))
    }
    watcher = Watcher(start)
    watcher.wraps = plan.stages[0].wraps
    while begins and (data := tape.read(start)):
        start += len(data)
        watcher.feed(data)
        while watcher.pending:
            for sighting in watcher.look(tuple(begins)):
                if sighting.certain:
                    return begins[sighting.marker], sighting.line
    return None


class _Tape(Observed):
    """A log as the console and the machine of a run that is over."""

    failure = None
    ended = True

    def __init__(
        self,
        log: Path,
        source: BinaryIO,
        prefix: Prefix | None,
        seconds_at: Callable[[int], float] | None,
    ) -> None:
        self.raw = log
        self._source = source.fileno()
        self._prefix = prefix
        self._seconds_at = seconds_at
        self._is_padded = False
        self._played = 0  # offset up to which it was read
        self.size = os.fstat(self._source).st_size
        head = self.read(0)
        self._is_padded = len(_PADDING.findall(head)) * 2 > head.count(b"\n")
        self.cause = end_told_by(self.read(max(0, self.size - _LAST_WORDS)))
        self._played = 0

    def read(self, offset: int, limit: int = _LIMIT, timeout: float = 0.0) -> bytes:  # noqa: ARG002 - no waiting
        """Return the next bytes; with prefixes, whole lines, and NULs instead of the prefixes."""
        data = os.pread(self._source, max(limit, _LIMIT), offset)
        if self._prefix is not None:
            data = self._prefix.blank(data[: data.rfind(b"\n") + 1] or data)
        if self._is_padded:
            data = _PADDING.sub(lambda padding: bytes(len(padding[0])), data)
        self._played = offset + len(data)
        return data

    def poll(self) -> End | None:
        """How the machine ended; unknown to most logs."""
        if self._played < self.size:
            return None
        return End(self.cause or EndCause.DIED)

    def usage(self) -> Usage:
        """The time at which the log is, if that is known."""
        seconds = self._seconds_at(self._played) if self._seconds_at else 0.0
        return Usage(cpu=0.0, guest=seconds)
