"""Clean lines out of console bytes, independent of how reads were cut."""

from __future__ import annotations

import re
from bisect import bisect_left
from codecs import getincrementaldecoder
from functools import cache, cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_LINE = 65536  # raw bytes; longer lines are cut into pieces, so that memory stays bounded

# A serial tty ends lines with \r\n, a second tty on top makes it \r\r\n; a lone \r starts the line over.
_LONE_RETURN = re.compile(rb"\r(?!\r?\n)")
_FEW = 16  # so many of them in a block are found faster by RE2 than by `re`
_LOOKAHEAD = 2  # so many \r may still turn out to belong to a \n
# Control sequences of ECMA-48: CSI, the strings (OSC, DCS, SOS, PM, APC) up to BEL or ST, the short ones.
# Their ends are optional: a sequence that is not closed, or is still arriving, ends with its line.
# This is what follows ESC, which ends any sequence before it.
_ESCAPED = re.compile(rb"\[[0-?]*[ -/]*[@-~]?|[]PX^_][^\x07\r\n]*\x07?|[ -/]*[0-~]?")
# What printk puts before a message (kernel/printk/printk.c): its level, with console_msg_format=syslog; its
# time in seconds; the caller that CONFIG_PRINTK_CALLER adds.
_LEVEL = r"<[0-9]{1,3}>"
STAMP = re.compile(rf"(?:{_LEVEL})?\[ *([0-9]+\.[0-9]{{6}})\](?:\[ *[CT][0-9]+\])? ")
LEVEL = re.compile(_LEVEL)  # alone before a message where printk.time=0
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n"))


class Line(NamedTuple):
    """A cleaned line; a named tuple because a build makes millions of them."""

    text: str  # the text without its terminator
    start: int  # raw offset of its first byte
    end: int  # raw offset after its terminator


class Block:
    """Complete lines that arrived together: cleaned as a whole, and taken apart only where it is asked for.

    Watching a build means to look for rare words in millions of lines; making each of them a `Line` first
    would cost more than all the rest.

    Args:
        raw: The lines with their terminators.
        start: Raw offset of their first byte.
        pieces: Of a line without an end, behind those of `raw`.
    """

    def __init__(self, raw: bytes, start: int, pieces: Sequence[Line] = ()) -> None:
        self.start = start
        self.end = pieces[-1].end if pieces else start + len(raw)
        self._raw = raw
        self._pieces = pieces
        # Lines that are cut make numbers and offsets of raw lines differ from those of cleaned ones.
        self._cut = bool(pieces) or _has_long_line(raw)

    def __bool__(self) -> bool:
        return self.end > self.start

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def line(self, number: int) -> Line:
        """Return one line, counted from 0; much cheaper than all of them."""
        if self._cut:
            return self.lines[number]
        start = _begin(self._ended, number, len(self))
        end = self._ended.index(b"\n", start) + 1
        return Line(_text(self._ended[start:end]), self.start + start, self.start + end)

    def text_at(self, start: int) -> str:
        """Return the text of the line that begins at `start` in `text`; much cheaper than the line."""
        return self.text[start : self.text.index(b"\n", start)].decode("utf-8", "replace")

    def parts(self, offsets: Iterable[int]) -> list[bytes]:
        """Cut `text` at raw offsets inside the block, in order: a line is where its first byte is."""
        if self._cut:
            starts = [line.start for line in self.lines]
            numbers = [bisect_left(starts, offset) for offset in offsets]
        else:
            numbers = [self._ended.count(b"\n", 0, offset - self.start - 1) + 1 for offset in offsets]
        places = [0, *(_begin(self.text, number, len(self)) for number in numbers), len(self.text)]
        return [self.text[start:end] for start, end in pairwise(places)]

    @cached_property
    def lines(self) -> list[Line]:
        """All lines one by one."""
        # How much text is in front of each raw line, newlines left out: nothing cheaper finds them all.
        sizes = accumulate(map(len, self._ended.split(b"\n")[:-1]), initial=0)
        edges = [size + number for number, size in enumerate(sizes)]
        if self._cut:
            spans = ((self._ended[start:end], self.start + start) for start, end in pairwise(edges))
            return [line for raw, start in spans for line in _clean(raw, start)] + [*self._pieces]
        offsets = [self.start + edge for edge in edges]
        return list(map(Line, self.text.decode("utf-8", "replace").split("\n"), offsets, offsets[1:]))

    @cached_property
    def text(self) -> bytes:
        r"""The cleaned text of all lines, each ended by one `\n`; what is no UTF-8 is left as it is."""
        if self._cut:
            return "".join(f"{line.text}\n" for line in self.lines).encode()
        return _without_controls(self._ended, newlines=True)

    @cached_property
    def _count(self) -> int:
        return self.text.count(b"\n")

    @cached_property
    def _ended(self) -> bytes:
        r"""The raw lines, each with a `\n` for its last byte."""
        ended, at = bytearray(), 0
        for _ in range(_FEW):
            found = _lone_return().search(self._raw, at)
            if found is None:
                return bytes(ended) + self._raw[at:] if ended else self._raw
            ended += self._raw[at : found.start()] + b"\n"
            at = found.start() + 1
        return bytes(ended) + _LONE_RETURN.sub(b"\n", self._raw[at:])


