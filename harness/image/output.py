"""Copies files into one stream and hashes them on the way, in about the time that `cat` takes.

What makes it fast (benchmarks/cpio.py measures it): files are read straight into a large buffer that is used
again, so that no memory is allocated for a file and small files share one write; and a second thread hashes
a buffer while it is written and the next one is filled. hashlib and system calls let other threads run.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Self

    from harness.image.compression import Sink

_BUFFER = 1 << 20
_BUFFERS = 4


class UnreadableError(Exception):
    """A file cannot be read.

    Args:
        reason: The system's words for it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Output:
    """A stream of files with the hash of each; a context manager, at whose end everything is written.

    Args:
        out: Where it goes.

    Attributes:
        sums: SHA-256 of each file's content, in hex, by its name; complete when the context has ended.
    """

    def __init__(self, out: Sink) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self.sums: dict[str, str] = {}
        self._out = out
        self._buffer = memoryview(bytearray(_BUFFER))
        self._used = 0
        self._flushed = 0
        self._parts: list[slice | str] = []  # what of the buffer is content; names stand at the ends of files
        self._digest = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1)
        self._hashing: deque[tuple[Future[None], memoryview]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._thread:
            if kind is None:
                self._flush()
                for hashed, _ in self._hashing:
                    hashed.result()

    @property
    def length(self) -> int:
        """Bytes so far."""
        return self._flushed + self._used

    def put(self, data: bytes) -> None:
        """Append at most 1 MiB that belongs to no file."""
        end = self._used + len(data)
        if end > _BUFFER:
            self._flush()
            end = len(data)
        self._buffer[self._used : end] = data
        self._used = end

    def put_file(self, name: str, data: bytes) -> None:
        """Append the content of a file."""
        for start in range(0, len(data), _BUFFER):
            piece = data[start : start + _BUFFER]
            self.put(piece)
            self._parts.append(slice(self._used - len(piece), self._used))
        self._parts.append(name)

    def copy_file(self, name: str, fd: int, size: int) -> bool:
        """Append the content of an open file.

        Returns:
            Whether it has exactly `size` bytes; one more or less means that somebody is writing it.

        Raises:
            UnreadableError: The file cannot be read.
            OSError: The stream cannot be written.
        """
        left = size
        while left >= 0:
            if self._used == _BUFFER:
                self._flush()
            start = self._used
            room = self._buffer[start : start + left + 1]
            try:
                got = os.readv(fd, [room])
            except OSError as error:
                raise UnreadableError(str(error.strerror)) from error
            self._used += got
            self._parts.append(slice(start, self._used))
            left -= got
            if got < len(room):
                break
        self._parts.append(name)
        return left == 0

    def _flush(self) -> None:
        """Have the buffer hashed and write it meanwhile, then take one that has been hashed."""
        self._hashing.append((self._thread.submit(self._hash, self._buffer, self._parts), self._buffer))
        self._out.write(self._buffer[: self._used])
        self._flushed += self._used
        self._used, self._parts = 0, []
        if len(self._hashing) < _BUFFERS:
            self._buffer = memoryview(bytearray(_BUFFER))
        else:
            hashed, self._buffer = self._hashing.popleft()
            hashed.result()

    def _hash(self, buffer: memoryview, parts: Sequence[slice | str]) -> None:
        for part in parts:
            if isinstance(part, slice):
                self._digest.update(buffer[part])
            else:
                self.sums[part] = self._digest.hexdigest()
                self._digest = hashlib.sha256()
