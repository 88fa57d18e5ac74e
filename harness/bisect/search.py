"""Searches the first bad candidate with few trials."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Grade(StrEnum):
    """What a trial says about a candidate."""

    GOOD = "good"
    BAD = "bad"
    SKIPPED = "skipped"  # it cannot be tried, or what it showed is neither


class Suspects(Protocol):
    """How candidates follow on each other."""

    def between(self, good: Sequence[str], bad: str) -> Sequence[str]:
        """Those besides `bad` that may be the first bad one, the one that tells most first."""


def search(
    suspects: Suspects, grade: Callable[[str, int], Grade], good: str, bad: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find the first bad candidate, where all that follow on a bad one are bad; and all that are good.

    The first bad one is the last of several where those before it could not be tried.

    `grade` takes a candidate and how many are under suspicion; it is called about log2(candidates) times.
    """
    found_good = [good]
    skipped: set[str] = set()
    while True:
        under = suspects.between(found_good, bad)
        untried = [one for one in under if one not in skipped]
        if not untried:
            return (*under, bad), tuple(found_good)
        misses = len(under) - len(untried)
        # What cannot be tried often stands beside more of its kind: the more of them, the further away.
        one = untried[len(untried) * misses // (misses + 2)]
        match grade(one, len(under)):
            case Grade.GOOD:
                found_good.append(one)
            case Grade.BAD:
                bad = one
            case Grade.SKIPPED:
                skipped.add(one)


class Line(msgspec.Struct, frozen=True):
    """Candidates in one line, the oldest first."""

    names: tuple[str, ...]

    def between(self, good: Sequence[str], bad: str) -> Sequence[str]:
        """Those between the newest good one and the bad one, from the middle outwards."""
        first = max(map(self.names.index, good)) + 1
        last = self.names.index(bad)
        middle = (first + last - 1) / 2
        return sorted(self.names[first:last], key=lambda name: abs(self.names.index(name) - middle))
