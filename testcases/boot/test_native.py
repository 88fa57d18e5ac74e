"""The relay without a kernel of its own: the same shell and compiler, and what they see of their place."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.image.factory import Build
from harness.machine import native
from harness.machine.protocol import MachineKind
from harness.recipe import load_recipe
from harness.record.record import RunDocument
from harness.run.prepare import to_build
from harness.run.request import RunRequest
from harness.stages.verdict import StageStatus
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = """
[[stage.checks]]
name = "{name}"
run = '''{run}'''
output = '''{output}'''
proves = "{name}"
"""
# What is asked, and what a payload in an enclosure has to answer.
PLACE = {
    "loopback-only": (r"tail -n +3 /proc/net/dev | cut -d: -f1", r"\s*lo"),
    "loopback-up": (r"exec 3<>/dev/udp/127.0.0.1/9 && echo up", "up"),
    "environment": ("tr '\\0' '\\n' </proc/1/environ | busybox grep -c HARNESS_SECRET || true", "0"),
    "host-gone": ("ls -d /proc/1/root/work /host 2>/dev/null | wc -l", "0"),
    "few-processes": ("ls -d /proc/[0-9]* | wc -l", "[1-9]"),
    "tmpfs": ("busybox grep -c '^tmpfs /tmp ' /proc/mounts", "1"),
    "devices": ("for d in null zero full random urandom; do test -c /dev/$d || echo $d; done", ""),
    "no-core": ("ulimit -c", "0"),
    "address-space": ("ulimit -v", "1048576"),
    "hostname": ("cat /proc/sys/kernel/hostname", "bootstrap"),
    "root": ("id -u", "0"),
}


def available(kind: str) -> MachineKind:
    machine = MachineKind(kind)
    try:
        native.check_host(machine)
    except ConfigError as error:
        pytest.skip(error.message)
    return machine


@pytest.mark.parametrize("kind", ["chroot", "bwrap"])
def test_the_relay_passes_and_kernels_are_not_applicable(
    kind: str, tmp_path: Path, harness_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = available(kind)
    monkeypatch.setenv("HARNESS_SECRET", "must not be seen")
    recipe = load_recipe("relay")
    request = RunRequest(runs=tmp_path, build=BuildOptions(cache=harness_cache), machine=machine)
    built = build_recipe(recipe, to_build(request, recipe), Quiet())
    assert not built.kernels
    # The same plan with more questions; it lies where its included failures are found.
    plans = tmp_path / "plans"
    shutil.copytree(recipe.plan.parent, plans)
    text = recipe.plan.read_text("utf-8")
    more = "".join(CHECKS.format(name=name, run=run, output=out) for name, (run, out) in PLACE.items())
    gcc = '[[stage]]\nname = "gcc"'
    (plans / "relay.toml").write_text(text.replace(gcc, f"{more}\n{gcc}"), "utf-8")
    (tmp_path / "recipes").mkdir()
    moved = msgspec.structs.replace(recipe, path=tmp_path / "recipes/relay.toml")
    moved.path.write_text(recipe.path.read_text("utf-8"), "utf-8")
    asked = Build(moved, built.kernels, built.images, built.lock)
    done = run_built(asked, cache=harness_cache, runs=tmp_path / "runs", machine=machine)
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    document = msgspec.json.decode((done.directory / "run.json").read_bytes(), type=RunDocument)
    status = {stage.name: stage.status for stage in document.stages}
    for stage in ("sysa", "kexec", "sysb", "switch_root", "power-off"):
        assert status[stage] == StageStatus.NOT_APPLICABLE
    assert (status["shell"], status["gcc"]) == (StageStatus.PASSED, StageStatus.PASSED)
    assert "kexec" in done.result.verdict.reason
    assert {check.name for check in document.checks} >= set(PLACE)
    assert document.machine is not None
    assert document.machine.kind == kind
