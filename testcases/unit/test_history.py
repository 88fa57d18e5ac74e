from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.outcome import Outcome
from harness.report.history import estimates
from harness.report.record import HostRecord, KernelRecord, RunDocument
from harness.stages.verdict import StageResult, StageStatus, Verdict

if TYPE_CHECKING:
    from pathlib import Path


def leave_run(
    runs: Path,
    name: str,
    *,
    recipe: str = "relay",
    kernel: str = "debian-6.1-i686",
    outcome: Outcome | None = Outcome.PASS,
    **walls: float,
) -> None:
    """Leave the record of a run that took so many seconds in these stages."""
    document = RunDocument(
        id=name,
        harness="0",
        recipe=recipe,
        plan="relay",
        recipe_sha256="",
        plan_sha256="",
        started="",
        pid=1,
        host=HostRecord("Linux", "", 1, 1),
        kernels=(
            KernelRecord("seed", kernel, "6.1", 32, ""),
            KernelRecord("second", "debian-5.10-i686", "5.10", 32, ""),
        ),
        verdict=Verdict(outcome, "", "") if outcome else None,
        stages=tuple(StageResult(stage, StageStatus.PASSED, wall=wall) for stage, wall in walls.items()),
    )
    (runs / name).mkdir()
    (runs / name / "run.json").write_bytes(msgspec.json.encode(document))


def test_without_runs_there_is_no_estimate(tmp_path: Path) -> None:
    assert estimates(tmp_path, "relay", "debian-6.1-i686") == {}
    assert estimates(tmp_path / "none", "relay", "debian-6.1-i686") == {}


def test_the_estimate_is_the_median_of_each_stage(tmp_path: Path) -> None:
    for number, wall in enumerate([3, 100, 4]):
        leave_run(tmp_path, f"2026010{number}", sysa=wall, gcc=wall * 10)
    assert estimates(tmp_path, "relay", "debian-6.1-i686") == {"sysa": 4, "gcc": 40}


def test_only_the_newest_five_runs_count(tmp_path: Path) -> None:
    for number in range(1, 9):
        leave_run(tmp_path, f"2026010{number}", sysa=number)
    assert estimates(tmp_path, "relay", "debian-6.1-i686") == {"sysa": 6}


@pytest.mark.parametrize(
    "foreign",
    [
        {"recipe": "another"},
        {"kernel": "debian-5.10-i686"},
        {"outcome": Outcome.FAIL},
        {"outcome": None},
    ],
)
def test_runs_of_another_kind_do_not_count(tmp_path: Path, foreign: dict[str, str]) -> None:
    leave_run(tmp_path, "20260101", sysa=1)
    for number in range(2, 9):
        leave_run(tmp_path, f"2026010{number}", sysa=99, **foreign)  # type: ignore[arg-type]
    assert estimates(tmp_path, "relay", "debian-6.1-i686") == {"sysa": 1}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 1}', '{"id": "of another version"}', "\xff"])
def test_records_that_cannot_be_read_do_not_matter(tmp_path: Path, text: str) -> None:
    leave_run(tmp_path, "20260101", sysa=1)
    (tmp_path / "20260102").mkdir()
    (tmp_path / "20260102/run.json").write_text(text, encoding="latin-1")
    (tmp_path / "20260103").mkdir()
    (tmp_path / "20260104").mkdir()
    (tmp_path / "20260104/run.json").mkdir()
    (tmp_path / "20260105").touch()
    assert estimates(tmp_path, "relay", "debian-6.1-i686") == {"sysa": 1}
