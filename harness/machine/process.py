"""CPU time, I/O and state of processes (proc(5))."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from harness.machine.protocol import ProcessorSample, Usage

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_USER = 3  # the privilege level of user space
_GONE = (FileNotFoundError, ProcessLookupError)


class Meter:
    """Measures a process, one of whose threads executes the guest's first processor."""

    def __init__(self, pid: int, thread: int) -> None:
        self._process = Path(f"/proc/{pid}")
        self._thread = self._process / f"task/{thread}"
        self._start = time.monotonic()
        self._last = Usage(cpu=0.0, guest=0.0)
        self._starved = 0.0  # seconds that the thread has waited for a core

    def read(self) -> Usage:
        """Seconds consumed since the meter was made; the last known ones when the process is gone."""
        try:
            cpu = _cpu(_fields(self._process), 2)
            self._starved = self._waited()
        except _GONE:
            return self._last
        self._last = _later(self._last, cpu, time.monotonic() - self._start - self._starved)
        return self._last

    def _waited(self) -> float:
        """Seconds that the guest's thread was ready to run and had no core; 0 if the kernel does not tell.

        The thread ends before its process, and what it has waited stays waited.
        """
        try:
            return _waited(self._thread)
        except (IndexError, *_GONE):
            return self._starved


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
        found = _tree(self._pid)
        if not found:
            return self._last
        now = {process.pid: process.waited for process in found}
        # Several that wait at the same time lose the same seconds: the one that waited longest counts.
        lost = [max(0.0, waited - self._waited.get(pid, 0.0)) for pid, waited in now.items()]
        self._lost += max(lost, default=0.0)
        self._waited = now
        cpu = sum(process.cpu for process in found)
        self._last = _later(self._last, cpu, time.monotonic() - self._start - self._lost)
        return self._last

    def sample(self) -> ProcessorSample | None:
        """Whether anything runs, in the terms of a processor; None when all is over."""
        found = _tree(self._pid)
        if not found:
            return None
        before, cpu_before = self._sampled
        self._sampled = now, cpu = time.monotonic(), sum(process.cpu for process in found)
        return ProcessorSample(
            halted=not any(process.running for process in found),
            interrupts=True,
            privilege=_USER,
            cpu_share=max(0.0, cpu - cpu_before) / max(now - before, 1e-6),
            written=sum(process.written for process in found),
        )


def _later(last: Usage, cpu: float, guest: float) -> Usage:
    """What was measured; neither goes back."""
    return Usage(cpu=max(cpu, last.cpu), guest=max(guest, last.guest))


def _fields(place: Path) -> list[str]:
    """The fields of `stat` behind the command, which may hold spaces."""
    return (place / "stat").read_text().rpartition(")")[2].split()


def _cpu(fields: list[str], count: int) -> float:
    """Seconds of utime and stime, the 12th and 13th field, and with 4 those of children waited for."""
    return sum(map(int, fields[11 : 11 + count])) / _TICKS_PER_SECOND


def _waited(place: Path) -> float:
    """Seconds that a process or thread was ready to run and had no core."""
    return int((place / "schedstat").read_text().split()[1]) / 1e9


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
    fields = _fields(place)
    return _Process(
        pid, running=fields[0] in "RD", cpu=_cpu(fields, 4), waited=_waited(place), written=_written(place)
    )


def _written(place: Path) -> int:
    """Bytes that a process has handed to write(2), whether or not they have reached a disk."""
    try:
        lines = (place / "io").read_text().splitlines()
    except OSError:  # a process of another user
        return 0
    return next((int(line.partition(":")[2]) for line in lines if line.startswith("wchar:")), 0)
