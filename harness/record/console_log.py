"""Reads a recorded console line by line, with times."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from harness.console.lines import Line, LineCleaner
from harness.core.errors import ConfigError, explaining

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


_BLOCK = 1 << 18


class TimedLine(NamedTuple):
    """A cleaned console line."""

    seconds: float  # when its first byte came, in host seconds since the console was attached
    text: str  # without its terminator
    offset: int  # raw offset of its first byte


class ConsoleTail:
    """Reads a recorded console from a raw offset on, also while it grows."""

    def __init__(self, directory: Path, start: int = 0) -> None:
        self._arrivals = Arrivals(directory / "console.idx")
        self._cleaner = LineCleaner(start)
        self._source = opened(directory / "console.raw")
        self._source.seek(start)

    def read(self) -> list[TimedLine]:
        """Return the next lines; none when what was recorded so far is read."""
        while data := self._source.read(_BLOCK):
            self._arrivals.look_again()
            if lines := self._cleaner.feed(data):
                return self._timed(lines)
        return []

    def finish(self) -> list[TimedLine]:
        """Return the unterminated rest: no more will come."""
        return self._timed(self._cleaner.flush())

    def _timed(self, lines: Iterable[Line]) -> list[TimedLine]:
        return [TimedLine(self._arrivals.seconds_at(line.start), line.text, line.start) for line in lines]


class Arrivals:
    """When bytes came: the recorder's index, which may still grow."""

    def __init__(self, index: Path) -> None:
        self._offsets: list[int] = []
        self._seconds: list[float] = []
        self._source = opened(index)
        self._rest = b""
        self._read_out = False

    def look_again(self) -> None:
        """The index may have grown: a look for each line of a console would cost more than the line."""
        self._read_out = False

    def seconds_at(self, offset: int) -> float:
        """Return when the byte at a raw offset came; offsets are asked for in rising order."""
        while not self._read_out and (not self._offsets or self._offsets[-1] <= offset):
            self._read()
        entry = bisect_right(self._offsets, offset) - 1
        return self._seconds[entry] if entry >= 0 else 0.0

    def _read(self) -> None:
        """Read some more, and keep the last entry of before."""
        data = self._source.read(_BLOCK)
        whole, _, self._rest = (self._rest + data).rpartition(b"\n")
        lines = [line.split() for line in whole.splitlines()]
        self._offsets = self._offsets[-1:] + [int(line[0]) for line in lines]
        self._seconds = self._seconds[-1:] + [float(line[1]) for line in lines]
        self._read_out = not data


def opened(path: Path) -> BinaryIO:
    """Open a file of a record."""
    with explaining(ConfigError, f"cannot read {path}"):
        return path.open("rb")
