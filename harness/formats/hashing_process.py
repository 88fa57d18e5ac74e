"""The process that hashes for `output.py`.

It imports little, as images wait for its start. Both map one memory: `BUFFERS` buffers of `BUFFER` bytes; for
each a table of unsigned 32-bit numbers, the first of which is how many follow: where each piece of a file
starts and ends in the buffer, with `LAST` added to the end of a file's last one; and for each the SHA-256 of
the files that end in it. A byte on the process's standard input names a buffer that is full, the same byte on
its standard output one that has been hashed.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import sys

BUFFER = 1 << 20
BUFFERS = 16
LAST = 1 << 31
NUMBERS = 1 << 14  # of a table, at most
DIGEST = 32
_TABLE = 4 + 4 * NUMBERS
_DIGESTS = DIGEST * NUMBERS // 2
SIZE = BUFFERS * (BUFFER + _TABLE + _DIGESTS)


class Shared:
    """The memory, a file of `SIZE` bytes, as it is divided up."""

    def __init__(self, fd: int) -> None:
        whole = memoryview(mmap.mmap(fd, SIZE))

        def split(start: int, size: int) -> list[memoryview]:
            return [whole[start + number * size :][:size] for number in range(BUFFERS)]

        self.buffers = split(0, BUFFER)
        self.tables = [table.cast("I") for table in split(BUFFERS * BUFFER, _TABLE)]
        self.digests = split(BUFFERS * (BUFFER + _TABLE), _DIGESTS)
        self._digest = hashlib.sha256()

    def hash(self, number: int) -> None:
        """Hash what the table of a buffer names; a file may go on in the next buffer."""
        buffer, table, digests = self.buffers[number], self.tables[number], self.digests[number]
        done = 0
        places = iter(table[1 : 1 + table[0]].tolist())
        for start, end in zip(places, places, strict=True):
            self._digest.update(buffer[start : end & ~LAST])
            if end & LAST:
                digests[done : done + DIGEST] = self._digest.digest()
                done += DIGEST
                self._digest = hashlib.sha256()


def _serve(memory: Shared) -> None:
    try:
        while asked := os.read(0, BUFFERS):
            for number in asked:
                memory.hash(number)
                os.write(1, bytes([number]))
    except OSError:
        pass  # the other end is gone


if __name__ == "__main__":
    _serve(Shared(int(sys.argv[1])))
