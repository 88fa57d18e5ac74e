"""The index of records: always what is in `runs/`, whoever writes, whatever breaks."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.machine.protocol import MachineRecord
from harness.record import index
from harness.record.history import Filter, cells, estimates, newest
from harness.record.record import RunDocument, RunRecord
from harness.stages.verdict import RunResult, Verdict
from testcases.support.records import leave_run

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]


def known(runs: Path) -> list[str]:
    return [run.id for run in newest(runs, Filter(), 1000)]


def let_time_pass(runs: Path) -> None:
    """As if the directory had been left alone for a while."""
    long_ago = time.time() - 3600
    os.utime(runs, (long_ago, long_ago))


def test_records_come_and_go(tmp_path: Path) -> None:
    leave_run(tmp_path, "1")
    let_time_pass(tmp_path)
    assert known(tmp_path) == ["1"]
    leave_run(tmp_path, "2")
    assert known(tmp_path) == ["1", "2"]
    shutil.rmtree(tmp_path / "1")
    assert known(tmp_path) == ["2"]


def test_a_directory_that_did_not_change_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_run(tmp_path, "1")
    assert known(tmp_path) == ["1"]
    let_time_pass(tmp_path)
    assert known(tmp_path) == ["1"]
    monkeypatch.setattr(os, "listdir", lambda _: pytest.fail("it was listed"))
    assert known(tmp_path) == ["1"]


def test_a_record_that_is_only_a_directory_yet_is_not_forgotten(tmp_path: Path) -> None:
    (tmp_path / "2").mkdir()
    let_time_pass(tmp_path)
    assert known(tmp_path) == []
    let_time_pass(tmp_path)
    shutil.copy(
        leave_run(tmp_path.parent, f"elsewhere-{tmp_path.name}") / "run.json", tmp_path / "2/run.json"
    )
    assert known(tmp_path) == ["2"]


def test_a_run_that_goes_on_is_looked_at_again(tmp_path: Path) -> None:
    document = {"recipe": "relay", "plan": "relay", "recipe_sha256": "", "plan_sha256": ""}
    with RunRecord(tmp_path, "relay", **document) as record:
        let_time_pass(tmp_path)
        assert [run.state for run in newest(tmp_path, Filter(), 9)] == ["running"]
        record.finish(RunResult(Verdict(Outcome.FAIL, "gcc", "no"), ()))
        let_time_pass(tmp_path)
    [run] = newest(tmp_path, Filter(), 9)
    assert (run.state, run.outcome) == ("ended", "FAIL")


def test_a_run_is_remembered_when_it_ends(tmp_path: Path) -> None:
    directory = leave_run(tmp_path, "1")
    index.remember(directory)
    with sqlite3.connect(tmp_path / index.PLACE) as connection:
        assert connection.execute("SELECT id, outcome FROM run").fetchall() == [("1", "PASS")]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"this is no database, and never was one" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(b""),
    ],
    ids=["nonsense", "cut off", "empty"],
)
def test_a_damaged_index_is_made_again(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    leave_run(tmp_path, "1")
    let_time_pass(tmp_path)
    assert known(tmp_path) == ["1"]
    damage(tmp_path / index.PLACE)
    assert known(tmp_path) == ["1"]
    assert known(tmp_path) == ["1"]


def test_an_older_index_is_made_again(tmp_path: Path) -> None:
    leave_run(tmp_path, "1")
    assert known(tmp_path) == ["1"]
    with sqlite3.connect(tmp_path / index.PLACE) as connection:
        connection.execute("PRAGMA user_version = 1")
        connection.execute("DROP TABLE stage")
        connection.execute("ALTER TABLE run RENAME COLUMN kernel TO seed")
    assert known(tmp_path) == ["1"]
    assert estimates(tmp_path, "relay", "debian-6.1-i686") == {}


@pytest.mark.parametrize(
    ("machine", "cell"),
    [
        (("chroot", "native", "", 1 << 30, "/init", "", "none", "none"), "relay/chroot/1024M"),
        (
            ("board", "native", "", 2 << 30, "", "", "board", "uefi", False, "none", "shelf"),
            "relay/board:shelf",
        ),
        (("qemu", "kvm", "", 1 << 30, "", "7.2", "cd", "uefi"), "relay/qemu-kvm/1024M/cd/uefi"),
    ],
)
def test_cells_are_named_by_what_a_run_can_choose(
    tmp_path: Path, machine: tuple[Any, ...], cell: str
) -> None:
    directory = leave_run(tmp_path, "1")
    document = msgspec.json.decode((directory / "run.json").read_bytes(), type=RunDocument)
    changed = msgspec.structs.replace(document, machine=MachineRecord(*machine), kernels=())
    (directory / "run.json").write_bytes(msgspec.json.encode(changed))
    assert [each.cell for each in cells(tmp_path, Filter())] == [cell]


def test_a_newer_index_is_left_alone(tmp_path: Path) -> None:
    leave_run(tmp_path, "1", sysa=1)
    assert known(tmp_path) == ["1"]
    with sqlite3.connect(tmp_path / index.PLACE) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = (tmp_path / index.PLACE).read_bytes()
    with pytest.raises(ConfigError, match=r"history\.db was written by a newer version") as caught:
        cells(tmp_path, Filter())
    assert "made again from the records" in caught.value.hint
    assert estimates(tmp_path, "relay", "debian-6.1-i686") == {}  # no reason to end a run
    index.remember(tmp_path / "1")
    assert (tmp_path / index.PLACE).read_bytes() == before


@pytest.mark.parametrize("place", [".index", ".index/history.db"])
def test_where_nothing_can_be_written_records_are_read_all_the_same(tmp_path: Path, place: str) -> None:
    leave_run(tmp_path, "1")
    if place == ".index":
        (tmp_path / place).write_text("a file where the directory should be")
    else:
        (tmp_path / place).mkdir(parents=True)
    index.remember(tmp_path / "1")
    assert known(tmp_path) == ["1"]


FULL = """
import resource, signal, sys
from pathlib import Path
from harness.record import index
from harness.record.history import Filter, newest
from testcases.support.records import leave_run
runs = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for number in range(200):
    leave_run(runs, f"{number:03}", sysa=1, gcc=2)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # no file grows beyond: the disk is full
