"""Plans without a kernel: what does not apply is never passed, and slips in the table are named."""

from __future__ import annotations

import os
import pty
from typing import TYPE_CHECKING

import pytest

from harness.console.transport import PtyTransport
from harness.core.errors import ConfigError, InfraError
from harness.machine.kinds import find_kind
from harness.machine.protocol import EndCause, MachineKind
from harness.recipe import load_recipe, recipe_files
from harness.stages.judge import passed
from harness.stages.kernelless import without_kernel
from harness.stages.plan_file import load_plan
from harness.stages.runner import all_stages
from harness.stages.verdict import StageResult, StageStatus

if TYPE_CHECKING:
    from pathlib import Path

PLAN = """
summary = "a plan"
end = "guest-shutdown"

[native]
not-applicable = [{left_out}]
last-words = "exit"

[[stage]]
name = "boot"
title = "boots"
budget = 1
silence = 1

[[stage]]
name = "work"
title = "works"
begins = '^work (?P<what>\\S+)$'
budget = 1
silence = 1
types = "poweroff"

[[stage.checks]]
name = "one"
run = "true"
proves = "something"

[[stage.checks]]
name = "two"
run = "uname"
proves = "a kernel"
"""


def plan(place: Path, *left_out: str) -> Path:
    path = place / "own.toml"
    path.write_text(PLAN.format(left_out=", ".join(f'"{name}"' for name in left_out)), "utf-8")
    return path


def test_what_does_not_apply_is_left_out_and_never_passed(tmp_path: Path) -> None:
    whole = load_plan(plan(tmp_path, "boot", "work.two"))
    native = without_kernel(whole)
    [work] = native.stages
    assert (work.name, [check.name for check in work.checks], work.types) == ("work", ["one"], "exit")
    assert (native.end, native.not_applicable) == (EndCause.EXITED, ("boot", "work.two"))
    # It begins with the machine, and what its line says is still a fact.
    assert (work.begins, work.notes) == ("", (r"^work (?P<what>\S+)$",))
    assert "not applicable: boot, work.two" in passed(native).reason
    stages = all_stages(native, [StageResult("work", StageStatus.PASSED)])
    assert [stage.status for stage in stages] == [StageStatus.NOT_APPLICABLE, StageStatus.PASSED]
    assert [stage.status for stage in all_stages(native, [])] == [
        StageStatus.NOT_APPLICABLE,
        StageStatus.NOT_REACHED,
    ]
    assert whole.stages[0].name == "boot", "the plan itself is as it was"
    assert "applicable" not in passed(whole).reason


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        (("kexec",), "there is no stage or check 'kexec'"),
        (("work.three",), "there is no stage or check 'work.three'"),
        (("boot", "work"), "no stage is left"),
    ],
)
def test_a_slip_in_the_table_is_named(tmp_path: Path, left_out: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=rf"own\.toml: key native\.not-applicable: {told}"):
        load_plan(plan(tmp_path, *left_out))


def test_a_plan_without_the_table_needs_a_kernel() -> None:
    with pytest.raises(ConfigError, match="cannot be followed without a kernel") as caught:
        without_kernel(load_plan(load_recipe("builder-hex0").plan))
    assert "--machine qemu" in caught.value.hint


@pytest.mark.parametrize("name", [name for name in recipe_files() if load_recipe(name).document.native])
def test_recipes_that_run_without_a_kernel_have_plans_that_do(name: str) -> None:
    assert without_kernel(load_plan(load_recipe(name).plan)).stages


def test_machines_know_whether_they_have_kernels() -> None:
    known = {name: find_kind(name) for name in ("qemu", "chroot", "bwrap", "board:shelf")}
    assert {kind.kind for kind in known.values()} == set(MachineKind)
    assert [name for name, kind in known.items() if kind.kernels] == ["qemu", "board:shelf"]


def test_a_terminal_carries_bytes_both_ways_and_ends() -> None:
    ours, theirs = pty.openpty()
    transport = PtyTransport(ours)
    transport.write(b"typed\n")
    assert os.read(theirs, 100) == b"typed\n"
    os.write(theirs, b"said\n")
    heard = b""
    while b"said\r\n" not in heard:  # with its echo, or behind it
        heard += transport.read(100) or b""
    os.close(theirs)
    assert transport.read(100) == b""
    transport.close()
    transport.close()
    with pytest.raises(InfraError, match="closed"):
        transport.write(b"x")
