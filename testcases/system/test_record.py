"""The record of a run that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from harness.record.record import RunDocument
from testcases.unit.test_record import INPUTS

if TYPE_CHECKING:
    from pathlib import Path


RUN_UNTIL_KILLED = f"""
import sys
from pathlib import Path
from harness.console.lines import Block
from harness.record.record import RunRecord
from harness.stages.events import StageBegan

with RunRecord(Path(sys.argv[1]), "relay", **{INPUTS!r}) as record:
    number = 0
    while True:
        record.event(StageBegan(f"stage {{number}}", number))
        record.heard(Block(b"line %d\\n" % number, number))
        record.update(facts={{"number": str(number)}})
        number += 1
        if number == 20:
            print(record.directory, flush=True)
"""


def test_a_killed_run_leaves_a_record_that_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN_UNTIL_KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        directory = tmp_path / process.stdout.readline().strip()
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    document = msgspec.json.decode((directory / "run.json").read_bytes(), type=RunDocument)
    assert (document.verdict, document.ended, document.pid) == (None, "", process.pid)
    events = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    assert len(events) >= int(document.facts["number"]) >= 19
    assert [event["offset"] for event in events] == list(range(len(events)))
    lines = (directory / "console.log").read_text().splitlines()
    assert lines[10].split(maxsplit=1)[1] == "line 10"
