"""CPU time of the children of a payload."""

from __future__ import annotations

import subprocess
import sys
import time

from harness.machine.process import TreeMeter


def test_the_time_of_children_that_have_ended_counts() -> None:
    # The child counts its own seconds: a fixed amount of work is over too soon on a fast processor.
    child = "import time\nwhile time.process_time() < 0.3: pass"
    parent = f"import subprocess,sys,time\nsubprocess.run([sys.executable, '-c', {child!r}])\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", parent]) as process:
        meter = TreeMeter(process.pid)
        deadline = time.monotonic() + 60
        while meter.read().cpu < 0.25 or (sample := meter.sample()) is None or not sample.halted:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        used = meter.read()
        process.kill()
        process.wait()
        assert meter.read() == used, "the last known figures stay"
        assert meter.sample() is None
        assert 0 <= used.guest <= 60
