"""Which parts of an image hold data, and which are holes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core.digest import data_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Range(msgspec.Struct, frozen=True):
    """Bytes from `start` up to, and without, `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """In bytes."""
        return self.end - self.start


def data(descriptor: int, size: int) -> Iterator[Range]:
    """The parts of a file that its filesystem stores."""
    return (Range(start, end) for start, end in data_ranges(descriptor, 0, size))


def aligned(ranges: Iterable[Range], block: int) -> Iterator[Range]:
    """The ranges, widened to whole blocks and joined where they touch; they come in order."""
    held: Range | None = None
    for each in ranges:
        wide = Range(each.start // block * block, -(-each.end // block) * block)
        if held is None or wide.start > held.end:
            if held:
                yield held
            held = wide
        else:
            held = Range(held.start, max(held.end, wide.end))
    if held:
        yield held


def between(ranges: Iterable[Range], start: int, end: int) -> Iterator[Range]:
    """What is left of a stretch without the ranges; they come in order."""
    for each in ranges:
        if start < min(each.start, end):
            yield Range(start, min(each.start, end))
        start = max(start, each.end)
    if start < end:
        yield Range(start, end)


def within(ranges: Iterable[Range], start: int, end: int) -> Iterator[Range]:
    """The parts of the ranges that lie in a stretch."""
    for each in ranges:
        low, high = max(each.start, start), min(each.end, end)
        if low < high:
            yield Range(low, high)


def pieces(ranges: Iterable[Range], length: int) -> Iterator[Range]:
    """The ranges, cut so that none is longer than `length`."""
    for each in ranges:
        for start in range(each.start, each.end, length):
            yield Range(start, min(start + length, each.end))
