"""The stage that a run is in: its clocks, and the trouble that was seen in it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from harness.stages.judge import FailureMatch
    from harness.stages.plan import Stage

_REACH = 65536  # bytes; a clue so far before a failure does not explain it
_MOST = 200  # failures and clues that are kept: what fails may say so for ever


class Current(msgspec.Struct):
    """The stage that a run is in; times in guest seconds unless said otherwise.

    Attributes:
        stage: What the plan says of it.
        offset: Where it begins, in raw bytes.
        wall: When it began, in host seconds.
        cpu: Processor seconds that the machine had taken then.
        heard: When anything was heard.
        began: When it began.
        stirred: When anything was heard, or the machine showed progress.
        until: When the budget is used up.
        limit: No progress makes that later.
        lively: Whether anything was heard since the budget was extended.
        troubles: Failures and clues, in the order in which they were seen.
        sightings: How often each failure was seen, by its marker's key.
        last_words_until: How long the guest may go on talking; None while nothing has failed.
    """

    stage: Stage
    offset: int
    wall: float
    cpu: float
    began: float
    heard: float
    stirred: float
    until: float
    limit: float
    lively: bool = False
    troubles: list[FailureMatch] = msgspec.field(default_factory=list)
    sightings: Counter[str] = msgspec.field(default_factory=Counter)
    last_words_until: float | None = None

    def extend(self, until: float) -> None:
        """Make the budget last longer, as far as the stage allows."""
        self.until = max(self.until, min(self.limit, until))

    def keep(self, trouble: FailureMatch) -> None:
        """Keep what was seen; of very many, the last clues and the first failures."""
        if len(self.troubles) >= _MOST:
            clues = [it for it in self.troubles if it.clue]
            cries = [it for it in self.troubles if not it.clue]
            self.troubles = [*clues[-_MOST // 4 :], *cries[: _MOST // 4]]
        self.troubles.append(trouble)

    def explanations(self, offset: int) -> list[FailureMatch]:
        """Failures, and the clues that are near enough to the first of them, or to this offset."""
        cries = (it.sighting.line.start for it in self.troubles if not it.clue)
        nearest = next(cries, offset) - _REACH
        return [it for it in self.troubles if not it.clue or it.sighting.line.start >= nearest]
