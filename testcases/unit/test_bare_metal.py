"""The report to paste, of records as runs leave them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from harness.cli import program
from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.record.reading import read_run
from harness.report.bare_metal import report
from testcases.support.records import leave_run

if TYPE_CHECKING:
    from pathlib import Path

SAID = {
    "sysa": "Linux version 6.1.0 (me@there) #1\n"
    "[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n"
    "[    0.000000 BIOS-e820: [mem 0x0000000000100000-0x000000007fffffff] usable\n"
    "[    0.000000] DMI: Acme Board|One, BIOS 1.2 01/02/2003\n"
    "[    0.100000] smpboot: CPU0: VIA Nehemiah (family: 0x6, model: 0x9, stepping: 0x8)\n",
    "sysb": "[    0.000000] Linux version 5.10.0\n"
    "[    0.000000] BIOS-e820: [mem 0x1-0x2] usable\n"
    "```\nthe end\n",
}


def test_it_has_machine_memory_map_kernels_stages_verdict_and_log(tmp_path: Path) -> None:
    leave_run(tmp_path, "a-run", outcome=Outcome.HANG, console=SAID, sysa=12.5, sysb=3.0)
    lines = list(report(read_run(tmp_path / "a-run")))
    text = "\n".join(lines)
    assert lines[0] == "## relay: HANG in stage sysa"
    assert "as the test has it" in lines
    assert "| machine | Acme Board\\|One, BIOS 1.2 01/02/2003 |" in lines
    assert "| processor | VIA Nehemiah (family: 0x6, model: 0x9, stepping: 0x8) |" in lines
    assert "| came up | Linux 6.1.0 (me@there) #1 |" in lines
    assert "| came up | Linux 5.10.0 |" in lines
    assert "| sysa | passed | 12.5 | 0 |" in lines
    assert "| total | | 15.5 | |" in lines
    # The firmware's map, not what kexec hands on.
    assert "[mem 0x0000000000000000-0x000000000009fbff] usable" in lines
    assert "[mem 0x0000000000100000-0x000000007fffffff] usable" in lines
    assert "[mem 0x1-0x2] usable" not in lines
    # A fence that is longer than any in the log.
    assert "````\nLinux version 6.1.0" in text
    assert text.rstrip().endswith("the end\n````")
    assert str(tmp_path) not in text


def test_it_is_printed_and_asked_for(tmp_path: Path) -> None:
    leave_run(tmp_path, "a-run", console=SAID, sysa=1.0)
    printed = CliRunner().invoke(program(), ["report", "last", "--bare-metal", "--runs", str(tmp_path)])
    assert printed.exit_code == 0
    assert printed.output.startswith("## relay: PASS")
    refused = CliRunner().invoke(program(), ["report", "last", "--runs", str(tmp_path)])
    assert isinstance(refused.exception, ConfigError)


@pytest.mark.parametrize("console", [None, {"sysa": ""}])
def test_a_run_that_said_nothing_is_reported_too(tmp_path: Path, console: dict[str, str] | None) -> None:
    directory = leave_run(tmp_path, "a-run", outcome=None, console=console, machine=False)
    if console is None:
        for name in ("console.raw", "console.idx", "events.jsonl"):
            (directory / name).write_bytes(b"")
    assert "harness was killed" in next(report(read_run(directory)))
