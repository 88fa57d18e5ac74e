"""Follows a plan over a console log alone: what a record, or a log that somebody posted, shows of a run.

A log says nothing of the machine: neither how it ended nor what it did while it was silent. So stages that
only a shell's answers prove are left out, budgets do not run, and the end is what the console says of it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.machine.protocol import End, EndCause, Usage
from harness.stages.observer import Observer
from harness.stages.verdict import Decided, RunResult, StageResult, StageStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.console.lines import Block
    from harness.machine.protocol import ProcessorSample
    from harness.stages.events import Event
    from harness.stages.plan import Plan

# The kernel's last words (kernel/reboot.c, kernel/panic.c) and the end of the machine that follows them.
_ENDS = (
    (re.compile(rb"reboot: (?:Power down|System halted)"), EndCause.GUEST_SHUTDOWN),
    (re.compile(rb"reboot: (?:Restarting system|machine restart)"), EndCause.GUEST_RESET),
    (re.compile(rb"Kernel panic - not syncing"), EndCause.GUEST_RESET),
)
_LAST_WORDS = 4096  # bytes at the end of a log in which they may stand
_HEAD = 65536  # bytes by which it is judged whether lines have prefixes
# What terminal programs and CI services put before each line: moments, in brackets or not.
_PREFIX = re.compile(
    rb"(?m)^(?:\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*(?:Z|[+-]\d\d:?\d\d)?\]?"
    rb"|\[?\d\d:\d\d:\d\d[.,\d]*\]?|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) "
)
_LIMIT = 1 << 18


class Replay(msgspec.Struct, frozen=True):
    """What a log shows.

    Attributes:
        result: How the run went, as far as the log tells.
        unseen: Stages that no log can show: only a shell's answers prove them.
    """

    result: RunResult
    unseen: tuple[str, ...]


def replay(plan: Plan, log: Path, *, seconds_at: Callable[[int], float] | None = None) -> Replay:
    """Follow a plan over a console log.

    Args:
        plan: What was expected of the run.
        log: The bytes of the console. Times before each line, as many tools put them, do not matter.
        seconds_at: When the byte at an offset came, if that is known; asked in rising order. The particulars
            of a failure are then looked for as long as in a run, and otherwise to the end of the log.

    Raises:
        ConfigError: The log cannot be read.
    """
    shown = tuple(
        msgspec.structs.replace(stage, checks=(), types="")
        for number, stage in enumerate(plan.stages)
        if stage.begins or number == 0
    )
    unseen = tuple(stage.name for stage in plan.stages if stage.name not in {s.name for s in shown})
    with _Tape(log, seconds_at) as tape:
        result = _follow(msgspec.structs.replace(plan, stages=shown), tape)
    return Replay(result, unseen)


def _follow(plan: Plan, tape: _Tape) -> RunResult:
    observer = Observer(plan, tape, tape, scale=float("inf"), listener=_Nobody(), poll=0.0)
    try:
        for stage in plan.stages:
            observer.enter(stage)
        observer.await_end()
    except Decided as decided:
        verdict = _as_a_log_tells(decided.verdict, plan, tape)
    passed = verdict.outcome == Outcome.PASS
    observer.leave(StageStatus.PASSED if passed else StageStatus.FAILED)
    reached = {stage.name for stage in observer.stages}
    missing = (
        StageResult(stage.name, StageStatus.NOT_REACHED) for stage in plan.stages if stage.name not in reached
    )
    return RunResult(verdict, (*observer.stages, *missing), facts=dict(observer.facts))


def _as_a_log_tells(verdict: Verdict, plan: Plan, tape: _Tape) -> Verdict:
    """Put what the end of a run would mean into what the end of a log means."""
    if verdict.outcome == Outcome.PASS:
        reason = "the log shows every stage that a log can show, and the right end"
        return msgspec.structs.replace(verdict, reason=reason)
    if tape.cause is not None or verdict.outcome != Outcome.INFRA:
        return verdict
    if verdict.stage == plan.stages[-1].name:
        reason = "the log ends in the last stage that it can show, without the end of the machine"
    else:
        reason = "the log ends in this stage, and nothing in it says why"
    hint = "look at its last lines: the guest hung, was stopped, or the log was cut off"
    return Verdict(Outcome.HANG, verdict.stage, reason, hint, verdict.evidence)


class _Nobody:
    """Listens to nothing."""

    def event(self, event: Event) -> None:
        """Ignore an event."""

    def heard(self, block: Block) -> None:
        """Ignore lines."""


class _Tape:
    """A log as the console and the machine of a run that is over."""

    failure = None
    ended = True

    def __init__(self, log: Path, seconds_at: Callable[[int], float] | None) -> None:
        self.raw = log
        self._seconds_at = seconds_at
        self._played = 0  # offset up to which it was read
        try:
            self._source = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
            self.size = os.fstat(self._source).st_size
            head = os.pread(self._source, _HEAD, 0)
        except OSError as error:
            raise ConfigError(f"cannot read {log}: {error.strerror}") from error
        last_words = os.pread(self._source, _LAST_WORDS, max(0, self.size - _LAST_WORDS))
        self._has_prefixes = len(_PREFIX.findall(head)) * 10 > head.count(b"\n") * 9 > 0
        self.cause = next((cause for pattern, cause in _ENDS if pattern.search(last_words)), None)

    def __enter__(self) -> _Tape:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._source)

    def read(self, offset: int, limit: int = _LIMIT, timeout: float = 0.0) -> bytes:  # noqa: ARG002 - no waiting
        """Return the next bytes; with prefixes, whole lines, and NULs instead of the prefixes."""
        data = os.pread(self._source, max(limit, _LIMIT), offset)
        if self._has_prefixes:
            data = data[: data.rfind(b"\n") + 1] or data
            # Cleaned lines have no control characters, and offsets stay what they are.
            data = _PREFIX.sub(lambda prefix: bytes(len(prefix[0])), data)
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

    def sample(self) -> ProcessorSample | None:
        """Nothing is known of the processor."""
        return None

    def screen(self) -> list[str]:
        """Nothing is known of the screen."""
        return []
