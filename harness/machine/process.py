"""CPU time and waiting time of a process (proc(5))."""

from __future__ import annotations

import os
import time
from pathlib import Path

from harness.machine.protocol import Usage

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Meter:
    """Measures a process whose guest runs in one of its threads.

    Args:
        pid: The process.
        thread: The thread that executes the guest's first processor.
    """

    def __init__(self, pid: int, thread: int) -> None:
        self._stat = Path(f"/proc/{pid}/stat")
        self._schedstat = Path(f"/proc/{pid}/task/{thread}/schedstat")
        self._start = time.monotonic()
        self._last = Usage(cpu=0.0, guest=0.0)
        self._starved = 0.0  # seconds that the thread has waited for a core

    def read(self) -> Usage:
        """Seconds consumed since the meter was made; the last known ones when the process is gone."""
        try:
            # Fields after the command, which may hold spaces: utime is the 12th, stime the 13th of them.
            fields = self._stat.read_text().rpartition(")")[2].split()
            cpu = (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
            self._starved = self._waited()
        except (FileNotFoundError, ProcessLookupError):
            return self._last
        elapsed = time.monotonic() - self._start
        guest = max(elapsed - self._starved, self._last.guest)
        self._last = Usage(cpu=max(cpu, self._last.cpu), guest=guest)
        return self._last

    def _waited(self) -> float:
        """Seconds that the guest's thread was ready to run and had no core; 0 if the kernel does not tell.

        The thread ends before its process, and what it has waited stays waited.
        """
        try:
            return int(self._schedstat.read_text().split()[1]) / 1e9
        except (IndexError, FileNotFoundError, ProcessLookupError):
            return self._starved