class LineCleaner:
    """Turns raw console bytes, which begin at a raw offset and may be cut anywhere, into lines.

    Escapes never reach over a line end, so each raw line can be cleaned by itself once it is complete.
    """

    def __init__(self, offset: int = 0) -> None:
        self._raw = bytearray()  # the unterminated rest
        self._start = offset  # and where it begins

    def feed(self, data: bytes) -> Block:
        """Take the next bytes and return the lines that they completed."""
        if b"\n" not in data and b"\r" not in data and not self._raw.endswith(b"\r"):
            self._raw += data  # no copy of the rest for each byte that a slow console delivers
            return Block(b"", self._start, self._cut_rest())
        block = bytes(self._raw) + data
        decided = max(len(block.rstrip(b"\r")), len(block) - _LOOKAHEAD)
        end = max(block.rfind(b"\n", 0, decided), block.rfind(b"\r", 0, decided)) + 1
        start = self._start
        self._raw = bytearray(block[end:])
        self._start += end
        return Block(block[:end], start, self._cut_rest())

    @property
    def tail(self) -> Line:
        """The unterminated rest: prompts end without a newline."""
        decoder = getincrementaldecoder("utf-8")("replace")  # leaves half a character at the end out
        text = decoder.decode(_without_controls(bytes(self._raw)))
        return Line(text, self._start, self._start + len(self._raw))

    @property
    def tail_size(self) -> int:
        """Raw bytes in the tail; cheaper than the tail."""
        return len(self._raw)

    @property
    def tail_start(self) -> int:
        """Raw offset of the tail; cheaper than the tail."""
        return self._start

    def flush(self) -> list[Line]:
        """Return the unterminated rest as a line: the stream has ended."""
        raw, start = bytes(self._raw), self._start
        self._raw.clear()
        self._start += len(raw)
        if raw.endswith(b"\r"):
            return Block(raw, start).lines
        return _clean(raw, start) if raw else []

    def _cut_rest(self) -> list[Line]:
        lines = []
        while len(self._raw) > MAX_LINE and len(self._raw.rstrip(b"\r")) > MAX_LINE:
            end = self._start + MAX_LINE
            lines.append(Line(_text(bytes(self._raw[:MAX_LINE])), self._start, end))
            del self._raw[:MAX_LINE]
            self._start = end
        return lines


@cache
def _lone_return() -> Any:
    """`_LONE_RETURN` for RE2, which leaps from one return to the next."""
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes as they are
    return re2.compile(rb"\r(?:[^\r\n]|\r[^\n]|\r?\z)", options)


def _begin(text: bytes, number: int, lines: int) -> int:
    """Where a line begins in a text of so many, each with its newline; that behind the last one is the end.

    Lines of a console are about equally long, so a guess is nearly right, and counting up to it is fast.
    """
    place = len(text) * number // max(lines, 1)
    beside = number - text.count(b"\n", 0, place)
    for _ in range(beside):
        place = text.index(b"\n", place) + 1
    for _ in range(-beside):
        place = text.rindex(b"\n", 0, place)
    return text.rfind(b"\n", 0, place) + 1


def _has_long_line(raw: bytes) -> bool:
    """Whether any line may be longer than MAX_LINE, which the whole cannot show that is cleaned at once."""
    start = 0
    while len(raw) - start > MAX_LINE:
        newline = raw.rfind(b"\n", start, start + MAX_LINE)
        if newline < 0:
            return True
        start = newline + 1
    return False


def _clean(raw: bytes, start: int) -> list[Line]:
    """Clean one raw line with its terminator, if it has one; a very long one becomes several."""
    lines = []
    end = start + len(raw)
    while len(raw.rstrip(b"\r\n")) > MAX_LINE:
        lines.append(Line(_text(raw[:MAX_LINE]), start, start + MAX_LINE))
        raw = raw[MAX_LINE:]
        start += MAX_LINE
    lines.append(Line(_text(raw), start, end))
    return lines


def _text(raw: bytes) -> str:
    return _without_controls(raw).decode("utf-8", "replace")


def _without_controls(raw: bytes, *, newlines: bool = False) -> bytes:
    """Remove escape sequences, and all control characters but tabs and, where wanted, newlines."""
    if b"\x1b" in raw:
        first, *rest = raw.split(b"\x1b")
        raw = first + b"".join([_ESCAPED.sub(b"", text, count=1) for text in rest])
    return raw.translate(None, _CONTROLS if newlines else _CONTROLS + b"\n")
