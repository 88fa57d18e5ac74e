"""Copies files into one stream, and hashes them meanwhile.

This takes about as long as `cat`. What makes it fast (benchmarks/cpio.py measures it): files are read
straight into a large buffer that is used again, so that no memory is allocated for a file and small files
share one write; and another process hashes a buffer while it is written and the next one is filled. A second
thread would do, were it not for small files: both threads then ask for the interpreter's lock every few
microseconds, and waking each other costs more than the hashing.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections import deque
from typing import TYPE_CHECKING, Self

from harness.core.errors import ConfigError, InfraError
from harness.formats import hashing_process
from harness.formats.hashing_process import BUFFER, BUFFERS, DIGEST, LAST, NUMBERS, SIZE, Shared
from harness.formats.order import name

if TYPE_CHECKING:
    from collections.abc import Sequence
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
    """A stream of files with the hash of each; a context manager, at whose end everything is written."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._hashing = Hashing()
        self.sums = self._hashing.sums  # of contents, by path; complete when the context has ended
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


class HashingError(Exception):
    """The process that hashes has ended."""


class Hashing:
    """Buffers to fill, hashed one after the other while the next is filled; a context manager.

    The process is started when a second buffer is needed: less is hashed faster than a process starts.
    """

    def __init__(self) -> None:
        # SHA-256, in hex, of each file that ended in a buffer that came back, by its name.
        self.sums: dict[str, str] = {}
        self._fd = os.memfd_create("buffers")
        os.ftruncate(self._fd, SIZE)
        self._memory = Shared(self._fd)
        self._free = list(range(BUFFERS))  # the last one was used last, so the processor's caches know it
        self._filled: deque[tuple[int, Sequence[str]]] = deque()  # buffers, and the files that end there
        self._worker: _Worker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        if self._worker:
            self._worker.end()

    def buffer(self) -> memoryview:
        """The buffer to fill next, of `BUFFER` bytes; waits until there is one."""
        if self._worker:
            self._take_back(self._worker.answers(wait=not self._free))
        return self._memory.buffers[self._free[-1]]

    def put(self, places: Sequence[int], names: Sequence[str], *, last: bool) -> None:
        """Have the buffer hashed; with `last`, no other one follows.

        `places` are at most `NUMBERS`: start and end of each piece, as in the table. `names` are of the
        files that end there.
        """
        number = self._free.pop()
        self._memory.tables[number][: 1 + len(places)] = array("I", [len(places), *places])
        self._filled.append((number, names))
        if last and self._worker is None:
            self._memory.hash(number)
            self._take_back(1)
        else:
            self._worker = self._worker or _Worker(self._fd)
            self._worker.ask(number)

    def finish(self) -> None:
        """Wait for all hashes."""
        while self._filled and self._worker:
            self._take_back(self._worker.answers(wait=True))

    def _take_back(self, count: int) -> None:
        for _ in range(count):
            number, names = self._filled.popleft()
            digests = self._memory.digests[number]
            for index, each in enumerate(names):
                self.sums[each] = digests[DIGEST * index : DIGEST * (index + 1)].hex()
            self._free.append(number)


class _Worker:
    """The process, and the socket that is its standard input and output."""

    def __init__(self, memory: int) -> None:
        import socket
        import subprocess

        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", hashing_process.__file__, str(memory)],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                pass_fds=[memory],
                process_group=0,  # Ctrl-C is for the writer of the image; this ends with its input
            )

    def ask(self, number: int) -> None:
        """Have a buffer hashed."""
        try:
            self._socket.send(bytes([number]))
        except OSError:
            raise self._ended() from None

    def answers(self, *, wait: bool) -> int:
        """How many buffers more have been hashed; at least one if need be."""
        self._socket.setblocking(wait)
        try:
            answers = self._socket.recv(BUFFERS)
        except BlockingIOError:
            return 0
        except OSError:
            answers = b""
        if not answers:
            raise self._ended()
        return len(answers)

    def end(self) -> None:
        """End the process; it holds nothing that could be lost."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _ended(self) -> HashingError:
        return HashingError(f"the process that hashes ended with status {self._process.wait()}")
