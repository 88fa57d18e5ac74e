"""CPU time, I/O and state of a process and its children (proc(5))."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from harness.machine.protocol import ProcessorSample, Usage

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_USER = 3  # the privilege level of user space


class _Process(msgspec.Struct, frozen=True):
    """One process at one moment; seconds, of which `cpu` has those of its ended children too."""

    pid: int
    running: bool
    cpu: float
    waited: float
    written: int


class TreeMeter:
    """Measures a process with all below it.

    Time during which processes waited for a core is known of those that live when they are looked at; so
    guest time is wall time less at least some of it, and never more than wall time.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._start = time.monotonic()
        self._last = Usage(cpu=0.0, guest=0.0)
        self._waited: dict[int, float] = {}  # by each process, when it was last looked at
        self._lost = 0.0
        self._sampled = (self._start, 0.0)

    def read(self) -> Usage:
        """Seconds consumed since the meter was made; the last known ones when the process is gone."""
        found = list(_tree(self._pid))
        if not found:
            return self._last
        now = {process.pid: process.waited for process in found}
        # Several that wait at the same time lose the same seconds: the one that waited longest counts.
        lost = [max(0.0, waited - self._waited.get(pid, 0.0)) for pid, waited in now.items()]
        self._lost += max(lost, default=0.0)
        self._waited = now
        cpu = sum(process.cpu for process in found)
        guest = time.monotonic() - self._start - self._lost
        self._last = Usage(cpu=max(cpu, self._last.cpu), guest=max(guest, self._last.guest))
        return self._last

    def sample(self) -> ProcessorSample | None:
        """Whether anything runs, in the terms of a processor; None when all is over."""
        found = list(_tree(self._pid))
        if not found:
            return None
        before, cpu_before = self._sampled
        self._sampled = now, cpu = time.monotonic(), sum(process.cpu for process in found)
        share = max(0.0, cpu - cpu_before) / max(now - before, 1e-6)
        return ProcessorSample(
            halted=not any(process.running for process in found),
            interrupts=True,
            privilege=_USER,
            cpu_share=share,
            written=sum(process.written for process in found),
        )


def _tree(pid: int) -> list[_Process]:
    """A process and all below it, as far as they live."""
    found: list[_Process] = []
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        try:
            found.append(_look(current))
            children = Path(f"/proc/{current}/task/{current}/children").read_text()
        except (OSError, IndexError, ValueError):
            continue  # it has just ended
        waiting += map(int, children.split())
    return found


def _look(pid: int) -> _Process:
    place = Path(f"/proc/{pid}")
    # Fields after the command, which may hold spaces: state is the first, utime the 12th, then stime and
    # those of the children that were waited for.
    fields = (place / "stat").read_text().rpartition(")")[2].split()
    cpu = sum(map(int, fields[11:15])) / _TICKS_PER_SECOND
    return _Process(
        pid,
        running=fields[0] in "RD",
        cpu=cpu,
        waited=int((place / "schedstat").read_text().split()[1]) / 1e9,
        written=_written(place),
    )


def _written(place: Path) -> int:
    """Bytes that a process has handed to write(2), whether or not they have reached a disk."""
    try:
        lines = (place / "io").read_text().splitlines()
    except OSError:  # a process of another user
        return 0
    return next((int(line.partition(":")[2]) for line in lines if line.startswith("wchar:")), 0)
