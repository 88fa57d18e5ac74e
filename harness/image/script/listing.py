"""Bytes of an image that come from no file, as commands."""

from __future__ import annotations

import os
import re
import struct
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.core.digest import data_ranges
from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from harness.image.script.inputs import Given

BLOCK = 4096
_READ = 1 << 20
_ROW = 32  # bytes of a line
# Bytes of a file that its image may have changed: a boot loader's table of where it is.
_CHANGED_MAX = 1 << 12
_ONES = re.compile(rb"\xff{64,}")
_COUNTED = 32  # numbers that make a run of numbers worth a command


class Listing:
    """Turns bytes into commands, in the order in which they stand in the image."""

    def __init__(self, notes: Mapping[int, str]) -> None:
        self._notes = sorted(notes.items(), reverse=True)
        self._seen: dict[bytes, int] = {}
        self._rows: list[str] = []

    def commands(self, around: Iterable[tuple[int, bytes]]) -> Iterator[str]:
        """The commands for what `around` gives."""
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


class Piece(msgspec.Struct, frozen=True):
    """Bytes of a file in an image."""

    offset: int  # where they are in the image
    size: int  # how many
    skip: int  # where they are in the file
    given: Given  # the file


def around(file: BinaryIO, size: int, covered: Sequence[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """What of an image is not made yet: offsets and bytes, cut where blocks begin; no zeros alone.

    `covered` has what is made, in order: first byte, and the one behind the last.
    """
    start = 0
    for end, following in [*covered, (size, size)]:
        for first, last in data_ranges(file.fileno(), start, end):
            at = first
            while at < last:
                upto = min(last, (at // BLOCK + 1) * BLOCK)
                data = os.pread(file.fileno(), upto - at, at)
                if any(data):
                    yield at, data
                at = upto
        start = following


def changed(file: BinaryIO, piece: Piece) -> Iterator[tuple[int, bytes]]:
    """Where an image differs from the file that a piece of it comes from: offsets and bytes."""
    content = piece.given.content
    found = 0
    with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        source.seek(piece.skip)
        for at in range(piece.offset, piece.offset + piece.size, _READ):
            count = min(_READ, piece.offset + piece.size - at)
            here, there = source.read(count), os.pread(file.fileno(), count, at)
            for start in range(0, count, _ROW) if here != there else ():
                new = there[start : start + _ROW]
                if new != here[start : start + _ROW]:
                    found += len(new)
                    if found > _CHANGED_MAX:
                        what = f"{piece.given.word} is not what is at byte {piece.offset} of {file.name}"
                        raise HarnessError(what)
                    yield at + start, new
