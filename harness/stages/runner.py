"""Follows a plan over a console, stage by stage, to a verdict."""

from __future__ import annotations

import re
import secrets
import sys
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from harness.console.shell import Shell, ShellGone, ShellTimeout
from harness.console.watcher import Watcher
from harness.errors import InfraError
from harness.outcome import Outcome
from harness.stages import events, judge
from harness.stages.verdict import CheckResult, RunResult, StageResult, StageStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from harness.console.lines import Line
    from harness.console.recorder import Recorder
    from harness.console.watcher import Marker, Sighting
    from harness.machine.protocol import End, Machine
    from harness.stages.events import Listener
    from harness.stages.plan import Check, Failure, Plan, Stage

_POLL = 0.2  # seconds between looks at the machine and the clocks
_LAST_WORDS = 3.0  # seconds of guest time that a failed guest may go on talking, for the particulars
_CONTEXT = 8  # console lines kept as evidence when nothing else explains the end


class _Decided(Exception):  # noqa: N818 - not an error: the run is over
    """The verdict is known; unwinds to `Runner.follow`."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


@dataclass(slots=True)
class _Current:
    """The stage that the run is in; times in guest seconds unless said otherwise."""

    stage: Stage
    offset: int
    wall: float  # host seconds
    cpu: float
    began: float
    heard: float
    failures: list[tuple[Failure, Sighting]] = field(default_factory=list)
    last_words_until: float | None = None


class Runner:
    """Follows one run of a machine.

    Args:
        plan: What is expected.
        machine: Prepared and not yet started.
        recorder: Its console, already recording.
        accelerator: Scales the plan's budgets.
        facts: What is known beforehand and may be filled into checks.
        listener: Told of everything that happens.
        interact: Called before the plan types its last words, with the console's raw offset, so that a
            person can take over for a while.
        patience: All budgets are multiplied with it.
    """

    def __init__(
        self,
        plan: Plan,
        machine: Machine,
        recorder: Recorder,
        *,
        accelerator: str,
        facts: Mapping[str, str],
        listener: Listener,
        interact: Callable[[int], None] | None = None,
        patience: float = 1.0,
    ) -> None:
        self._plan = plan
        self._machine = machine
        self._recorder = recorder
        self._scale = plan.scale.get(accelerator, 1.0) * patience
        self._listener = listener
        self._interact = interact
        nonce = secrets.randbelow(10**6)
        self._facts = {"nonce": str(nonce), "nonce_plus_one": str(nonce + 1), **facts}
        self._watcher = Watcher()
        self._offset = 0  # of the next raw byte to read
        self._lines: deque[Line] = deque()
        self._recent: deque[Line] = deque(maxlen=_CONTEXT)
        self._looked = 0.0  # when machine and clocks were last looked at, in host seconds
        self._heard = False  # whether anything came since then
        self._shell: Shell | None = None
        self._now = self._current(plan.stages[0], 0)
        self._markers: tuple[Marker, ...] = ()
        self._stages: list[StageResult] = []
        self._checks: list[CheckResult] = []

    def follow(self) -> RunResult:
        """Start the machine and follow it to its end.

        Whatever the guest, the machine or the host do becomes a verdict; only interruptions and our own
        mistakes leave as exceptions, and `result` tells then how far the run came.
        """
        try:
            self._machine.start()
            for stage in self._plan.stages:
                self._enter(stage)
                self._carry_out(stage)
            self._await_end()
        except _Decided as decided:
            verdict = decided.verdict
        except InfraError as error:
            verdict = Verdict(Outcome.INFRA, self._now.stage.name, error.message, error.hint)
        return self.result(verdict)

    def result(self, verdict: Verdict) -> RunResult:
        """Close the current stage, and sum up."""
        if self._now.stage.name not in {stage.name for stage in self._stages}:  # interrupted in between
            self._leave(StageStatus.PASSED if verdict.outcome == Outcome.PASS else StageStatus.FAILED)
        self._listener.event(events.Ended(verdict))
        reached = {stage.name for stage in self._stages}
        missing = [
            StageResult(stage.name, StageStatus.NOT_REACHED)
            for stage in self._plan.stages
            if stage.name not in reached
        ]
        return RunResult(verdict, (*self._stages, *missing), tuple(self._checks), dict(self._facts))

    @property
    def stage(self) -> str:
        """Name of the stage that the run is in."""
        return self._now.stage.name

    # Stages.

    def _enter(self, stage: Stage) -> None:
        """Wait until the stage begins."""
        offset = self._offset
        if marker := self._plan.begin_marker(stage):
            sighting = self._await(marker)
            self._facts |= sighting.groups
            offset = sighting.line.start
        if stage is not self._plan.stages[0]:
            self._leave(StageStatus.PASSED, offset)
        self._now = self._current(stage, offset)
        self._markers = (*self._plan.failure_markers(stage), *self._plan.note_markers(stage))
        self._listener.event(events.StageBegan(stage.name, offset))

    def _carry_out(self, stage: Stage) -> None:
        """Do what the stage asks of us; most only want to be watched."""
        if stage.checks:
            shell = self._enter_shell(stage)
            for check in stage.checks:
                self._check(shell, check)
        if stage.types:
            shell = self._enter_shell(stage)
            if self._interact is not None:
                self._hand_over(shell, self._interact)
            if not self._recorder.ended:  # a person may have powered the machine off
                shell.send_line(stage.types)

    def _hand_over(self, shell: Shell, interact: Callable[[int], None]) -> None:
        """Let a person have the shell; their time is nobody's budget."""
        with self._shell_trouble("getting ready for you"):
            shell.restore()
        interact(shell.offset)
        if not self._recorder.ended:
            self._recorder.write(b"\x03")  # out of whatever was left running
        self._now = self._current(self._now.stage, self._now.offset)

    def _current(self, stage: Stage, offset: int) -> _Current:
        usage = self._machine.usage()
        return _Current(
            stage, offset, wall=time.monotonic(), cpu=usage.cpu, began=usage.guest, heard=usage.guest
        )

    def _leave(self, status: StageStatus, end: int | None = None) -> None:
        now = self._now
        result = StageResult(
            now.stage.name,
            status,
            wall=time.monotonic() - now.wall,
            cpu=self._machine.usage().cpu - now.cpu,
            start=now.offset,
            end=self._recorder.size if end is None else end,
        )
        self._stages.append(result)
        self._listener.event(events.StageEnded(result))

    # Watching.

    def _await(self, goal: Marker) -> Sighting:
        """Watch the console until the goal is seen."""
        markers = (goal, *self._markers)
        while True:
            line = self._next_line()
            found = None
            if line is not None:
                for sighting in self._watcher.match(line, markers):
                    if sighting.marker is goal:
                        found = sighting
                    else:
                        self._take(sighting)
            elif goal.prompt:
                found = self._watcher.match_tail([goal])
            # A failure that was seen decides: the goal may be what a broken guest falls back to.
            if found is not None and self._now.last_words_until is None:
                return found
            self._look(silence=True)

    def _await_end(self) -> NoReturn:
        """Watch the console until the machine's end decides the run."""
        while True:
            self._listen(_POLL)
            self._look(silence=True)

    def _listen(self, timeout: float) -> None:
        """Take everything that the console has, for failures and notes only."""
        line = self._next_line(timeout)
        while line is not None:
            for sighting in self._watcher.match(line, self._markers):
                self._take(sighting)
            line = self._next_line(0.0)

    def _next_line(self, timeout: float = _POLL) -> Line | None:
        """The next complete line; None when there is none yet."""
        if not self._lines:
            data = self._recorder.read(self._offset, timeout=timeout)
            if data:
                self._offset += len(data)
                self._heard = True
                self._lines.extend(self._watcher.feed(data))
        if not self._lines:
            return None
        line = self._lines.popleft()
        self._recent.append(line)
        self._listener.line(line.text, line.start)
        return line

    def _take(self, sighting: Sighting) -> None:
        """Take a note, or a failure."""
        failure = self._plan.failure_of(sighting.marker)
        self._listener.event(events.Seen(sighting.marker.key, sighting.line.text, sighting.line.start))
        if failure is None:
            self._facts |= sighting.groups
            return
        self._now.failures.append((failure, sighting))
        if not failure.clue and self._now.last_words_until is None:
            self._now.last_words_until = self._machine.usage().guest + _LAST_WORDS

    def _look(self, *, silence: bool) -> None:
        """Look at the machine and at the clocks, now and then."""
        if time.monotonic() - self._looked < _POLL:
            return
        self._looked = time.monotonic()
        if self._recorder.failure is not None:
            raise InfraError(
                f"cannot record the console in {self._recorder.raw}: {self._recorder.failure.strerror}",
                hint="free some space, or choose another directory with --runs",
            )
        if (end := self._machine.poll()) and self._heard_out():
            self._judge_end(end)
        now, guest = self._now, self._machine.usage().guest
        if self._heard:
            now.heard, self._heard = guest, False
        if now.last_words_until is not None and guest > now.last_words_until:
            raise _Decided(judge.failed(self._plan, now.stage, now.failures))
        if silence and guest - now.heard > now.stage.silence * self._scale:
            self._judge_silence(Outcome.HANG, f"nothing was heard for {guest - now.heard:.0f} s")
        if guest - now.began > now.stage.budget * self._scale:
            self._judge_silence(Outcome.TIMEOUT, f"it did not end within {guest - now.began:.0f} s")

    def _heard_out(self) -> bool:
        """Whether all lines were taken, by those who wait for them: the end can come long before its lines."""
        return self._recorder.ended and self._offset == self._recorder.size and not self._lines

    # Deciding.

    def _judge_end(self, end: End) -> NoReturn:
        """The machine has ended and was heard out: take what it left unfinished, and decide."""
        for line in self._watcher.finish():
            for sighting in self._watcher.match(line, self._markers):
                self._take(sighting)
        now, last = self._now, self._plan.stages[-1]
        expected = now.stage is last and end.cause == self._plan.end
        if any(not failure.clue for failure, _ in now.failures) or (now.failures and not expected):
            raise _Decided(judge.failed(self._plan, now.stage, now.failures))
        if expected:
            raise _Decided(Verdict(Outcome.PASS, last.name, "every stage and check of the plan passed"))
        raise _Decided(judge.ended(now.stage, end, self._recent))

    def _judge_silence(self, outcome: Outcome, what: str) -> NoReturn:
        """A budget is used up: find out what the guest is doing, and decide."""
        raise _Decided(
            judge.silent(
                self._plan,
                self._now.stage,
                outcome,
                what,
                machine=self._machine,
                wait=lambda seconds: self._recorder.read(self._recorder.size, timeout=seconds),
                seen=self._now.failures,
                recent=self._recent,
            )
        )

    # Checks.

    def _enter_shell(self, stage: Stage) -> Shell:
        if self._shell is None:
            self._shell = Shell(self._recorder, self._offset, clock=self._clock)
            with self._shell_trouble("answering"):
                self._shell.enter(timeout=stage.silence * self._scale)
        return self._shell

    def _check(self, shell: Shell, check: Check) -> None:
        stage = self._now.stage.name
        self._listener.event(events.CheckBegan(stage, check.name))
        began = time.monotonic()
        with self._shell_trouble(f"check {check.name}"):
            reply = shell.run(_fill(check.run, self._facts), timeout=check.budget * self._scale)
        output = reply.text.rstrip("\n")
        expected = _fill(check.output, {key: re.escape(value) for key, value in self._facts.items()})
        match = re.fullmatch(expected, output)
        passed = reply.status == check.status and match is not None
        learned = {key: value for key, value in match.groupdict().items() if value} if match else {}
        self._facts |= learned
        answer = ", ".join(learned.values()) or output.partition("\n")[0] or f"exit status {reply.status}"
        seconds = time.monotonic() - began
        result = CheckResult(stage, check.name, passed, answer, seconds, reply.start)
        self._checks.append(result)
        self._listener.event(events.CheckEnded(result))
        if not passed:
            raise _Decided(judge.refuted(self._now.stage, check, expected, reply))

    @contextmanager
    def _shell_trouble(self, doing: str) -> Iterator[None]:
        """A shell that fails us ends the run."""
        try:
            yield
        except ShellTimeout:
            self._judge_silence(Outcome.HANG, f"the shell did not come back from {doing}")
        except (ShellGone, InfraError):
            self._recorder.read(sys.maxsize, timeout=_POLL)  # the end, which typing may notice first
            if not self._recorder.ended:
                raise
            self._await_end()  # the machine's end explains more than the shell can

    def _clock(self) -> float:
        """Guest time for the shell, which asks often: the moment to listen for failures meanwhile."""
        self._listen(0.0)
        self._look(silence=False)
        return self._machine.usage().guest


def _fill(template: str, facts: Mapping[str, str]) -> str:
    """Fill in `{facts}`; other braces, which shells and patterns are full of, stay."""
    return re.sub(r"\{([a-z_]+)\}", lambda match: facts.get(match[1], match[0]), template)
