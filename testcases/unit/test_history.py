from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.outcome import Outcome
from harness.record.history import Filter, cell_seconds, cells, estimates, newest, sparkline
from testcases.support.records import leave_run

if TYPE_CHECKING:
    from pathlib import Path


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
        {"taken_over": True},
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


CELL = "relay/debian-6.1-i686/qemu-tcg/1024M"


def leave_runs(runs: Path, ends: str, **others: str) -> None:
    """Leave runs that ended so, one letter each: pass, fail, panic, infra, interrupted."""
    outcomes = {
        "p": Outcome.PASS,
        "f": Outcome.FAIL,
        "k": Outcome.PANIC,
        "i": Outcome.INFRA,
        "c": Outcome.INTERRUPTED,
    }
    for number, letter in enumerate(ends):
        leave_run(runs, f"2026-{number:03}", outcome=outcomes[letter], sysa=number + 1, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ends", "passed", "flaky", "since"),
    [
        ("ppp", 3, 0, ("", "2026-002")),
        ("pfpp", 3, 0.25, ("", "2026-003")),
        ("ppkf", 2, 0.5, ("2026-002", "2026-001")),
        ("fff", 0, 0, ("2026-000", "")),
        ("ppc", 2, 0, ("", "2026-001")),
        ("ip", 1, 0.5, ("", "2026-001")),
    ],
)
def test_a_cell_knows_its_flakes_and_since_when_it_is_bad(
    tmp_path: Path, ends: str, passed: int, flaky: float, since: tuple[str, str]
) -> None:
    leave_runs(tmp_path, ends)
    [cell] = cells(tmp_path, Filter())
    assert (cell.cell, cell.passed, cell.flaky) == (CELL, passed, flaky)
    assert (cell.first_bad, cell.last_good) == since
    assert cell.runs == len(ends.replace("c", ""))


def test_other_inputs_that_fail_are_no_flakes(tmp_path: Path) -> None:
    leave_run(tmp_path, "2026-1", inputs="old")
    leave_run(tmp_path, "2026-2", inputs="new", outcome=Outcome.FAIL)
    [cell] = cells(tmp_path, Filter())
    assert (cell.flaky, cell.first_bad, cell.last) == (0, "2026-2", "FAIL")


def test_a_filter_takes_patterns(tmp_path: Path) -> None:
    leave_run(tmp_path, "2026-1", kernel="debian-6.1-i686")
    leave_run(tmp_path, "2026-2", kernel="debian-5.10-i686", recipe="bench")
    assert [run.id for run in newest(tmp_path, Filter(kernel="debian-6.*"), 9)] == ["2026-1"]
    assert [run.id for run in newest(tmp_path, Filter(kernel="debian-*"), 1)] == ["2026-2"]
    assert [cell.last_run for cell in cells(tmp_path, Filter(recipe="bench"))] == ["2026-2"]
    assert cells(tmp_path, Filter(recipe="relay", accelerator="kvm")) == []
    assert cells(tmp_path, Filter(recipe="'; DROP TABLE run; --")) == []


def test_the_duration_of_a_cell_is_the_median_of_its_newest_good_runs(tmp_path: Path) -> None:
    leave_runs(tmp_path, "ppppppf")
    assert cell_seconds(tmp_path) == {CELL: 4}
    [cell] = cells(tmp_path, Filter())
    assert (cell.seconds, cell.durations) == (4, (1, 2, 3, 4, 5, 6))


def test_what_a_person_typed_says_nothing_about_a_cell(tmp_path: Path) -> None:
    leave_run(tmp_path, "2026-1", sysa=2)
    leave_run(tmp_path, "2026-2", sysa=900, taken_over=True)
    leave_run(tmp_path, "2026-3", sysa=1, outcome=Outcome.HANG, taken_over=True)
    [cell] = cells(tmp_path, Filter())
    assert (cell.runs, cell.last_run, cell.first_bad, cell.durations) == (1, "2026-1", "", (2,))
    assert cell_seconds(tmp_path) == {CELL: 2}


def test_a_label_says_which_cell_a_run_without_machine_was_of(tmp_path: Path) -> None:
    leave_run(tmp_path, "2026-1", machine=False, outcome=Outcome.INFRA, labels={"cell": "mine"})
    leave_run(tmp_path, "2026-2", machine=False, outcome=Outcome.INFRA)
    assert [cell.cell for cell in cells(tmp_path, Filter())] == ["mine", "relay/debian-6.1-i686"]


@given(st.lists(st.floats(0, 1e9)))
def test_a_sparkline_has_a_bar_for_each_number_and_higher_ones_for_larger(numbers: list[float]) -> None:
    line = sparkline(numbers)
    assert len(line) == len(numbers)
    by_number = [bar for _, bar in sorted(zip(numbers, line, strict=True))]
    assert by_number == sorted(by_number)
