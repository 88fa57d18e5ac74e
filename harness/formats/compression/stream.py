"""What all compressed streams share: a sink, errors, and blocks."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """Where bytes go: a file that is open for writing, or something in front of one."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all of the data."""


class StreamError(Exception):
    """A compressed stream is damaged or cut off.

    Args:
        offset: Byte of the file near which it was found.
        what: What is wrong, to follow a colon.
    """

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.offset = offset
        self.what = what
