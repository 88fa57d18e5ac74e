"""Watches console, machine and clocks of a run, and decides failures."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NoReturn

import msgspec

from harness.console.lines import LineCleaner
from harness.core.errors import InfraError
from harness.core.outcome import Outcome
from harness.stages import diagnosis, events, judge
from harness.stages.console_reader import BREATH, ConsoleReader
from harness.stages.judge import FailureMatch
from harness.stages.stage_state import GuestClock, StageState, Starts
from harness.stages.verdict import Boundary, Decided, StageResult, StageStatus, Verdict

if TYPE_CHECKING:
    from harness.console.recorder import Console
    from harness.console.watcher import Marker, MarkerMatch
    from harness.machine.protocol import End, Observed
    from harness.stages.events import Listener
    from harness.stages.plan import Plan, Stage

_PIECE = 65536  # bytes of an earlier run's console that are read at once
_POLL = 0.2  # seconds between looks at the machine and the clocks
_PAUSE = 0.02  # seconds after which what was said without an end may be the prompt that is waited for
_LAST_WORDS = 3.0  # seconds of guest time that a failed guest may go on talking, for the particulars
_MONITOR_GRACE = 0.5  # seconds between the end of a machine's monitor and that of its console
_EXIT_GRACE = 5.0  # seconds that a machine may outlive its console


class Observer:
    """Watches one run of a machine, which is not yet started; every method may raise `Decided`.

    Budgets are multiplied with `scale`; machine and clocks are looked at every `poll` host seconds.
    """

    def __init__(
        self,
        plan: Plan,
        machine: Observed,
        recorder: Console,
        *,
        scale: float,
        listener: Listener,
        poll: float | None = None,
    ) -> None:
        self._plan = plan
        self._machine = machine
        self._recorder = recorder
        self._scale = scale
        self._poll = _POLL if poll is None else poll
        self._listener = listener
        self.facts: dict[str, str] = {}
        self.stages: list[StageResult] = []  # those that have ended
        self._hearing = ConsoleReader(recorder, listener)
        self._looked = 0.0  # when machine and clocks were last looked at, in host seconds
        self._deaf_since: float | None = None  # when the console was first seen closed, in host seconds
        self._clock = GuestClock(machine)
        self._now = self._current(plan.stages[0], 0)
        self._markers: tuple[Marker, ...] = ()
        self._starts = Starts()
        self._context: dict[str, MarkerMatch] = {}  # what the last line of each kind of context said, by key

    @property
    def stage(self) -> Stage:
        """The stage that the run is in."""
        return self._now.stage

    @property
    def offset(self) -> int:
        """Of the next raw byte to hear."""
        return self._hearing.offset

    @property
    def boundary(self) -> Boundary:
        """Where the run is, for another one to go on from; to be asked when a stage has just begun."""
        return Boundary(self._now.stage.name, self._now.offset, dict(self.facts), tuple(self.stages))

    def resume(self, boundary: Boundary) -> None:
        """Go on where another run was, whose console is recorded already; before a stage is entered."""
        cleaner, offset = LineCleaner(), 0
        while data := self._recorder.read(offset, min(_PIECE, boundary.offset - offset)):
            offset += len(data)
            if block := cleaner.feed(data):
                self._listener.heard(block)
        for stage in boundary.stages:
            resumed = StageResult(stage.name, StageStatus.RESUMED, start=stage.start, end=stage.end)
            self.stages.append(resumed)
            self._listener.event(events.StageBegan(stage.name, stage.start))
            self._listener.event(events.StageEnded(resumed))
        self.facts = boundary.facts | self.facts  # each run has a nonce of its own
        self._hearing.resume(boundary.offset)
        self._now = self._current(self._plan.stage(boundary.stages[-1].name), boundary.offset)

    def restart_clocks(self) -> None:
        """Start the clocks of the stage anew: the machine stood still."""
        self._now = self._current(self._now.stage, self._now.offset)

    def enter(self, stage: Stage) -> None:
        """Wait until a stage begins; the one before it ends there."""
        offset = self._hearing.watcher.start
        if marker := self._plan.begin_marker(stage):
            sighting = self._await(marker)
            self.facts |= sighting.groups
            offset = sighting.line.start
            self._starts.is_repeated(sighting.line)
        if stage is not self._plan.stages[0]:
            self.leave(StageStatus.PASSED, offset)
        self._now = self._current(stage, offset)
        self._markers = self._plan.markers(stage)
        self._hearing.watcher.wraps = stage.wraps
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
        """Discard the output of a manual session, and start the clocks of the stage anew."""
        while self._hearing.hear(0.0):
            self._hearing.watcher.look(())
        self._now = self._current(self._now.stage, self._now.offset)

    def advance(self) -> float:
        """Take what the console says meanwhile, for failures and notes; return the guest's time."""
        self._listen(0.0)
        self._look(silence=False)
        return self._clock.read()

    def await_end(self) -> NoReturn:
        """Watch the console until the machine's end, or the line that stands for it, decides the run."""
        if goal := self._plan.end_marker:
            if not self._plan.goes_on:
                self._await(goal)
            self._pass()
        while True:
            self._listen(self._poll)
            self._look(silence=True)

    def give_up(self, outcome: Outcome, what: str) -> NoReturn:
        """A budget is used up: find out what the guest is doing, and decide."""
        raise Decided(self._diagnosed(outcome, what))

    def _diagnosed(self, outcome: Outcome, what: str) -> Verdict:
        return judge.silent(
            self._plan,
            self._now.stage,
            outcome,
            what,
            machine=self._machine,
            wait=self._wait,
            seen=self._now.explanations(self._hearing.offset),
            recent=self._hearing.recent,
        )

    def _current(self, stage: Stage, offset: int) -> StageState:
        guest = self._clock.read()
        return StageState(
            stage,
            offset,
            wall=time.monotonic(),
            cpu=self._machine.usage().cpu,
            began=guest,
            heard=guest,
            stirred=guest + stage.unheard * self._scale,
            until=guest + stage.budget * self._scale,
            limit=guest + max(stage.budget, stage.limit) * self._scale,
        )

    def _await(self, goal: Marker) -> MarkerMatch:
        """Watch the console until the goal is seen."""
        markers = (goal, *self._markers)
        while True:
            self._hearing.hear(_PAUSE if goal.prompt and self._hearing.unfinished else self._poll)
            found = None
            for sighting in self._hearing.watcher.look(markers):
                if sighting.marker is not goal:
                    self._take(sighting)
                elif sighting.certain:
                    found = sighting
            if found is None and self._hearing.has_paused(_PAUSE):
                found = self._hearing.watcher.match_tail([goal])
            if found is None:
                self._take_prompt()
            # A failure that was seen decides: the goal may be what a broken guest falls back to.
            if found is not None and self._now.last_words_until is None:
                return found
            self._look(silence=True)

    def _listen(self, timeout: float) -> None:
        """Take everything that the console has, for failures and notes only."""
        while self._hearing.hear(timeout):
            for sighting in self._hearing.watcher.look(self._markers):
                self._take(sighting)
            timeout = 0.0
        self._take_prompt()

    def _take_prompt(self) -> None:
        """Where the console has paused, what stands there without an end may be the prompt of a failure."""
        paused = self._hearing.has_paused(self._poll)
        if paused and (sighting := self._hearing.watcher.match_tail(self._markers)):
            self._take(sighting)

    def _take(self, sighting: MarkerMatch) -> None:
        """Take what a line shows: the first failure or note that counts, and all that is kept in mind.

        What may be a part of a line only is no note, and as a failure only a clue.
        """
        counted = False
        for marker in self._markers[self._markers.index(sighting.marker) :]:
            match = marker.pattern.search(sighting.line.text)
            if match is None:
                continue
            groups = {name: text for name, text in match.groupdict().items() if text is not None}
            found = msgspec.structs.replace(sighting, marker=marker, groups=groups)
            if marker.key == "milestone":
                self._now.extend(self._clock.read() + self._now.stage.budget * self._scale)
            elif marker.key.startswith("context:"):
                self._context[marker.key] = found
            elif not counted:
                counted = self._count(found)

    def _count(self, sighting: MarkerMatch) -> bool:
        """Take a note, or a failure; whether it was one, for a failure may want lines before it."""
        now, key = self._now, sighting.marker.key
        failure = self._plan.failure_of(sighting.marker)
        before = [self._context.get(f"context:{pattern}") for pattern in failure.context] if failure else []
        if None in before or not (failure or sighting.certain):
            return False
        if failure and self._starts.is_one(sighting.line):
            if now.last_words_until is not None:  # the failure before it said why the machine starts over
                self._decide_failure()
            if self._starts.is_repeated(sighting.line):
                return True
        self._listener.event(events.Seen(key, sighting.line.text, sighting.line.start))
        times = now.sightings[key] + 1
        now.sightings[key] += sighting.certain
        if failure is None or times < failure.times:
            self.facts |= sighting.groups
            return True
        trouble = FailureMatch(failure, sighting, tuple(line for line in before if line))
        now.keep(trouble)
        if not trouble.clue and now.last_words_until is None:
            now.last_words_until = self._clock.read() + _LAST_WORDS
        return True

    def _look(self, *, silence: bool) -> None:
        """Look at the machine and at the clocks, now and then."""
        pause = min(self._poll, BREATH) if self._recorder.ended else self._poll
        if time.monotonic() - self._looked < pause:
            return
        self._looked = time.monotonic()
        if self._recorder.failure is not None:
            message = f"cannot record the console in {self._recorder.raw}: {self._recorder.failure.strerror}"
            raise InfraError(message, hint="free some space, or choose another directory with --runs")
        if (end := self._machine.poll()) and self._hearing.is_over:
            self._judge_end(end)
        if self._hearing.is_over and end is None:
            self._deaf_since = self._deaf_since or self._looked
            if self._looked - self._deaf_since > _EXIT_GRACE:
                message = "the serial console was closed, and the machine goes on without it"
                raise InfraError(message, hint="run it again")
        self._look_at_clocks(silence=silence)

    def _look_at_clocks(self, *, silence: bool) -> None:
        now, guest = self._now, self._clock.read()
        if self._hearing.news:
            now.heard, now.stirred = guest, max(now.stirred, guest)
            self._hearing.news, now.lively = False, True
        if now.last_words_until is not None and guest > now.last_words_until:
            self._decide_failure()
        if silence and guest - now.stirred > now.stage.silence * self._scale:
            if not self._gets_on():
                verdict = self._diagnosed(Outcome.HANG, f"nothing was heard for {guest - now.heard:.0f} s")
                if self._goes_on() and self._recorder.size == self._hearing.offset:
                    raise Decided(verdict)
                return  # it spoke or ended while we looked at it, and shall be heard
            now.stirred = guest
        if guest > now.until:
            lively = "output" in now.stage.progress and now.lively
            if guest > now.limit or not (lively or self._gets_on()):
                verdict = self._diagnosed(Outcome.TIMEOUT, f"it did not end within {guest - now.began:.0f} s")
                if self._goes_on():
                    raise Decided(verdict)
                return
            now.extend(guest + now.stage.silence * self._scale)
            now.lively = False

    def _goes_on(self) -> bool:
        """Whether the machine has not ended; its monitor may be gone some moments before its console."""
        self._recorder.read(sys.maxsize, timeout=_MONITOR_GRACE)
        return not self._recorder.ended and self._machine.poll() is None

    def _gets_on(self) -> bool:
        """Whether the machine shows progress of a kind that the stage declares."""
        return diagnosis.gets_on(self._machine, self._now.stage.progress, self._wait)

    def _wait(self, seconds: float) -> None:
        """Wait for so long, or until the console says something."""
        self._recorder.read(self._recorder.size, timeout=seconds)

    def _judge_end(self, end: End) -> NoReturn:
        """The machine has ended and was heard out: take what it left unfinished, and decide."""
        goal, said = self._plan.end_marker, False
        for line in self._hearing.watcher.finish():
            for sighting in self._hearing.watcher.match(line, (*([goal] if goal else []), *self._markers)):
                if sighting.marker is not goal:
                    self._take(sighting)
                elif sighting.certain:
                    said = True
        now, last = self._now, self._plan.stages[-1]
        expected = now.stage is last and (said or end.cause == self._plan.end)
        seen = self._now.explanations(self._hearing.offset)
        if not expected or any(not trouble.clue for trouble in seen):
            self._decide_failure()
        if expected:
            self._pass()
        raise Decided(judge.ended(now.stage, end, self._hearing.recent))

    def _decide_failure(self) -> None:
        """Decide by what was seen of failures, if that explains anything."""
        seen = self._now.explanations(self._hearing.offset)
        if verdict := judge.failed(self._plan, self._now.stage, seen, self._hearing.recent):
            raise Decided(verdict)

    def _pass(self) -> NoReturn:
        raise Decided(judge.passed(self._plan))
