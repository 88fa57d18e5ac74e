"""State of the present stage: its clocks and failures."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from harness.console.lines import STAMP, Line
from harness.stages.console_reader import REACH

if TYPE_CHECKING:
    from harness.machine.protocol import Observed
    from harness.stages.judge import FailureMatch
    from harness.stages.plan import Stage

_BANNER = re.compile(r"(?:\[ *0\.000000\](?:\[ *[CT]\d+\])? )?Linux version \d|SeaBIOS \(version ")
_MOST = 200  # failures and clues that are kept: what fails may say so for ever


class Starts:
    """The lines with which kernels and firmware begin."""

    def __init__(self) -> None:
        self._last: Line | None = None

    def is_one(self, line: Line) -> bool:
        """Whether a kernel or firmware begins with this line."""
        return _BANNER.match(line.text) is not None

    def is_repeated(self, line: Line) -> bool:
        """Take a line; whether it is the one before, printed by a second console on the same port."""
        last, self._last = self._last, line
        if last is None or last.end != line.start:
            return False
        text, other = (STAMP.sub("", it.text) for it in (last, line))
        return text.startswith(other) or other.startswith(text)  # one console may cut it


class StageState(msgspec.Struct):
    """The stage that a run is in; times in guest seconds unless said otherwise."""

    stage: Stage  # what the plan says of it
    offset: int  # where it begins, in raw bytes
    wall: float  # when it began, in host seconds
    cpu: float  # processor seconds that the machine had taken then
    began: float  # when it began
    heard: float  # when anything was heard
    stirred: float  # when anything was heard, or the machine showed progress
    until: float  # when the budget is used up
    limit: float  # no progress makes that later
    lively: bool = False  # whether anything was heard since the budget was extended
    # failures and clues, in the order in which they were seen
    troubles: list[FailureMatch] = msgspec.field(default_factory=list)
    # how often each failure was seen, by its marker's key
    sightings: Counter[str] = msgspec.field(default_factory=Counter)
    # how long the guest may go on talking; None while nothing has failed
    last_words_until: float | None = None

    def extend(self, until: float) -> None:
        """Make the budget last longer, as far as the stage allows."""
        self.until = max(self.until, min(self.limit, until))

    def keep(self, trouble: FailureMatch) -> None:
        """Keep what was seen; of very many, the last clues and the first of the others."""
        if len(self.troubles) >= _MOST:
            passing = [it for it in self.troubles if it.clue and not it.failure.lasting]
            staying = [it for it in self.troubles if not it.clue or it.failure.lasting]
            self.troubles = [*staying[: _MOST // 4], *passing[-_MOST // 4 :]]
        self.troubles.append(trouble)

    def explanations(self, offset: int) -> list[FailureMatch]:
        """Failures, and the clues that last or are near enough to the first failure, or to this offset."""
        near = min((it.sighting.line.start for it in self.troubles if not it.clue), default=offset) - REACH
        return [
            it for it in self.troubles if not it.clue or it.failure.lasting or it.sighting.line.start >= near
        ]


_AWAY = 2.0  # host seconds between two readings; a run reads it several times a second
_COUNTED = 0.2  # seconds of it that count all the same: on a host that is slow for ever, budgets end at last


class GuestClock:
    """Guest time without what goes by while we are stopped, as by Ctrl-Z.

    The harness then reads nothing, and a guest whose pipe or port is full stands still.
    """

    def __init__(self, machine: Observed) -> None:
        self._machine = machine
        self._missed = 0.0
        self._last = time.monotonic(), machine.usage().guest

    def read(self) -> float:
        """Seconds since the machine started."""
        looked, before = self._last
        self._last = now, guest = time.monotonic(), self._machine.usage().guest
        if now - looked > _AWAY:
            self._missed += max(0.0, guest - before - _COUNTED)
        return guest - self._missed
