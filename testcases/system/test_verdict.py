"""`harness verdict` as people call it: on files, records and standard input."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from testcases.support.log_prefixes import prefixed
from testcases.support.machines import recorded
from testcases.unit.test_reading import ended

if TYPE_CHECKING:
    from pathlib import Path


def harness(*arguments: str, log: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "harness", "verdict", *arguments]
    return subprocess.run(command, input=log, capture_output=True, check=False, timeout=60)


def test_command_explains_a_log_and_ends_with_its_code(tmp_path: Path) -> None:
    log = tmp_path / "posted.log"
    log.write_bytes(recorded("init-exits-3"))
    result = harness(str(log), "--plan", "relay")
    assert result.returncode == 3
    assert b"verdict  PANIC in stage sysb: the system's first process (PID 1) ended with" in result.stdout
    assert b"a log cannot show: gcc, power-off" in result.stdout
    shown = json.loads(harness(str(log), "--plan", "relay", "--json").stdout)
    assert (shown["result"]["verdict"]["outcome"], shown["prefix"]) == ("PANIC", "")
    unnamed = harness(str(log))
    assert (unnamed.returncode, b"--plan" in unnamed.stderr) == (2, True)


def test_command_takes_a_record_with_its_plan_and_times(tmp_path: Path) -> None:
    directory = ended(tmp_path)
    log = recorded("kexec-disabled")
    (directory / "console.raw").write_bytes(log)
    (directory / "console.idx").write_text("0 1.0\n100 2.0\n")
    result = harness("last", "--runs", str(tmp_path))
    assert result.returncode == 1
    assert b'kexec_load failed with "Operation not permitted"' in result.stdout


def test_command_reads_standard_input_and_names_what_it_left_out() -> None:
    log = prefixed("container", recorded("init-exits-3"))
    result = harness("-", "--plan", "relay", log=gzip.compress(log))
    assert result.returncode == 3
    assert b"left out before each line: 'linux_1  | '" in result.stdout
    empty = harness("-", "--plan", "relay")
    assert (empty.returncode, b"standard input is empty" in empty.stderr) == (2, True)
