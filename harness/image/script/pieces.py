"""An image as pieces of files and what is around them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.core.digest import data_ranges
from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.image.script.inputs import Given

BLOCK = 4096
_SECTOR = 512
_READ = 1 << 20
_ROW = 32  # bytes that are told as changed together
_CHANGED_MAX = (
    1 << 12
)  # bytes of a file that its image may have changed: a boot loader's table of where it is


class Piece(msgspec.Struct, frozen=True):
    """Bytes of a file in an image.

    Attributes:
        offset: Where they are in the image.
        size: How many.
        skip: Where they are in the file.
        given: The file.
    """

    offset: int
    size: int
    skip: int
    given: Given

    @property
    def end(self) -> int:
        """Behind them in the image."""
        return self.offset + self.size


def around(file: BinaryIO, size: int, covered: Sequence[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """What of an image is not made yet: offsets and bytes, cut where blocks begin; no zeros alone.

    Args:
        file: The image.
        size: Its size in bytes.
        covered: Where something was made: first byte and the one behind the last, in order.
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
    """Where an image differs from the file that a piece of it comes from: offsets and bytes.

    Raises:
        HarnessError: Almost all differs: the file is another one.
    """
    content = piece.given.content
    source = content if isinstance(content, bytes) else None
    handle = None if isinstance(content, bytes) else os.open(content, os.O_RDONLY)
    found = 0
    try:
        for at in range(0, piece.size, _READ):
            count = min(_READ, piece.size - at)
            there = os.pread(file.fileno(), count, piece.offset + at)
            skip = piece.skip + at
            here = source[skip : skip + count] if source is not None else b""
            if handle is not None:
                here = os.pread(handle, count, skip)
            if here == there:
                continue
            for start in range(0, count, _ROW):
                new = there[start : start + _ROW]
                if new != here[start : start + _ROW]:
                    found += len(new)
                    if found > _CHANGED_MAX:
                        raise HarnessError(
                            f"{piece.given.word} is not what is at byte {piece.offset} of {file.name}"
                        )
                    yield piece.offset + at + start, new
    finally:
        if handle is not None:
            os.close(handle)
