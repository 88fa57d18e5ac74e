"""What processes consume, measured on real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.machine.process import Meter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.machine.protocol import Usage

BUSY = "print(flush=True)\nwhile True: pass"
IDLE = "import time\nprint(flush=True)\ntime.sleep(60)"
NAMED = f"open('/proc/self/comm', 'w').write('a) (b c')\n{BUSY}"


@contextmanager
def child(program: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has started
        try:
            yield process
        finally:
            process.kill()


def meter_of(process: subprocess.Popen[bytes]) -> Meter:
    return Meter(process.pid, process.pid)


def until_cpu(meter: Meter, seconds: float) -> Usage:
    deadline = time.monotonic() + 30
    while (usage := meter.read()).cpu < seconds:
        assert time.monotonic() < deadline, usage
        time.sleep(0.02)
    return usage


@pytest.mark.parametrize("program", [BUSY, NAMED], ids=["plain", "with an odd name"])
def test_a_busy_process_consumes_processor_time(program: str) -> None:
    with child(program) as process:
        before = time.monotonic()
        meter = meter_of(process)
        start = meter.read()
        usage = until_cpu(meter, start.cpu + 0.2)
        elapsed = time.monotonic() - before
    assert 0.2 <= usage.cpu - start.cpu <= elapsed + 0.05
    assert start.guest < usage.guest <= elapsed


def test_an_idle_process_consumes_none_and_its_guest_time_runs() -> None:
    with child(IDLE) as process:
        meter = meter_of(process)
        start = meter.read()
        time.sleep(0.3)
        usage = meter.read()
    assert usage.cpu - start.cpu <= 0.05
    assert usage.guest - start.guest >= 0.2


def test_a_stopped_process_consumes_none() -> None:
    with child(BUSY) as process:
        meter = meter_of(process)
        until_cpu(meter, 0.05)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        stopped = meter.read()
        time.sleep(0.2)
        assert meter.read().cpu == stopped.cpu


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="the kernel does not tell waiting times"
)
def test_a_starved_process_has_less_guest_time_than_went_by() -> None:
    core = {max(os.sched_getaffinity(0))}
    with child(BUSY) as process, child(BUSY) as rival, child(BUSY) as other_rival:
        for each in (process, rival, other_rival):
            os.sched_setaffinity(each.pid, core)
        meter = meter_of(process)
        waited = meter._waited()
        before, start = time.monotonic(), meter.read()
        time.sleep(1)
        usage, elapsed = meter.read(), time.monotonic() - before
        assert meter._waited() > waited
    assert usage.guest - start.guest < 0.8 * elapsed


def test_figures_never_fall() -> None:
    with child(BUSY) as process:
        meter = meter_of(process)
        figures = [meter.read() for _ in range(200)]
    assert figures == sorted(figures, key=lambda usage: (usage.cpu, usage.guest))


def test_a_process_that_is_gone_keeps_its_last_figures() -> None:
    with child(BUSY) as process:
        meter = meter_of(process)
        last = until_cpu(meter, 0.05)
        process.kill()
        process.wait()
        assert meter.read() == last
        assert meter.read() == last


def test_a_process_that_was_never_there_has_consumed_nothing() -> None:
    with child(IDLE) as process:
        process.kill()
    usage = meter_of(process).read()
    assert (usage.cpu, usage.guest) == (0, 0)


def test_guest_time_does_not_jump_when_the_guests_thread_ends_before_its_process(tmp_path: Path) -> None:
    """QEMU's does; on a loaded host the jump was 86 s, and used a budget up at the very end of a good run."""
    meter = Meter(os.getpid(), os.getpid())
    meter._start -= 10.0
    meter._thread = tmp_path
    (tmp_path / "schedstat").write_text("1 8000000000 1\n")  # it has waited for 8 seconds
    before = meter.read().guest
    (tmp_path / "schedstat").unlink()
    assert before <= meter.read().guest < before + 4
