"""Finds markers on console lines, also around interrupting kernel messages."""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from harness.console.lines import LEVEL, MAX_LINE, STAMP, Block, Line, LineCleaner
from harness.console.prefilter import Candidate, Sieve
from harness.core.last_words import KEXEC, PANIC, POWER_OFF, RESTART

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST_WRAPPED = 200  # lines; what a console wrapped is joined up to so many
_LONGEST_PROMPT = 1024  # raw bytes; a longer unterminated line is no prompt, and costs nothing
_STAMP = re.compile(STAMP.pattern.encode())
# Behind these no program goes on with what it was saying: at time 0 a kernel has only begun, and the others
# are a kernel's last words.
_CUTS_OFF = re.compile(
    rf"(?:{LEVEL.pattern})?\[ *0\.000000\]|{STAMP.pattern}(?:{POWER_OFF}|{RESTART}|{PANIC}|{KEXEC})"
)


class Marker(msgspec.Struct, frozen=True):
    r"""What a line of the console means to a plan."""

    key: str  # name of the marker in the plan
    # searched on a cleaned line; on kernel messages without their level, and also without their timestamp
    pattern: re.Pattern[str]
    # whether the unterminated rest of the console is tried as well. An ordinary marker waits for the newline:
    # `(\w+)` would match half a word.
    prompt: bool = False


class MarkerMatch(msgspec.Struct, frozen=True):
    """A marker that was seen."""

    marker: Marker  # the marker
    line: Line  # where; the text is what the pattern matched on, healed where a kernel message interrupted it
    groups: dict[str, str]  # the named groups that took part in the match
    # false where the line may as well be a part of a longer one that a kernel message cut
    certain: bool = True


