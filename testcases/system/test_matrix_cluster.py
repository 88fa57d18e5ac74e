"""Matrices on a Dask cluster: a real scheduler and real workers, with a stand-in for each run."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from testcases.system.test_matrix_run import ROOT, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("distributed", reason="install the extra `dask`")
ENOUGH = "mem=1e9"


class Cluster:
    """A scheduler on loopback, and workers by name."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.workers: dict[str, subprocess.Popen[str]] = {}
        self.scheduler = self._start("distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard")
        self.address = self._said(self.scheduler, r"Scheduler at:\s+(tcp://\S+)")

    def add(self, name: str, *, resources: str = ENOUGH, **environment: str) -> None:
        words = ["--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--resources", resources]
        words += ["--local-directory", str(self.place)]
        self.workers[name] = self._start(
            "distributed.cli.dask_worker",
            *(self.address, *words),
            HARNESS_CACHE=str(self.cache(name)),
            **environment,
        )
        self._said(self.workers[name], r"(Registered to)")

    def cache(self, name: str) -> Path:
        return self.place / f"cache of {name}"

    def end(self) -> None:
        for process in (*self.workers.values(), self.scheduler):
            if process.poll() is None:
                process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()

    def _start(self, module: str, *words: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", module, "--host", "127.0.0.1", *words],
            cwd=ROOT,
            env=os.environ | environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def _said(process: subprocess.Popen[str], pattern: str) -> str:
        assert process.stderr is not None
        until, said = time.monotonic() + 60, ""
        while time.monotonic() < until and process.poll() is None:
            if select.select([process.stderr], [], [], 1)[0]:
                said += os.read(process.stderr.fileno(), 65536).decode()
                if match := re.search(pattern, said):
                    return match[1]
        raise AssertionError(said)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.end()


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    made = Trial(tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_cells_are_run_by_workers(cluster: Cluster, trial: Trial) -> None:
    cluster.add("one")
    cluster.add("two")
    trial.write("0.2-p", "0.1-ip", "0.1-k")
    ended = trial.result("--scheduler", cluster.address, status=3)
    assert {kernel: cell["outcome"] for kernel, cell in ended.items()} == {
        "0.2-p": "PASS",
        "0.1-ip": "PASS",
        "0.1-k": "PANIC",
    }
    assert ended["0.1-ip"]["flaky"]
    assert all(cell["run"] for cell in ended.values())


def test_workers_are_sent_what_they_boot_into_their_own_caches(cluster: Cluster, trial: Trial) -> None:
    cluster.add("one")
    cluster.add("two")
    trial.write("0-p", "0.1-p", "0.2-p", "0.1-ip", memory='["64M", "96M"]')
    trial.result("--scheduler", cluster.address, "--send-artifacts")
    has = [line for line in trial.log() if " has " in line]
    assert {line.split(" has ")[0] for line in has} == {"cache of one", "cache of two"}
    ours = {path.name for path in (trial.place / "cache/store/initramfs").iterdir()}
    for name in cluster.workers:
        theirs = {path.name for path in (cluster.cache(name) / "store/initramfs").iterdir()}
        assert theirs
        assert theirs <= ours
    assert not list(trial.place.rglob("*.tar"))
    trial.write(next(line for line in has if line.startswith("cache of one")).split(" has ")[1])
    cluster.workers["two"].kill()
    cluster.workers["two"].wait()
    trial.result("--scheduler", cluster.address, "--send-artifacts")


def test_a_worker_that_cannot_keep_what_it_is_sent_is_named(cluster: Cluster, trial: Trial) -> None:
    cluster.add("one")
    cluster.cache("one").mkdir()
    (cluster.cache("one") / "store").write_text("a file in the way")
    trial.write("0-p")
    cell = trial.result("--scheduler", cluster.address, "--send-artifacts", status=6)["0-p"]
    assert "artifacts do not get to the worker tcp://127.0.0.1" in str(cell["reason"])
    assert trial.log() == []


def test_a_worker_that_cannot_start_a_run_says_what_it_lacks(
    cluster: Cluster, trial: Trial, tmp_path: Path
) -> None:
    cluster.add("one", PATH=str(tmp_path))
    trial.write("0-p")
    cell = trial.result("--scheduler", cluster.address, status=6)["0-p"]
    assert str(cell["reason"]).startswith("cannot start a run: setpriv")
    assert trial.log() == []


def test_a_worker_that_dies_has_its_cell_run_elsewhere(cluster: Cluster, trial: Trial) -> None:
    cluster.add("one")
    trial.write("go-p")
    process = trial.start("--json", "--scheduler", cluster.address)
    trial.wait_for(lambda: trial.log() == ["began go-p 1"])
    cluster.add("two")
    cluster.workers["one"].kill()
    trial.wait_for(lambda: trial.log().count("began go-p 1") == 2)
    (trial.place / "go").touch()
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 0, complained
    assert '"PASS"' in said
    # The run of the worker that died was stopped, and did not go on beside the other one.
    assert sorted(trial.log()) == ["began go-p 1", "began go-p 1", "ended go-p 1", "stopped go-p"]


def test_a_controller_that_is_stopped_has_its_runs_stopped(cluster: Cluster, trial: Trial) -> None:
    cluster.add("one")
    trial.write("60-p")
    process = trial.start("--scheduler", cluster.address)
    trial.wait_for(lambda: trial.log() == ["began 60-p 1"])
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    trial.wait_for(lambda: "stopped 60-p" in trial.log())


def test_a_controller_that_dies_has_its_runs_stopped_and_is_resumed(cluster: Cluster, trial: Trial) -> None:
    cluster.add("one")
    trial.write("go-p")
    process = trial.start("--scheduler", cluster.address)
    trial.wait_for(lambda: trial.log() == ["began go-p 1"])
    process.kill()
    trial.wait_for(lambda: "stopped go-p" in trial.log())
    (trial.place / "go").touch()
    ended = trial.result("--scheduler", cluster.address, "--resume")
    assert [cell["outcome"] for cell in ended.values()] == ["PASS"]


def test_a_scheduler_that_dies_ends_the_matrix_which_goes_on_elsewhere(
    cluster: Cluster, trial: Trial
) -> None:
    cluster.add("one")
    trial.write("go-p")
    process = trial.start("--scheduler", cluster.address)
    trial.wait_for(lambda: trial.log() == ["began go-p 1"])
    cluster.scheduler.kill()
    _, complained = process.communicate(timeout=60)
    assert process.returncode == 6
    assert f"the scheduler {cluster.address} is gone" in complained
    assert "Traceback" not in complained
    trial.wait_for(lambda: "stopped go-p" in trial.log())
    (trial.place / "go").touch()
    assert trial.result("--resume")["go-p"]["attempts"] == 1


def test_a_resource_that_nobody_has_is_named_before_anything_waits(cluster: Cluster, trial: Trial) -> None:
    cluster.add("small", resources="mem=1e6 kvm=1")
    trial.write("0.1-p")
    cell = trial.result("--scheduler", cluster.address, status=2)["0.1-p"]
    assert cell["outcome"] == "CONFIG"
    assert "no worker has all that" in str(cell["reason"])
    assert "mem=64.0 MiB" in str(cell["reason"])
    assert trial.log() == []


def test_a_scheduler_that_does_not_answer_is_the_hosts_failure(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.write("0.1-p")
    done = trial.run("--scheduler", "tcp://127.0.0.1:1")
    assert done.returncode == 6
    assert "the scheduler tcp://127.0.0.1:1 does not answer" in done.stderr


def test_a_scheduler_without_workers_is_the_hosts_failure(cluster: Cluster, trial: Trial) -> None:
    trial.write("0.1-p")
    done = trial.run("--scheduler", cluster.address)
    assert done.returncode == 6
    assert "has no workers" in done.stderr
