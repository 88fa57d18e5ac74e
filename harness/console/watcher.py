"""Looks for markers on console lines, also where the kernel talks in the middle of a user-space line."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.console.lines import STAMP, Block, Line, LineCleaner
from harness.console.sieve import Sieve

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator

_KERNEL_LINES = 20  # the kernel rarely says more in the middle of a line; what it interrupts is kept so long
_MOST_WRAPPED = 200  # lines; what a console wrapped is joined up to so many
_LONGEST_PROMPT = 1024  # raw bytes; a longer unterminated line is no prompt, and costs nothing


@dataclass(frozen=True, slots=True)
class Marker:
    r"""What a line of the console means to a plan.

    Attributes:
        key: Name of the marker in the plan.
        pattern: Searched on a cleaned line; on kernel messages also without their timestamp.
        prompt: Whether the unterminated rest of the console is tried as well. An ordinary marker waits
            for the newline: `(\w+)` would match half a word.
    """

    key: str
    pattern: re.Pattern[str]
    prompt: bool = False


@dataclass(frozen=True, slots=True)
class Sighting:
    """A marker that was seen.

    Attributes:
        marker: The marker.
        line: Where; the text is what the pattern matched on, healed where a kernel message interrupted it.
        groups: The named groups that took part in the match.
    """

    marker: Marker
    line: Line
    groups: dict[str, str]


class Watcher:
    """Cleans console bytes and matches markers.

    The caller feeds bytes, asks `look` with the markers that are valid at that moment until everything was
    looked at (see `pending`), and then `match_tail` once.

    Args:
        offset: Raw offset of the first byte that will be fed.

    Attributes:
        pending: Whether there are complete lines that nobody has looked at.
        wraps: Columns after which the console goes on in a new line, as a BIOS's does; 0: it does not.
            A line of exactly so many characters and those that follow are tried as one, and then each alone.
    """

    def __init__(self, offset: int = 0) -> None:
        self.wraps = 0
        self._cleaner = LineCleaner(offset)
        self._block = Block(b"", offset)
        self._next = 0  # the first line of the block that was not looked at
        self.pending = False
        self._markers: tuple[Marker, ...] = ()  # of the sieve
        self._sieve: Sieve | None = None
        self._candidates: list[int] | None = None  # what the sieve let through of the block
        self._wrapped: list[Line] = []  # full lines that may go on in the next one
        self._head: Line | None = None  # what a kernel message interrupted
        self._kernel_lines = 0  # since then
        self._prompted: tuple[str, int] | None = None  # key and line start: one prompt is one sighting

    @property
    def start(self) -> int:
        """Raw offset of the unterminated rest: everything before it are complete lines."""
        return self._cleaner.tail_start

    def feed(self, data: bytes) -> Block:
        """Take the next raw bytes, once nothing is pending, and return the lines that they completed."""
        self._block, self._next, self._candidates = self._cleaner.feed(data), 0, None
        self.pending = bool(self._block)
        return self._block

    def look(self, markers: tuple[Marker, ...]) -> list[Sighting]:
        """Return what the next line shows that shows anything; nothing when all lines were looked at.

        The same as `match` on each line, but lines that no marker can match are passed over together.
        """
        while (number := self._next_candidate(markers)) is not None:
            self._next = number + 1
            if sightings := self.match(self._block.line(number), markers):
                return sightings
        self.pending = False
        return []

    def _next_candidate(self, markers: tuple[Marker, ...]) -> int | None:
        if self.wraps or self._wrapped or self._head:  # every line may be the rest of the one before
            return self._next if self._next < len(self._block) else None
        if self._sieve is None or markers != self._markers:
            self._markers, self._sieve = markers, Sieve(marker.pattern for marker in markers)
            self._candidates = None
        if self._candidates is None:
            self._candidates = self._sieve.candidates(self._block.text)
        place = bisect_left(self._candidates, self._next)
        return self._candidates[place] if place < len(self._candidates) else None

    def finish(self) -> list[Line]:
        """Return the last lines: the stream has ended."""
        lines = self._cleaner.flush()
        if waiting := [*self._wrapped[-1:], *([self._head] if self._head else [])]:
            end = (lines or waiting)[-1].end
            lines.append(Line("", end, end))  # gives what still waits for its rest a last chance
        return lines

    def match(self, line: Line, markers: Iterable[Marker]) -> list[Sighting]:
        """Return what `line` shows: at most the first matching marker for each text that it holds.

        Usually a line holds one text. One that a kernel message interrupted holds several: the kernel
        message, and, once a line without one has come, the two halves together or, if they show nothing,
        each by itself.
        """
        markers = tuple(markers)
        self._wrapped.append(line)
        if self.wraps and len(line.text) == self.wraps and len(self._wrapped) < _MOST_WRAPPED:
            return []  # its rest comes with the next line
        parts, self._wrapped = self._wrapped, []
        whole = Line("".join(part.text for part in parts), parts[0].start, line.end)
        sightings = self._match(whole, markers)
        if len(parts) > 1 and not sightings:
            return [sighting for part in parts if (sighting := self._sight(part, markers))]
        return sightings

    def _match(self, line: Line, markers: tuple[Marker, ...]) -> list[Sighting]:
        if "[" not in line.text and self._head is None:
            sighting = self._sight(line, markers)
            return [sighting] if sighting else []
        return [sighting for sighting in self._sightings(line, markers) if sighting]

    def match_tail(self, markers: Iterable[Marker]) -> Sighting | None:
        """Return the prompt that the unterminated rest of the console shows, once."""
        if not 0 < self._cleaner.tail_size <= _LONGEST_PROMPT:
            return None
        prompts = [marker for marker in markers if marker.prompt]
        if not prompts:
            return None
        tail = self._cleaner.tail
        text = tail.text
        if stamp := STAMP.search(text):
            tail = tail._replace(text=text[: stamp.start()])
        joined = self._joined(tail)
        return (self._sight(joined, prompts) if joined else None) or self._sight(tail, prompts)

    def _sightings(self, line: Line, markers: tuple[Marker, ...]) -> Iterator[Sighting | None]:
        stamps = [stamp.start() for stamp in STAMP.finditer(line.text)]
        if not stamps:
            joined, head = self._joined(line), self._head
            self._head = None
            if joined and head:
                if sighting := self._sight(joined, markers):
                    yield sighting
                    return
                yield self._sight(head, markers)
            yield self._sight(line, markers)
            return
        if stamps[0] > 0:
            yield from self._interrupted(line._replace(text=line.text[: stamps[0]]), markers)
        for start, end in pairwise([*stamps, len(line.text)]):
            yield self._sight_kernel(line._replace(text=line.text[start:end]), markers)
        self._kernel_lines += len(stamps)
        if self._kernel_lines > _KERNEL_LINES and self._head:
            yield self._sight(self._head, markers)
            self._head = None

    def _interrupted(self, head: Line, markers: tuple[Marker, ...]) -> Iterator[Sighting | None]:
        """Keep the part of a line before a kernel message; only a prompt can be complete already."""
        self._head = self._joined(head) or head
        self._kernel_lines = 0
        yield self._sight(self._head, [marker for marker in markers if marker.prompt])

    def _joined(self, line: Line) -> Line | None:
        return Line(self._head.text + line.text, self._head.start, line.end) if self._head else None

    def _sight_kernel(self, line: Line, markers: tuple[Marker, ...]) -> Sighting | None:
        stamp = STAMP.match(line.text)
        message = line._replace(text=line.text[stamp.end() :]) if stamp else line
        return self._sight(message, markers) or self._sight(line, markers)

    def _sight(self, line: Line, markers: Iterable[Marker]) -> Sighting | None:
        # One alternation of all patterns would be ten times slower: it keeps re from looking for literals.
        for marker in markers:
            if match := marker.pattern.search(line.text):
                if marker.prompt:
                    if self._prompted == (marker.key, line.start):
                        continue
                    self._prompted = (marker.key, line.start)
                groups = {name: text for name, text in match.groupdict().items() if text is not None}
                return Sighting(marker, line, groups)
        return None
