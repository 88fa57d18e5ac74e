from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.core.outcome import Outcome
from harness.record.history import Filter, newest
from harness.record.pruning import prune
from harness.record.record import RunRecord
from testcases.support.records import leave_run
from testcases.support.typed import typed

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 100_000  # bytes of each record's console
ENDS = {"p": Outcome.PASS, "f": Outcome.FAIL}


def leave(runs: Path, ends: str, kernel: str = "debian-6.1-i686") -> None:
    """Leave runs of a size that ended so, named by number and end."""
    for number, end in enumerate(ends):
        directory = leave_run(runs, f"{number}{end}-{kernel[0]}", kernel=kernel, outcome=ENDS[end])
        (directory / "console.raw").write_bytes(b"x" * SIZE)


def there(runs: Path) -> list[str]:
    return sorted(path.name for path in runs.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize(
    ("quota", "kept"),
    [
        (10 * SIZE, ["0p-d", "1f-d", "2p-d", "3p-d", "4f-d", "5f-d"]),
        (5.5 * SIZE, ["1f-d", "2p-d", "3p-d", "4f-d", "5f-d"]),
        (4.5 * SIZE, ["1f-d", "3p-d", "4f-d", "5f-d"]),
        (3.5 * SIZE, ["3p-d", "4f-d", "5f-d"]),
        (2.5 * SIZE, ["3p-d", "5f-d"]),
        (0, ["3p-d", "5f-d"]),  # the newest good one and the newest one
    ],
)
def test_the_oldest_good_ones_go_first_and_the_newest_stay(
    tmp_path: Path, quota: float, kept: list[str]
) -> None:
    leave(tmp_path, "pfppff")
    would = prune(tmp_path, int(quota), dry=True)
    assert len(there(tmp_path)) == 6
    done = prune(tmp_path, int(quota))
    assert done == would
    assert there(tmp_path) == kept
    assert len(done.gone) == 6 - len(kept)
    assert SIZE * len(kept) <= done.kept < SIZE * (len(kept) + 1)
    assert [run.id for run in newest(tmp_path, Filter(), 9)] == kept


def test_each_cell_keeps_its_own(tmp_path: Path) -> None:
    leave(tmp_path, "pp", kernel="a")
    leave(tmp_path, "pf", kernel="b")
    prune(tmp_path, 0)
    assert there(tmp_path) == ["0p-b", "1f-b", "1p-a"]


def test_runs_of_bisections_are_compared_with_nothing(tmp_path: Path) -> None:
    for number in range(3):
        labels = {"matrix": "bisect-1", "cell": f"relay/bisect/{number}"}
        directory = leave_run(tmp_path, f"{number}", labels=labels)
        (directory / "console.raw").write_bytes(b"x" * SIZE)
    leave(tmp_path, "p")
    prune(tmp_path, 2 * SIZE + SIZE // 2)
    assert there(tmp_path) == ["0p-d", "2"]


def test_what_goes_on_is_kept(tmp_path: Path) -> None:
    document = {"recipe": "relay", "plan": "relay", "recipe_sha256": "", "plan_sha256": ""}
    with (
        RunRecord(tmp_path, "relay", **document) as first,
        RunRecord(tmp_path, "relay", **document) as second,
    ):
        prune(tmp_path, 0)
        assert there(tmp_path) == sorted([first.directory.name, second.directory.name])


@pytest.mark.parametrize(("quota", "status"), [("1G", 0), ("1K", 1), ("much", 2)])
def test_the_command_says_whether_it_was_enough(tmp_path: Path, quota: str, status: int) -> None:
    leave(tmp_path, "pp")
    done = typed("prune", quota, "--runs", str(tmp_path))
    assert done.returncode == status, done.stderr
    assert ("0p-d\n1 records are removed" in done.stdout) == (status == 1)
