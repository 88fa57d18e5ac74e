"""Bytes of an image that come from no file, as commands."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from harness.image.script.pieces import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_ROW = 32  # bytes of a line
_ONES = re.compile(rb"\xff{64,}")
_COUNTED = 32  # numbers that make a run of numbers worth a command


class Listing:
    """Turns bytes into commands, in the order in which they stand in the image.

    Args:
        notes: What begins at some offsets, for readers.
    """

    def __init__(self, notes: Mapping[int, str]) -> None:
        self._notes = sorted(notes.items(), reverse=True)
        self._seen: dict[bytes, int] = {}
        self._rows: list[str] = []

    def commands(self, around: Iterable[tuple[int, bytes]]) -> Iterator[str]:
        """The commands for what `pieces.around` gives."""
        for offset, data in around:
            if len(data) == BLOCK and sum(map(bool, data)) > 4 * _ROW:
                first = self._seen.setdefault(data, offset)
                if first != offset:
                    yield from self._flush()
                    yield from self._noted(offset)
                    yield f"again {offset} {first}"
                    continue
            for command, start, end in _runs(offset, data):
                if command:
                    yield from self._flush()
                    yield from self._noted(offset + start)
                    yield command
                else:
                    self._add(offset + start, data[start:end])
        yield from self._flush()

    def changes(self, changed: Iterable[tuple[int, bytes]], what: str) -> Iterator[str]:
        """The commands for what the image has changed in a file."""
        rows = [f"{offset:08x}: {data.hex()}" for offset, data in changed]
        if rows:
            yield from ["hex <<'END'", f"# {what}", *rows, "END"]

    def _add(self, offset: int, data: bytes) -> None:
        start = 0
        while start < len(data):
            end = min(len(data), start + _ROW - (offset + start) % _ROW)
            row = data[start:end].rstrip(b"\0")
            if row:
                self._rows += self._noted(offset + start)
                self._rows.append(f"{offset + start:08x}: {row.hex()}")
            start = end

    def _noted(self, offset: int) -> Iterator[str]:
        while self._notes and self._notes[-1][0] <= offset:
            yield f"# {self._notes.pop()[1]}"

    def _flush(self) -> Iterator[str]:
        if self._rows:
            yield from ["hex <<'END'", *self._rows, "END"]
            self._rows = []


def _runs(offset: int, data: bytes) -> Iterator[tuple[str, int, int]]:
    """A block cut into runs: a command, or "" for what is listed; first byte, byte behind."""
    done = 0
    for start, end, command in sorted([*_ones(offset, data), *_counted(offset, data)]):
        if start < done:
            continue
        if start > done:
            yield "", done, start
        yield command, start, end
        done = end
    if done < len(data):
        yield "", done, len(data)


def _ones(offset: int, data: bytes) -> Iterator[tuple[int, int, str]]:
    for match in _ONES.finditer(data):
        yield match.start(), match.end(), f"ones {offset + match.start()} {len(match[0])}"


def _counted(offset: int, data: bytes) -> Iterator[tuple[int, int, str]]:
    """Runs of numbers that grow by one, as maps of blocks have them, of 4 or 2 bytes each."""
    for width in (4, 2):
        if len(data) % width:
            continue
        numbers = struct.unpack(f"<{len(data) // width}{'I' if width == 4 else 'H'}", data)
        start = 0
        for index in range(1, len(numbers) + 1):
            if index < len(numbers) and numbers[index] == numbers[index - 1] + 1:
                continue
            if index - start >= _COUNTED:
                first = offset + start * width
                yield (
                    start * width,
                    index * width,
                    f"numbers {first} {width} {numbers[start]} {index - start}",
                )
            start = index
