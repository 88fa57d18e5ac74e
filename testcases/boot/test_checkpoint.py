"""Checkpoints of the real relay: saved on the way, resumed once, twice at once, and from a resumed run."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.core.errors import ConfigError, InfraError
from harness.core.files import remove
from harness.core.outcome import Outcome
from harness.record.record import RunDocument
from harness.report.log import explain_stage
from harness.run import checkpoints
from harness.run.request import StageRange
from harness.stages.verdict import StageStatus
from harness.store import Store
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.image.factory import Build
    from harness.run.execute import Run


class Lab:
    """Runs of the relay whose checkpoints are of this session alone."""

    def __init__(self, built: Build, cache: Path, runs: Path) -> None:
        self.store = Store(cache)
        self._built = built
        self._cache = cache
        self._runs = runs
        self._word = f"session={secrets.token_hex(8)}"  # on the command line, so that no other one fits

    def boot(self, part: StageRange, *, memory: int | None = None) -> Run:
        return run_built(
            self._built, cache=self._cache, runs=self._runs, append=self._word, part=part, memory=memory
        )

    def saved(self) -> dict[str, checkpoints.Checkpoint]:
        there = checkpoints.saved(self.store)
        return {
            one.state.boundary.stage: one for one in there if self._word in str(one.identity["command_line"])
        }


@pytest.fixture(scope="module")
def lab(relay: Build, harness_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(relay, harness_cache, tmp_path_factory.mktemp("runs"))
    try:
        yield lab
    finally:
        for checkpoint in lab.saved().values():
            remove(checkpoint.path)


@pytest.fixture(scope="module")
def first(lab: Lab) -> Run:
    """A run that is saved at sysb and stops at the prompt."""
    return lab.boot(StageRange(save=("sysb",), until="shell"))


def document(run: Run) -> RunDocument:
    return msgspec.json.decode((run.directory / "run.json").read_bytes(), type=RunDocument)


def assert_passed(run: Run) -> None:
    result = run.result
    assert result.verdict.outcome == Outcome.PASS, explain_stage(result, result.stages[-1], run.directory)


def assert_resumed(run: Run, origin: Run, stage: str) -> None:
    assert_passed(run)
    names = [one.name for one in run.result.stages]
    statuses = [one.status for one in run.result.stages]
    before = names.index(stage)
    assert statuses == [StageStatus.RESUMED] * before + [StageStatus.PASSED] * (len(names) - before)
    resumed = document(run).resumed
    assert resumed is not None
    assert (resumed.run, resumed.stage) == (document(origin).id, stage)
    assert run.result.verdict.reason.startswith(f"resumed at {stage}")
    earlier = (origin.directory / "console.raw").read_bytes()
    begins = next(one.start for one in run.result.stages if one.name == stage)
    assert (run.directory / "console.raw").read_bytes()[:begins] == earlier[:begins]
    assert run.result.facts["seed_kernel"] == origin.result.facts["seed_kernel"]
    assert run.result.facts["nonce"] != origin.result.facts["nonce"]
    assert run.result.checks[-1].name == "floating-point", "GCC worked on a number of this run"
    assert not list(run.directory.glob("*.qcow2")), "the overlay goes with the run"


def test_until_saves_and_stops(first: Run, lab: Lab) -> None:
    assert_passed(first)
    statuses = {stage.name: stage.status for stage in first.result.stages}
    assert statuses["sysc"] == StageStatus.PASSED
    assert statuses["shell"] == statuses["gcc"] == StageStatus.NOT_REACHED
    assert [saved.stage for saved in document(first).checkpoints] == ["sysb", "shell"]
    assert all(saved.new and saved.size < 256 << 20 for saved in document(first).checkpoints)
    assert lab.saved().keys() >= {"sysb", "shell"}


def test_resumed_in_the_second_kernel_and_saved_again(first: Run, lab: Lab) -> None:
    run = lab.boot(StageRange("sysb", save=("gcc",)))
    assert_resumed(run, first, "sysb")
    again = lab.boot(StageRange("gcc"))
    assert_resumed(again, run, "gcc")


@pytest.mark.thorough
def test_two_resume_one_checkpoint_at_once(first: Run, lab: Lab) -> None:
    checkpoint = lab.saved()["shell"]
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lab.boot, [StageRange("shell")] * 2))
    for run in runs:
        assert_resumed(run, first, "shell")
    assert runs[0].result.facts["nonce"] != runs[1].result.facts["nonce"]
    assert checkpoints.find(lab.store, checkpoint.identity) == checkpoint, "and it is as it was"


def test_another_machine_is_refused(first: Run, lab: Lab) -> None:
    del first
    with pytest.raises(ConfigError, match=r"has 1\.0 GiB of memory, and this run 512 MiB"):
        lab.boot(StageRange("shell"), memory=512 << 20)


def test_damaged(first: Run, lab: Lab) -> None:
    del first
    saved = lab.saved()["sysb"]
    with (saved.path / "memory.zst").open("r+b") as file:
        file.seek(1 << 20)
        byte = file.read(1)
        file.seek(1 << 20)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(InfraError, match=r"is damaged: memory\.zst has another content"):
        lab.boot(StageRange("sysb"))
