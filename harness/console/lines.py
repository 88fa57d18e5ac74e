"""Clean lines out of console bytes: no escapes, no controls, the same however the reads were cut."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from itertools import accumulate
from typing import NamedTuple

MAX_LINE = 65536  # raw bytes; longer lines are cut into pieces, so that memory stays bounded

# A serial tty ends lines with \r\n, a second tty on top makes it \r\r\n; a lone \r starts the line over.
_RAW_LINE = re.compile(rb"([^\r\n]*)(?:\r{0,2}\n|\r)")
_LOOKAHEAD = 2  # so many \r may still turn out to belong to a \n
# Control sequences of ECMA-48: CSI, the strings (OSC, DCS, SOS, PM, APC) up to BEL or ST, the short ones.
# Their ends are optional: a sequence that nobody closes, or that is still arriving, ends with its line.
_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)")
_CONTROLS = bytes({*range(32), 127} - set(b"\t\r\n"))


class Line(NamedTuple):
    """A cleaned line; a named tuple because a build makes millions of them.

    Attributes:
        text: The text without its terminator.
        start: Raw offset of its first byte.
        end: Raw offset after its terminator.
    """

    text: str
    start: int
    end: int


class LineCleaner:
    """Turns raw console bytes, cut anywhere, into lines.

    Escapes never reach over a line end, so each raw line can be cleaned by itself once it is complete.

    Args:
        offset: Raw offset of the first byte that will be fed.
    """

    def __init__(self, offset: int = 0) -> None:
        self._raw = bytearray()  # the unterminated rest
        self._start = offset  # and where it begins

    def feed(self, data: bytes) -> list[Line]:
        """Take the next bytes and return the lines that they completed."""
        if b"\n" not in data and b"\r" not in data and not self._raw.endswith(b"\r"):
            self._raw += data  # no copy of the rest for each byte that a slow console delivers
            return self._cut_rest()
        block = bytes(self._raw) + data
        decided = max(len(block.rstrip(b"\r")), len(block) - _LOOKAHEAD)
        end = max(block.rfind(b"\n", 0, decided), block.rfind(b"\r", 0, decided)) + 1
        lines = _split(block[:end], self._start)
        self._raw = bytearray(block[end:])
        self._start += end
        return lines + self._cut_rest()

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

    def flush(self) -> list[Line]:
        """Return the unterminated rest as a line: the stream has ended."""
        raw, start = bytes(self._raw), self._start
        self._raw.clear()
        self._start += len(raw)
        return (
            _split(raw, start) if raw.endswith(b"\r") else _clean(raw, start, start + len(raw)) if raw else []
        )

    def _cut_rest(self) -> list[Line]:
        lines = []
        while len(self._raw) > MAX_LINE and len(self._raw.rstrip(b"\r")) > MAX_LINE:
            end = self._start + MAX_LINE
            lines.append(Line(_text(bytes(self._raw[:MAX_LINE])), self._start, end))
            del self._raw[:MAX_LINE]
            self._start = end
        return lines


def _split(block: bytes, start: int) -> list[Line]:
    """Clean a block of complete lines; ordinary compiler output takes a path without a loop in Python."""
    if not block:
        return []
    returns = block.count(b"\r")
    terminator = "\r\n" if returns else "\n"
    plain = not returns or returns == block.count(b"\n") == block.count(b"\r\n")
    if plain and len(block.translate(None, _CONTROLS)) == len(block):
        texts = block.decode("utf-8", "replace").split(terminator)
        raws = texts if block.isascii() else block.split(terminator.encode())
        ends = list(accumulate(map(len(terminator).__add__, map(len, raws)), initial=start))
        texts.pop()  # behind the last terminator there is nothing
        if len(max(raws, key=len)) <= MAX_LINE:
            return list(map(Line, texts, ends, ends[1:]))
    lines: list[Line] = []
    for match in _RAW_LINE.finditer(block):
        lines += _clean(match[1], start + match.start(), start + match.end())
    return lines


def _clean(raw: bytes, start: int, end: int) -> list[Line]:
    """Clean one raw line without its terminator; a very long one becomes several."""
    lines = []
    while len(raw) > MAX_LINE:
        lines.append(Line(_text(raw[:MAX_LINE]), start, start + MAX_LINE))
        raw = raw[MAX_LINE:]
        start += MAX_LINE
    lines.append(Line(_text(raw), start, end))
    return lines


def _text(raw: bytes) -> str:
    return _without_controls(raw).decode("utf-8", "replace")


def _without_controls(raw: bytes) -> bytes:
    if b"\x1b" in raw:
        raw = _ESCAPE.sub(b"", raw)
    return raw.translate(None, _CONTROLS + b"\r\n")
