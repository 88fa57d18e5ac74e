"""The recipe boots under every kernel of the set: each stage and check is a test of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core.outcome import Outcome
from harness.record.record import RunDocument
from harness.report.log import explain_stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.run.execute import Run


def test_stage(stage: str, require_stage: Callable[[str], None]) -> None:
    require_stage(stage)


def test_check(check: tuple[str, str], require_check: Callable[[tuple[str, str]], None]) -> None:
    require_check(check)


def test_verdict(bootstrap_run: Run) -> None:
    result = bootstrap_run.result
    assert result.verdict.outcome == Outcome.PASS, explain_stage(
        result, result.stages[-1], bootstrap_run.directory
    )


def test_record_shows_kernels_transitions_and_compiler(bootstrap_run: Run) -> None:
    document = msgspec.json.decode((bootstrap_run.directory / "run.json").read_bytes(), type=RunDocument)
    versions = {kernel.role: kernel.version for kernel in document.kernels}
    assert document.facts["seed_kernel"] == versions["seed"]
    assert document.facts["second_kernel"] == document.facts["sysc_kernel"] == versions["second"]
    assert versions["seed"].split(".")[:2] != versions["second"].split(".")[:2]
    assert document.facts["root_disk"] == document.facts["disk"]
    assert document.facts["gcc"]
    assert all(stage.cpu >= 0 and stage.wall > 0 for stage in document.stages)
    assert [stage.start for stage in document.stages] == sorted(stage.start for stage in document.stages)
    names = {path.name for path in bootstrap_run.directory.iterdir()}
    assert {
        "console.cast",
        "console.idx",
        "console.log",
        "console.raw",
        "events.jsonl",
        "inputs.lock.json",
        "qemu.cmd",
        "run.json",
    } <= names
