"""Watches a run: takes what the console says, looks at the machine and the clocks, and decides failures."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from harness.console.watcher import Watcher
from harness.errors import InfraError
from harness.outcome import Outcome
from harness.stages import events, judge
from harness.stages.verdict import StageResult, StageStatus, Verdict

if TYPE_CHECKING:
    from harness.console.lines import Line
    from harness.console.recorder import Recorder
    from harness.console.watcher import Marker, Sighting
    from harness.machine.protocol import End, Machine
    from harness.stages.events import Listener
    from harness.stages.plan import Failure, Plan, Stage

_POLL = 0.2  # seconds between looks at the machine and the clocks
_LAST_WORDS = 3.0  # seconds of guest time that a failed guest may go on talking, for the particulars
_GOODBYE = 5.0  # seconds that a machine may outlive its console
_CONTEXT = 8  # console lines kept as evidence when nothing else explains the end


class Decided(Exception):  # noqa: N818 - not an error: the run is over
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


class Observer:
    """Watches one run of a machine; every method may raise `Decided`.

    Args:
        plan: What is expected.
        machine: Prepared and not yet started.
        recorder: Its console, already recording.
        scale: What the plan's budgets are multiplied with.
        listener: Told of everything that happens.
    """

    def __init__(
        self, plan: Plan, machine: Machine, recorder: Recorder, *, scale: float, listener: Listener
    ) -> None:
        self._plan = plan
        self._machine = machine
        self._recorder = recorder
        self._scale = scale
        self._listener = listener
        self.facts: dict[str, str] = {}
        self.stages: list[StageResult] = []  # those that have ended
        self.offset = 0  # of the next raw byte to read
        self._watcher = Watcher()
        self._lines: deque[Line] = deque()
        self._recent: deque[Line] = deque(maxlen=_CONTEXT)
        self._looked = 0.0  # when machine and clocks were last looked at, in host seconds
        self._heard = False  # whether anything came since then
        self._deaf_since: float | None = None  # when the console was first seen closed, in host seconds
        self._now = self._current(plan.stages[0], 0)
        self._markers: tuple[Marker, ...] = ()

    @property
    def stage(self) -> Stage:
        """The stage that the run is in."""
        return self._now.stage

    def enter(self, stage: Stage) -> None:
        """Wait until a stage begins; the one before it ends there."""
        offset = self.offset
        if marker := self._plan.begin_marker(stage):
            sighting = self._await(marker)
            self.facts |= sighting.groups
            offset = sighting.line.start
        if stage is not self._plan.stages[0]:
            self.leave(StageStatus.PASSED, offset)
        self._now = self._current(stage, offset)
        self._markers = (*self._plan.failure_markers(stage), *self._plan.note_markers(stage))
        self._listener.event(events.StageBegan(stage.name, offset))

    def leave(self, status: StageStatus, end: int | None = None) -> None:
        """End the current stage, at a raw offset or here; once."""
        if self._now.stage.name in {stage.name for stage in self.stages}:
            return
        now = self._now
        result = StageResult(
            now.stage.name,
            status,
            wall=time.monotonic() - now.wall,
            cpu=self._machine.usage().cpu - now.cpu,
            start=now.offset,
            end=self._recorder.size if end is None else end,
        )
        self.stages.append(result)
        self._listener.event(events.StageEnded(result))

    def skip(self) -> None:
        """Let what went by be nobody's budget and nobody's failure: a person was at the console."""
        while self._next_line(0.0) is not None:
            pass
        self._now = self._current(self._now.stage, self._now.offset)

    def clock(self) -> float:
        """Guest time for somebody who waits for a shell: the moment to listen for failures meanwhile."""
        self._listen(0.0)
        self._look(silence=False)
        return self._machine.usage().guest

    def await_end(self) -> NoReturn:
        """Watch the console until the machine's end decides the run."""
        while True:
            self._listen(_POLL)
            self._look(silence=True)

    def give_up(self, outcome: Outcome, what: str) -> NoReturn:
        """A budget is used up: find out what the guest is doing, and decide."""
        raise Decided(
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

    def _current(self, stage: Stage, offset: int) -> _Current:
        usage = self._machine.usage()
        return _Current(
            stage, offset, wall=time.monotonic(), cpu=usage.cpu, began=usage.guest, heard=usage.guest
        )

    def _await(self, goal: Marker) -> Sighting:
        """Watch the console until the goal is seen."""
        markers = (goal, *self._markers)
        while True:
            line = self._next_line(_POLL)
            found = None
            if line is not None:
                for sighting in self._watcher.match(line, markers):
                    if sighting.marker is goal:
                        found = sighting
                    else:
                        self._take(sighting)
            if found is None and goal.prompt and not self._lines:
                found = self._watcher.match_tail([goal])
            # A failure that was seen decides: the goal may be what a broken guest falls back to.
            if found is not None and self._now.last_words_until is None:
                return found
            self._look(silence=True)

    def _listen(self, timeout: float) -> None:
        """Take everything that the console has, for failures and notes only."""
        line = self._next_line(timeout)
        while line is not None:
            for sighting in self._watcher.match(line, self._markers):
                self._take(sighting)
            line = self._next_line(0.0)

    def _next_line(self, timeout: float) -> Line | None:
        """The next complete line; None when there is none yet."""
        if not self._lines:
            data = self._recorder.read(self.offset, timeout=timeout)
            if data:
                self.offset += len(data)
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
            self.facts |= sighting.groups
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
        if self._recorder.ended and end is None:
            self._deaf_since = self._deaf_since or self._looked
            if self._looked - self._deaf_since > _GOODBYE:
                raise InfraError(
                    "the serial console was closed, and the machine goes on without it", hint="run it again"
                )
        now, guest = self._now, self._machine.usage().guest
        if self._heard:
            now.heard, self._heard = guest, False
        if now.last_words_until is not None and guest > now.last_words_until:
            raise Decided(judge.failed(self._plan, now.stage, now.failures))
        if silence and guest - now.heard > now.stage.silence * self._scale:
            self.give_up(Outcome.HANG, f"nothing was heard for {guest - now.heard:.0f} s")
        if guest - now.began > now.stage.budget * self._scale:
            self.give_up(Outcome.TIMEOUT, f"it did not end within {guest - now.began:.0f} s")

    def _heard_out(self) -> bool:
        """Whether every line was taken by who waits for it: the machine may end before we read that far."""
        return self._recorder.ended and self.offset == self._recorder.size and not self._lines

    def _judge_end(self, end: End) -> NoReturn:
        """The machine has ended and was heard out: take what it left unfinished, and decide."""
        for line in self._watcher.finish():
            for sighting in self._watcher.match(line, self._markers):
                self._take(sighting)
        now, last = self._now, self._plan.stages[-1]
        expected = now.stage is last and end.cause == self._plan.end
        if any(not failure.clue for failure, _ in now.failures) or (now.failures and not expected):
            raise Decided(judge.failed(self._plan, now.stage, now.failures))
        if expected:
            raise Decided(Verdict(Outcome.PASS, last.name, "every stage and check of the plan passed"))
        raise Decided(judge.ended(now.stage, end, self._recent))
