"""Consoles in pieces that pages load from a disk.

Pages opened from a disk may not read other files, but they may load scripts. So each piece is a script that
calls `harnessChunk(KIND, NUMBER, DATA)`, where DATA is JSON, deflated (RFC 1951) and in base64. To show a
line anywhere in a log of any length, a browser loads one or two. Which piece has which line is in `index.js`
beside them.
"""

from __future__ import annotations

import base64
import zlib
from bisect import bisect_right
from typing import TYPE_CHECKING, TypeVar

import msgspec

from harness.console.cast import texts
from harness.console.lines import LineCleaner
from harness.core.files import write_atomically
from harness.record.console_log import ConsoleTail, TimedLine, opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from harness.record.reading import Reading

FORMAT = 1  # of the pieces; another one has all of them written anew

_CHUNK = 1 << 18  # bytes of text, before they are deflated
_MOST_EVENTS = 20_000  # arrivals in a piece, each with a time of its own
_PREFIX, _SUFFIX = b"harnessIndex(", b");\n"


class LogIndex(msgspec.Struct, frozen=True):
    """Where the lines of a log are."""

    lines: int = 0  # how many there are
    size: int = 0  # bytes of `console.raw` that they come from
    # number of the first line of each piece, from 0, and the raw offset at which it begins
    chunks: tuple[tuple[int, int], ...] = ()


class ReplayIndex(msgspec.Struct, frozen=True):
    """Where the moments of a recording are."""

    seconds: float = 0.0  # when the last bytes came
    chunks: tuple[float, ...] = ()  # when the first bytes of each piece came, in seconds


_Index = TypeVar("_Index", LogIndex, ReplayIndex)


class _LogChunk(msgspec.Struct):
    """Lines, and when they came: a line of the piece, and milliseconds that hold from there on."""

    first: int
    times: list[tuple[int, int]]
    text: str


def write_log(reading: Reading, directory: Path) -> LogIndex:
    """Write the pieces of a run's console into a directory; what was written before is gone on from."""
    size = reading.raw.stat().st_size if reading.raw.exists() else 0
    before = read_index(directory, LogIndex) or LogIndex()
    kept = list(before.chunks[:-1]) if size >= before.size else []
    # The last piece may have grown, so it is made again.
    first, start = before.chunks[-1] if kept else (0, 0)
    directory.mkdir(parents=True, exist_ok=True)
    chunks = kept
    lines: list[TimedLine] = []
    room = _CHUNK
    tail = ConsoleTail(reading.directory, start)
    finished = False
    while not finished:
        block = tail.read()
        if not block:
            block, finished = tail.finish(), True
        for line in block:
            lines.append(line)
            room -= len(line.text) + 1
            # What has no end yet may become another line: it stays in the last piece, which is made again.
            if room <= 0 and not finished:
                _write_lines(directory, chunks, first, lines)
                first += len(lines)
                lines, room = [], _CHUNK
    if lines:
        _write_lines(directory, chunks, first, lines)
        first += len(lines)
    index = LogIndex(first, size, tuple(chunks))
    _write_index(directory, index)
    return index


def lines_at(raw: Path, index: LogIndex, offsets: Iterable[int]) -> dict[int, int]:
    """Numbers of the lines that hold these raw offsets, from 0; offsets behind the last line have none."""
    found: dict[int, int] = {}
    starts = [offset for _, offset in index.chunks]
    wanted: dict[int, list[int]] = {}
    for offset in sorted(set(offsets)):
        if (place := bisect_right(starts, offset) - 1) >= 0 and offset < index.size:
            wanted.setdefault(place, []).append(offset)
    for place, those in wanted.items():
        first, start = index.chunks[place]
        end = starts[place + 1] if place + 1 < len(starts) else index.size
        with opened(raw) as source:
            source.seek(start)
            cleaner = LineCleaner(start)
            lines = [line.start for line in (*cleaner.feed(source.read(end - start)), *cleaner.flush())]
        for offset in those:
            if (number := bisect_right(lines, offset) - 1) >= 0:
                found[offset] = first + number
    return found


def write_replay(reading: Reading, directory: Path) -> ReplayIndex:
    """Write what a run's console sent, with its times, in pieces into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    starts: list[float] = []
    events: list[tuple[int, str]] = []
    room, last = _CHUNK, 0.0
    for seconds, text in texts(reading.pieces()):
        last = seconds
        events.append((round(seconds * 1000), text))
        room -= len(text)
        if room <= 0 or len(events) >= _MOST_EVENTS:
            _write(directory, "replay", len(starts), events)
            starts.append(events[0][0] / 1000)
            events, room = [], _CHUNK
    if events:
        _write(directory, "replay", len(starts), events)
        starts.append(events[0][0] / 1000)
    index = ReplayIndex(last, tuple(starts))
    _write_index(directory, index)
    return index


def read_index(directory: Path, kind: type[_Index]) -> _Index | None:
    """What `write_log` or `write_replay` left there; None without any that can be read."""
    try:
        text = (directory / "index.js").read_bytes()
        return msgspec.json.decode(text[len(_PREFIX) : -len(_SUFFIX)], type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def _write_lines(
    directory: Path, chunks: list[tuple[int, int]], first: int, lines: Sequence[TimedLine]
) -> None:
    times: list[tuple[int, int]] = []
    before = -1.0
    for number, line in enumerate(lines):
        if line.seconds != before:
            before = line.seconds
            times.append((number, round(before * 1000)))
    chunk = _LogChunk(first, times, "\n".join([line.text for line in lines]))
    _write(directory, "log", len(chunks), chunk)
    chunks.append((first, lines[0].offset))


def _write(directory: Path, kind: str, number: int, content: object) -> None:
    deflated = zlib.compress(msgspec.json.encode(content), 1, wbits=-zlib.MAX_WBITS)
    data = base64.b64encode(deflated)
    (directory / f"{number:05}.js").write_bytes(
        b'harnessChunk("%s",%d,"%s");\n' % (kind.encode(), number, data)
    )


def _write_index(directory: Path, index: msgspec.Struct) -> None:
    text = _PREFIX + msgspec.json.encode(index) + _SUFFIX
    write_atomically(directory / "index.js", text.decode())
