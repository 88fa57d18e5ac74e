"""What all compressed streams share: a sink, errors, and blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Sink(Protocol):
    """Where bytes go: a file that is open for writing, or something in front of one."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all of the data."""


class StreamError(Exception):
    """A compressed stream is damaged or cut off."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.offset = offset  # byte of the file near which it was found
        self.what = what  # to follow a colon


class Blocks:
    """Cuts what is written into blocks of equal size, between what a stream begins and ends with.

    `pack` makes of a block what stands in the stream; the last block has what is left.
    """

    def __init__(self, start: bytes, size: int, pack: Callable[[bytes], bytes], end: bytes = b"") -> None:
        self._ready = [start]
        self._held = bytearray()
        self._size = size
        self._pack = pack
        self._end = end

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Take data, and return what is finished of the stream."""
        self._held += data
        whole = len(self._held) - len(self._held) % self._size
        for at in range(0, whole, self._size):
            self._ready.append(self._pack(bytes(self._held[at : at + self._size])))
        del self._held[:whole]
        return self._taken()

    def flush(self) -> bytes:
        """Return the rest of the stream."""
        if self._held:
            self._ready.append(self._pack(bytes(self._held)))
        self._ready.append(self._end)
        return self._taken()

    def _taken(self) -> bytes:
        taken = b"".join(self._ready)
        self._ready.clear()
        return taken
