"""Matrices from the outside: the real program, queue and processes, with a stand-in for each run."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.machine import admission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]


class Trial:
    """A matrix with these kernels, in a directory of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.runs = place / "runs"
        self.file = place / "trial.toml"
        self.processes: list[subprocess.Popen[str]] = []

    def write(self, *kernels: str, more: str = "", memory: str = '["64M"]') -> None:
        self.file.write_text(
            'summary = "a trial"\n[axes]\nrecipes = ["relay"]\naccelerators = ["tcg"]\n'
            f"kernels = {json.dumps(kernels)}\nmemory = {memory}\n{more}"
        )

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "testcases.support.stub_matrix", "matrix", "run", str(self.file)]
        command += ["--runs", str(self.runs), "--cache", str(self.place / "cache"), *options]
        process = subprocess.Popen(
            command,
            cwd=self.place,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*options)
        said, complained = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, said, complained)

    def result(self, *options: str, status: int = 0) -> dict[str, dict[str, object]]:
        """What a run came to, by kernel."""
        done = self.run("--json", *options)
        assert done.returncode == status, done.stderr
        return {cell["kernel"]: cell for cell in json.loads(done.stdout)["cells"]}

    def log(self) -> list[str]:
        return (self.place / "log").read_text().splitlines() if (self.place / "log").exists() else []

    def wait_for(self, what: Callable[[], bool]) -> None:
        until = time.monotonic() + 300
        while not what():
            assert time.monotonic() < until, self.log()
            time.sleep(0.02)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    made = Trial(tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_all_cells_run_and_the_worst_that_may_not_fail_decides(trial: Trial) -> None:
    rule = '[[rule]]\nkernel = "0.01-f"\nallow = "fail"\nreason = "known"\nexpires = 2999-01-01\n'
    trial.write("0-p", "0.01-f", "0-k", more=rule)
    cells = trial.result(status=3)
    assert {kernel: cell["outcome"] for kernel, cell in cells.items()} == {
        "0-p": "PASS",
        "0.01-f": "FAIL",
        "0-k": "PANIC",
    }
    for cell in cells.values():
        assert (trial.runs / str(cell["run"]) / "run.json").is_file()
        assert cell["attempts"] == 1
    trial.write("0-p", "0.01-f", more=rule)
    assert trial.run().returncode == 0


def test_what_went_wrong_at_the_host_is_run_once_more(trial: Trial) -> None:
    trial.write("0-ip", "0-ii", "0-xp", "0-fp")
    cells = trial.result(status=1)
    found = {kernel: (cell["outcome"], cell["flaky"], cell["attempts"]) for kernel, cell in cells.items()}
    assert found == {
        "0-ip": ("PASS", True, 2),
        "0-ii": ("INFRA", False, 2),
        "0-xp": ("PASS", True, 2),
        "0-fp": ("FAIL", False, 1),
    }
    assert cells["0-ii"]["reason"] == "QEMU is gone"
    assert (trial.runs / str(cells["0-ii"]["run"]) / "run.json").is_file()  # though the answer named none


def test_a_board_has_one_run_at_a_time_and_takes_no_place(trial: Trial) -> None:
    (trial.place / "lab").mkdir()
    (trial.place / "lab/shelf.toml").write_text(
        'summary = "s"\ncpu = 32\nmemory = "1G"\n[serial]\nport = "/dev/null"\n[power]\nmanual = true\n'
    )
    boards = "".join(
        f'[[include]]\nrecipe = "relay"\nmachine = "board:{board}"\nkernel = "{kernel}"\n'
        for board, kernel in (("shelf", "0.2-p"), ("shelf", "0.3-p"), ("gone", "0.1-p"))
    )
    trial.write("0.9-p", more=boards, memory='["64M"]')
    cells = trial.result(status=2)
    assert {kernel: cell["outcome"] for kernel, cell in cells.items()} == {
        "0.9-p": "PASS",
        "0.2-p": "PASS",
        "0.3-p": "PASS",
        "0.1-p": "CONFIG",
    }
    assert "there is no board 'gone'" in str(cells["0.1-p"]["reason"])
    of_shelf = [line.partition(" ")[0] for line in trial.log() if "0.9-p" not in line]
    assert of_shelf == ["began", "ended"] * 2


def test_a_process_that_dies_takes_nobody_along(trial: Trial) -> None:
    trial.write("0-xx", "0.3-p")
    cells = trial.result(status=6)
    assert "killed by SIGKILL" in str(cells["0-xx"]["reason"])
    assert cells["0.3-p"]["outcome"] == "PASS"


def test_what_took_longest_before_begins_first(trial: Trial) -> None:
    trial.write("0.1-p", "0.3-p", "0.2-p")
    trial.result("--jobs", "1")
    (trial.place / "log").unlink()
    trial.result("--jobs", "1")
    assert [line for line in trial.log() if "began" in line] == [
        "began 0.3-p 1",
        "began 0.2-p 1",
        "began 0.1-p 1",
    ]


def most_at_once(log: list[str]) -> int:
    now = most = 0
    for line in log:
        now += {"began": 1, "ended": -1}[line.split()[0]]
        most = max(most, now)
    return most


def test_no_more_at_once_than_asked_for_and_than_the_host_carries(trial: Trial) -> None:
    trial.write(*(f"0.2-{'p' * length}" for length in range(1, 6)))
    trial.result("--jobs", "1")
    assert most_at_once(trial.log()) == 1
    (trial.place / "log").unlink()
    trial.result()
    assert most_at_once(trial.log()) <= admission.places()
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    (trial.place / "log").unlink()
    trial.write("0.2-p", "0.2-pp", memory=f'["{int(total * 0.7) >> 20}M"]')  # two of them do not fit
    trial.result()
    assert most_at_once(trial.log()) == 1


def test_a_guest_that_never_fits_is_said_and_the_others_run(trial: Trial) -> None:
    trial.write("0-p", memory='["64M", "90000G"]')
    done = trial.run("--json")
    cells = {cell["memory"]: cell for cell in json.loads(done.stdout)["cells"]}
    assert done.returncode == 2
    assert "does not fit this host" in cells[90000 << 30]["reason"]
    assert cells[64 << 20]["outcome"] == "PASS"


def test_shared_images_are_built_once(trial: Trial) -> None:
    trial.write("0-p", "0-pp", memory='["64M", "96M", "128M"]')
    trial.result()
    assert sorted((trial.place / "built").read_text().splitlines()) == ["0-p sysa sysc", "0-pp sysa sysc"]


def test_what_cannot_be_built_is_said_and_the_others_run(trial: Trial) -> None:
    trial.write("no-config", "no-archive", "no-sense", "0-p", memory='["64M", "96M"]')
    done = trial.run("--json")
    assert done.returncode == 70
    cells = json.loads(done.stdout)["cells"]
    assert {(cell["kernel"], cell["outcome"], cell["reason"]) for cell in cells} == {
        ("no-config", "CONFIG", "there is no such kernel"),
        ("no-archive", "INFRA", "the archive does not answer"),
        ("no-sense", "BUG", "a mistake of ours: ZeroDivisionError: "),
        ("0-p", "PASS", ""),
    }
    tried = [line.split()[0] for line in (trial.place / "built").read_text().splitlines()]
    assert tried == ["no-config", "no-archive", "no-archive", "no-sense", "0-p"]  # INFRA once more
    assert "Traceback" not in done.stderr


def test_a_killed_matrix_takes_its_runs_along_and_is_gone_on_with(trial: Trial) -> None:
    trial.write("0-p", "30-p", "31-f")
    process = trial.start("--jobs", "2")
    trial.wait_for(
        lambda: {"began 30-p 1", "ended 0-p 1"} <= set(trial.log()) or "began 31-f 1" in trial.log()
    )
    trial.wait_for(lambda: sum("began" in line for line in trial.log()) >= 2)
    process.kill()
    trial.wait_for(lambda: any("stopped" in line for line in trial.log()))
    stopped = len(trial.log())
    # The rest is quick by now: the file does not count any more, the queue does.
    queue = trial.runs / ".matrix/trial/queue.db"
    with sqlite3.connect(queue) as connection:
        connection.execute(
            "UPDATE job SET cell = replace(cell, '30-p', '0.1-p'), name = replace(name, '30-p', '0.1-p')"
        )
        connection.execute(
            "UPDATE job SET cell = replace(cell, '31-f', '0.1-f'), name = replace(name, '31-f', '0.1-f')"
        )
    cells = trial.result("--resume", status=1)
    assert {kernel: cell["outcome"] for kernel, cell in cells.items()} == {
        "0-p": "PASS",
        "0.1-p": "PASS",
        "0.1-f": "FAIL",
    }
    assert all(cell["attempts"] == 1 and not cell["flaky"] for cell in cells.values())
    again = [line for line in trial.log()[stopped:] if line.startswith("began 0-p")]
    ended_before = "ended 0-p 1" in trial.log()[:stopped]
    assert len(again) == (0 if ended_before else 1)


def test_a_run_that_ended_unseen_is_taken_from_its_record(trial: Trial) -> None:
    trial.write("0-p", "0-f")
    trial.result(status=1)
    queue = trial.runs / ".matrix/trial/queue.db"
    with sqlite3.connect(queue) as connection:  # as if we had been killed before this was noted
        connection.execute("UPDATE job SET state = 'running', outcome = '', run = ''")
    before = trial.log()
    cells = trial.result("--resume", status=1)
    assert {kernel: cell["outcome"] for kernel, cell in cells.items()} == {"0-p": "PASS", "0-f": "FAIL"}
    assert trial.log() == before


def test_ctrl_c_stops_the_runs_and_says_how_to_go_on(trial: Trial) -> None:
    trial.write("30-p")
    process = trial.start()
    trial.wait_for(lambda: "began 30-p 1" in trial.log())
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "--resume goes on where it stopped" in said
    assert trial.log() == ["began 30-p 1", "stopped 30-p"]


def test_only_one_process_works_a_matrix_off(trial: Trial) -> None:
    trial.write("30-p")
    trial.start()
    trial.wait_for(lambda: "began 30-p 1" in trial.log())
    done = trial.run()
    assert done.returncode == 2
    assert "the matrix trial is being run by another process" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--select", "kernel=9*"], "fits no cell"),
        (["--select", "colour=red"], "'colour' is no key"),
        (["--resume"], "there is no run of trial"),
        (["--resume", "--select", "0"], "--select cannot change them"),
    ],
)
def test_mistakes_are_found_before_anything_runs(trial: Trial, options: list[str], words: str) -> None:
    trial.write("0-p")
    done = trial.run(*options)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert trial.log() == []


def test_a_queue_of_a_newer_version_is_left_alone(trial: Trial) -> None:
    trial.write("0-p")
    trial.result()
    with sqlite3.connect(trial.runs / ".matrix/trial/queue.db") as connection:
        connection.execute("PRAGMA user_version = 7")
    done = trial.run()
    assert done.returncode == 2
    assert "queue.db was written by a newer version" in done.stderr
    assert len(trial.log()) == 2


def test_the_plan_knows_what_was_run_before(trial: Trial) -> None:
    trial.write("0.5-p", "0.1-p")
    trial.result()
    trial.write("0.5-p", "0.1-p", "0-new")
    command = [sys.executable, "-m", "harness", "matrix", "plan", str(trial.file), "--json"]
    command += ["--runs", str(trial.runs), "--cache", str(trial.place / "cache"), "--jobs", "1"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    plan = json.loads(said)
    assert [cell["seconds"] for cell in plan["cells"]] == [
        0.5,
        0.1,
        0.5,
    ]  # as long as the longest, if unknown
    assert plan["seconds"] == pytest.approx(1.1)