class Watcher:
    """Cleans console bytes, from a raw offset on, and matches markers.

    The caller feeds bytes, asks `look` with the markers that are valid at that moment until everything was
    looked at (see `pending`), and when the console has paused, `match_tail`.

    A kernel message in the middle of a line is looked through: what a program said before it is kept until
    the rest has come, and what the whole says counts. Where only a part says something, that is not clear: it
    is a piece of a line, or the line before the message never got an end. Such sightings are not `certain`.
    A line may also quote a kernel message; its timestamp is then not later than that of the last message.
    """

    def __init__(self, offset: int = 0) -> None:
        # columns after which the console goes on in a new line, as a BIOS's does; 0: it does not. A line of
        # exactly so many characters and those that follow are tried as one, and then each alone.
        self.wraps = 0
        self._cleaner = LineCleaner(offset)
        self._block = Block(b"", offset)
        self._next = 0  # the first line of the block that was not looked at
        self.pending = False  # whether there are complete lines that were not looked at yet
        self._markers: tuple[Marker, ...] = ()  # of the sieve
        self._sieve: Sieve | None = None
        self._candidates: list[Candidate] | None = None  # what the sieve let through of the block
        self._passed = 0  # up to where the block's text was searched for timestamps
        self._wrapped: list[Line] = []  # full lines that may go on in the next one
        self._head: Line | None = None  # what a kernel message interrupted
        self._stamp = -1.0  # the last kernel timestamp of a message, in seconds
        self._prompted: tuple[str, int] | None = None  # key and line start: one prompt is one sighting

    @property
    def start(self) -> int:
        """Raw offset of the unterminated rest: everything before it are complete lines."""
        return self._cleaner.tail_start

    def feed(self, data: bytes) -> Block:
        """Take the next raw bytes, once nothing is pending, and return the lines that they completed."""
        self._pass_over(None)
        self._block, self._next, self._candidates, self._passed = self._cleaner.feed(data), 0, None, 0
        self.pending = bool(self._block)
        return self._block

    def look(self, markers: tuple[Marker, ...]) -> list[MarkerMatch]:
        """Return what the next line shows that shows anything; nothing when all lines were looked at.

        The same as `match` on each line, but lines that no marker can match are passed over together.
        """
        while (candidate := self._next_candidate(markers)) is not None:
            self._pass_over(candidate)
            self._next = candidate.number + 1
            if not self._may_show(candidate, markers):
                continue
            if sightings := self.match(self._block.line(candidate.number), markers):
                return sightings
        self.pending = False
        return []

    def _next_candidate(self, markers: tuple[Marker, ...]) -> Candidate | None:
        if self.wraps or self._wrapped or self._head:  # every line may be the rest of the one before
            return Candidate(self._next, self._passed) if self._next < len(self._block) else None
        if self._sieve is None or markers != self._markers:
            self._markers, self._sieve = markers, Sieve(marker.pattern for marker in markers)
            self._candidates = None
        if self._candidates is None:
            self._candidates = self._sieve.candidates(self._block.text)
        place = bisect_left(self._candidates, (self._next,))
        return self._candidates[place] if place < len(self._candidates) else None

    def _may_show(self, candidate: Candidate, markers: tuple[Marker, ...]) -> bool:
        """Whether a line has to be looked at closely; most candidates only have an odd character."""
        if self.wraps or self._wrapped or self._head:
            return True
        text = self._block.text_at(candidate.start)
        return _may_be_kernel(text) or any(marker.pattern.search(text) for marker in markers)

    def _pass_over(self, candidate: Candidate | None) -> None:
        """Note the last timestamp in front of lines that show nothing, up to a candidate if there is one."""
        text = self._block.text
        end = len(text) if candidate is None else candidate.start
        while end > self._passed:
            start = max(text.rfind(mark, self._passed, end) for mark in (b"\n[", b"\n<")) + 1 or self._passed
            if stamp := _STAMP.match(text, start, end):
                self._stamp = float(stamp[1])
                break
            end = start - 1
        self._passed = len(text) if candidate is None else text.index(b"\n", candidate.start) + 1

    def finish(self) -> list[Line]:
        """Return the last lines: the stream has ended."""
        lines = self._cleaner.flush()
        if waiting := [*self._wrapped[-1:], *([self._head] if self._head else [])]:
            end = (lines or waiting)[-1].end
            lines.append(Line("", end, end))  # gives what still waits for its rest a last chance
        return lines

    def match(self, line: Line, markers: Iterable[Marker]) -> list[MarkerMatch]:
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

    def _match(self, line: Line, markers: tuple[Marker, ...]) -> list[MarkerMatch]:
        if self._head is None and not _may_be_kernel(line.text):
            sighting = self._sight(line, markers)
            return [sighting] if sighting else []
        return [sighting for sighting in self._sightings(line, markers) if sighting]

    @property
    def standing(self) -> Line | None:
        """What a program has begun to say and not ended, if it is short enough for a prompt."""
        tail = self._tail
        standing = _both(self._head, tail) if self._head and tail else tail
        return standing if standing and standing.text else None

    @property
    def _tail(self) -> Line | None:
        """The console's unterminated rest, up to the kernel message in it."""
        if self._cleaner.tail_size > _LONGEST_PROMPT:
            return None
        tail = self._cleaner.tail
        stamp = STAMP.search(tail.text)
        return tail._replace(text=tail.text[: stamp.start()]) if stamp else tail

    def match_tail(self, markers: Iterable[Marker]) -> MarkerMatch | None:
        """Return the prompt that stands at the end of the console, once.

        For a console that has paused: a program that only prints what looks like a prompt goes on at once,
        also behind a kernel message. A prompt may stand alone behind a message, too, if what came before it
        never got an end.
        """
        prompts = [marker for marker in markers if marker.prompt]
        standing, tail = (self.standing, self._tail) if prompts else (None, None)
        found = self._sight(standing, prompts) if standing else None
        return found or (self._sight(tail, prompts) if tail and tail.text else None)

    def _sightings(self, line: Line, markers: tuple[Marker, ...]) -> Iterator[MarkerMatch | None]:
        messages = self._messages(line.text)
        if not messages:
            head, self._head = self._head, None
            if head is None:
                yield self._sight(line, markers)
            elif sighting := self._sight(_both(head, line), markers):
                yield sighting
            else:
                yield self._sight_part(head, markers)
                yield self._sight_part(line, markers)
            return
        if messages[0] > 0:
            before = line._replace(text=line.text[: messages[0]])
            self._head = _both(self._head, before) if self._head else before
        for start, end in pairwise([*messages, len(line.text)]):
            message = line._replace(text=line.text[start:end])
            if self._head and (_CUTS_OFF.match(message.text) or len(self._head.text) > MAX_LINE):
                yield self._sight(self._head, markers)
                self._head = None
            yield self._sight_kernel(message, markers)

    def _messages(self, text: str) -> list[int]:
        """Where kernel messages begin in a line."""
        places = []
        for stamp in STAMP.finditer(text):
            seconds = float(stamp[1])
            if stamp.start() == 0 or seconds == 0 or seconds > self._stamp:
                places.append(stamp.start())
                self._stamp = seconds
        if places[:1] != [0] and LEVEL.match(text):
            places.insert(0, 0)
        return places

    def _sight_part(self, line: Line, markers: tuple[Marker, ...]) -> MarkerMatch | None:
        """Look at a part of a line as if it were one; no prompt, because after those the console pauses."""
        sighting = self._sight(line, [marker for marker in markers if not marker.prompt])
        return msgspec.structs.replace(sighting, certain=False) if sighting else None

    def _sight_kernel(self, line: Line, markers: tuple[Marker, ...]) -> MarkerMatch | None:
        if level := LEVEL.match(line.text):
            line = line._replace(text=line.text[level.end() :])
        stamp = STAMP.match(line.text)
        message = line._replace(text=line.text[stamp.end() :]) if stamp else line
        return self._sight(message, markers) or self._sight(line, markers)

    def _sight(self, line: Line, markers: Iterable[Marker]) -> MarkerMatch | None:
        # One alternation of all patterns would be ten times slower: it keeps re from looking for literals.
        for marker in markers:
            if match := marker.pattern.search(line.text):
                if marker.prompt:
                    if self._prompted == (marker.key, line.start):
                        continue
                    self._prompted = (marker.key, line.start)
                groups = {name: text for name, text in match.groupdict().items() if text is not None}
                return MarkerMatch(marker, line, groups)
        return None


def _may_be_kernel(text: str) -> bool:
    """Whether a line may hold a kernel message: a quick look."""
    return "[" in text or text.startswith("<")


def _both(head: Line, rest: Line) -> Line:
    return Line(head.text + rest.text, head.start, rest.end)