index.remember(runs / "000")
print(len(newest(runs, Filter(), 1000)))
"""


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("200\n", 0), done.stderr
    assert len(known(tmp_path)) == 200  # and with space again


WRITER = """
import sys
from pathlib import Path
from harness.record import index
from harness.record.history import Filter, cells
from testcases.support.records import leave_run
runs, mine = Path(sys.argv[1]), sys.argv[2]
for number in range(25):
    index.remember(leave_run(runs, f"{mine}-{number:03}", sysa=1))
    if number % 5 == 0:
        cells(runs, Filter())
"""


def test_many_write_at_once(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(mine)], cwd=ROOT)
        for mine in range(6)
    ]
    assert [writer.wait() for writer in writers] == [0] * 6
    with sqlite3.connect(tmp_path / index.PLACE) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(known(tmp_path)) == 150


def test_made_anew_it_is_the_same(tmp_path: Path) -> None:
    for number, outcome in enumerate([Outcome.PASS, Outcome.FAIL, None, Outcome.PASS]):
        leave_run(tmp_path, f"{number}", outcome=outcome, sysa=number)
    (tmp_path / "5").mkdir()
    (tmp_path / "5/run.json").write_text("{")
    before = newest(tmp_path, Filter(), 9), cells(tmp_path, Filter())
    assert index.rebuild(tmp_path) == 4
    assert (newest(tmp_path, Filter(), 9), cells(tmp_path, Filter())) == before
