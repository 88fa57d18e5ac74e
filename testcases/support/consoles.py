"""Real shells on real ttys, and lines as noisy as the worst serial cable."""

from __future__ import annotations

import os
import pty
import select
import signal
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

KERNEL_MESSAGE = b"[   12.345678] random: crng init done\r\n"


class PtyTransport:
    """A program on a pseudo terminal of its own, as a guest's console."""

    def __init__(self, command: Sequence[str], *, cwd: str = ".") -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(cwd)
            os.environ["TERM"] = "xterm-256color"
            os.execvp(command[0], list(command))  # noqa: S606 - no shell wanted
        os.set_blocking(self._fd, False)

    def fileno(self) -> int:
        return self._fd

    def read(self, limit: int) -> bytes | None:
        try:
            return os.read(self._fd, limit)
        except BlockingIOError:
            return None
        except OSError:  # Linux reports the end of a pseudo terminal as an I/O error
            return b""

    takes_input = True

    def write(self, data: bytes) -> None:
        while data:
            select.select([], [self._fd], [])
            with suppress(BlockingIOError):
                data = data[os.write(self._fd, data) :]

    def kill(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        os.kill(self._pid, number)

    def close(self) -> None:
        os.close(self._fd)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


class NoisyTransport:
    """Loses, doubles and interleaves what passes through it, and cuts it anywhere; by the seed.

    Args:
        inner: What is passed through.
        seed: Of all chances; the guest's own timing is another.
        kernel: Kernel messages per byte of output.
        output: Bytes lost or doubled per byte of output.
        typed: The same for what is typed.
        cuts: Whether each read gives a random number of bytes.
    """

    def __init__(
        self,
        inner: PtyTransport,
        seed: int,
        *,
        kernel: float = 0.0,
        output: float = 0.0,
        typed: float = 0.0,
        cuts: bool = False,
    ) -> None:
        self._inner = inner
        self._reading = Random(seed)  # noqa: S311 - noise must be repeatable
        self._writing = Random(seed + 1)  # noqa: S311
        self._kernel, self._output, self._typed = kernel, output, typed
        self._cuts = cuts
        self.damages = 0

    def fileno(self) -> int:
        return self._inner.fileno()

    takes_input = True

    def read(self, limit: int) -> bytes | None:
        limit = self._reading.choice((1, 3, 80, 1000, limit)) if self._cuts else limit
        if not (sent := self._inner.read(limit)):
            return sent
        data = self._damaged(sent, self._reading, self._output) or b"\0"  # nothing would be the end
        data = data.replace(b"\r\n", b"\r\r\n")
        position = 0
        # Exponential gaps: one message per 1/kernel bytes on average, anywhere.
        while self._kernel and (position := position + int(self._reading.expovariate(self._kernel))) < len(
            data
        ):
            self.damages += 1
            data = data[:position] + KERNEL_MESSAGE + data[position:]
            position += len(KERNEL_MESSAGE)
        return data

    def write(self, data: bytes) -> None:
        self._inner.write(self._damaged(data, self._writing, self._typed))

    def close(self) -> None:
        self._inner.close()

    def _damaged(self, data: bytes, random: Random, rate: float) -> bytes:
        position = 0
        while rate and (position := position + int(random.expovariate(rate))) < len(data):
            self.damages += 1
            twice = data[position : position + 1] * random.choice((0, 2))
            data = data[:position] + twice + data[position + 1 :]
            position += 1
        return data
