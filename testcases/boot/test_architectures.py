"""The relay on every architecture whose QEMU is installed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from harness.core.architecture import architecture_files, load_architecture
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions, build
from harness.machine.command import qemu_program
from harness.payload.chosen import recipe_for
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", [name for name in architecture_files() if name != "x86"])
def test_relay(harness_cache: Path, tmp_path: Path, name: str) -> None:
    qemu = load_architecture(name).qemu
    if shutil.which(qemu.program) is None:
        pytest.skip(f"apt-get install --no-install-recommends {qemu.package}")
    built = build(recipe_for("relay", None, name), BuildOptions(cache=harness_cache), Quiet())
    run = run_built(built, cache=harness_cache, runs=tmp_path)
    assert run.result.verdict.outcome == Outcome.PASS, run.result.verdict
    assert run.result.facts["gcc_target"].startswith(f"{load_architecture(name).target}-")
    assert run.result.facts["second_kernel"] == built.kernels["second"].image.version
    assert qemu_program(name) in (run.directory / "qemu.cmd").read_text()
