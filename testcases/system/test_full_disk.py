"""A disk that fills up while a run is recorded stops the run, and what was recorded stays readable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

RUN = """
import json, sys
from pathlib import Path
from harness.console.recorder import Recorder
from harness.stages.events import Audience
from harness.record.record import RunRecord
from harness.record.reading import read_run
from harness.stages.runner import Runner
from testcases.support.machines import FakeMachine, relay_without_checks

def script(guest):
    guest.say("[    0.000000] Linux version 6.1.0-50-686")
    while not guest.wait(0):
        guest.say(*["gcc -c a.c"] * 1000)

runs = Path(sys.argv[1])
inputs = {"recipe": "relay", "plan": "relay", "recipe_sha256": "", "plan_sha256": ""}
plan = relay_without_checks()
with RunRecord(runs, "full", **inputs) as record, FakeMachine(script) as machine:
    raw, index = record.directory / "console.raw", record.directory / "console.idx"
    with Recorder(machine.transport, raw, index) as recorder:
        record.watch(recorder)
        audience = Audience([record])
        result = Runner(plan, machine, recorder, accelerator="tcg", facts={}, listener=audience).follow()
    record.finish(result)
reading = read_run(record.directory)
raw = reading.raw.read_bytes()
print(json.dumps({
    "said": result.verdict.reason,
    "outcome": str(reading.document.verdict.outcome),
    "reason": reading.document.verdict.reason,
    "state": str(reading.state),
    "raw": len(raw),
    "first": raw.splitlines()[0].decode(),
    "log": len((record.directory / "console.log").read_bytes().splitlines()),
    "stages": [mark.text for mark in reading.stages()],
    "left": sorted(path.name for path in record.directory.iterdir()),
}))
"""


def test_disk_that_fills_up_while_a_run_is_recorded(tmp_path: Path) -> None:
    script, disk = tmp_path / "run.py", tmp_path / "disk"
    script.write_text(RUN, "utf-8")
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=3M tmpfs {disk} && exec {sys.executable} {script} {disk}"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if not done.stdout and done.stderr.startswith(("unshare", "mount")):
        pytest.skip(f"this host gives no mount of our own: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["outcome"], seen["state"]) == ("INFRA", "ended")
    assert seen["reason"] == seen["said"]
    assert "No space left on device" in seen["reason"]
    assert seen["raw"] > 1_000_000
    assert seen["first"] == "[    0.000000] Linux version 6.1.0-50-686"
    assert seen["log"] > 10_000
    assert seen["stages"] == ["sysa"]
