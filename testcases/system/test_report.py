"""The report, built in several processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from testcases.support.records import leave_run
from testcases.unit.test_report import report

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    directory = tmp_path / "runs"
    directory.mkdir()
    return directory


def test_processes_for_each_core_make_the_same_pages(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        name = f"20260101-00000{number}-relay-{number:04}"
        leave_run(runs, name, sysa=number + 1.0, console={"sysa": "hello\n" * number})
    report(tmp_path)
    (tmp_path / "report").rename(tmp_path / "alone")
    monkeypatch.setattr("harness.report.site.build._MUCH", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert report(tmp_path).rendered == 5
    made = [
        {path.relative_to(top): path.read_bytes() for path in top.rglob("*") if path.is_file()}
        for top in (tmp_path / "alone", tmp_path / "report")
    ]
    assert made[0] == made[1]
