"""Copies files into one stream, and hashes them meanwhile.

This takes about as long as `cat`. What makes it fast (benchmarks/cpio.py measures it): files are read
straight into a large buffer that is used again, so that no memory is allocated for a file and small files
share one write; and another process hashes a buffer while it is written and the next one is filled.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from harness.core.errors import ConfigError, InfraError
from harness.formats.hashing import Hashing, HashingError
from harness.formats.hashing_process import BUFFER, LAST, NUMBERS
from harness.formats.order import name

if TYPE_CHECKING:
    from pathlib import Path

    from harness.formats.compression import Sink
    from harness.formats.tree import Entry


def open_content(entry: Entry, content: Path) -> int:
    """Open the file with the content of an entry."""
    try:
        return os.open(content, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO would have us wait for a writer
    except OSError as error:
        raise unreadable(entry, error) from error


def unreadable(entry: Entry, error: OSError) -> ConfigError:
    """Say that the content of an entry cannot be read."""
    return ConfigError(f"cannot read {entry.content!s}, content of {name(entry)}: {error.strerror}")


class Output:
    """A stream of files with the hash of each; a context manager, at whose end everything is written.

    Attributes:
        sums: SHA-256 of each file's content, in hex, by its path; complete when the context has ended.
    """

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._hashing = Hashing()
        self.sums = self._hashing.sums
        self._buffer = self._hashing.buffer()
        self._used = 0
        self._flushed = 0
        self._places: list[int] = []  # what of the buffer is content
        self._names: list[str] = []  # of the files that end in it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._hashing:
            if kind is None:
                self._flush(last=True)

    @property
    def length(self) -> int:
        """Bytes so far."""
        return self._flushed + self._used

    def put(self, data: bytes) -> None:
        """Append at most 1 MiB that belongs to no file."""
        end = self._used + len(data)
        if end > BUFFER:
            self._flush()
            end = len(data)
        self._buffer[self._used : end] = data
        self._used = end

    def put_file(self, path: str, data: bytes) -> None:
        """Append the content of a file."""
        for start in range(0, len(data) or 1, BUFFER):
            piece = data[start : start + BUFFER]
            self.put(piece)
            self._places += (self._used - len(piece), self._used)
        self._end_file(path)

    def copy_file(self, entry: Entry, fd: int, size: int) -> None:
        """Append the content of an entry, an open file."""
        left = size
        while left >= 0:
            start = self._used
            if start == BUFFER:
                self._flush()
                start = 0
            room = self._buffer[start : start + left + 1]
            try:
                got = os.readv(fd, (room,))
            except OSError as error:
                raise unreadable(entry, error) from error
            self._used = end = start + got
            self._places += (start, end)
            left -= got
            if got < len(room):
                break
        if left:
            message = f"{entry.content!s} ({entry.path!r}) changed its size while it was read"
            raise InfraError(message, hint="build again when no program writes it")
        self._end_file(entry.path)

    def _end_file(self, path: str) -> None:
        self._places[-1] |= LAST
        self._names.append(path)
        if len(self._places) >= NUMBERS - 4:
            self._flush()

    def _flush(self, *, last: bool = False) -> None:
        """Have the buffer hashed and write it meanwhile, then take one that has been hashed."""
        try:
            self._hashing.put(self._places, self._names, last=last)
            self._out.write(self._buffer[: self._used])
            self._flushed += self._used
            self._used, self._places, self._names = 0, [], []
            if last:
                self._hashing.finish()
            else:
                self._buffer = self._hashing.buffer()
        except HashingError as error:
            raise InfraError(f"cannot hash the content of an image: {error}", hint="build again") from error
