"""Hashes the contents of files in another process, through shared memory.

A second thread would do, were it not for small files: both threads then ask for the interpreter's lock every
few microseconds, and waking each other costs more than the hashing (benchmarks/cpio.py).
"""

from __future__ import annotations

import os
import sys
from array import array
from collections import deque
from typing import TYPE_CHECKING, Self

from harness.formats import hashing_process
from harness.formats.hashing_process import BUFFERS, DIGEST, SIZE, Shared

if TYPE_CHECKING:
    from collections.abc import Sequence


class HashingError(Exception):
    """The process that hashes has ended."""


class Hashing:
    """Buffers to fill, hashed one after the other while the next is filled; a context manager.

    The process is started when a second buffer is needed: less is hashed faster than a process starts.

    Attributes:
        sums: SHA-256, in hex, of each file that ended in a buffer that came back, by its name.
    """

    def __init__(self) -> None:
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
            for index, name in enumerate(names):
                self.sums[name] = digests[DIGEST * index : DIGEST * (index + 1)].hex()
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
