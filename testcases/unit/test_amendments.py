"""A verdict is amended by what the judge of the console cannot know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from harness.core.errors import InfraError
from harness.core.outcome import Outcome
from harness.record.packages import PackageWatch
from harness.run.amendments import amended, announced
from harness.run.checkpoints import Checkpoint, State
from harness.stages import products
from harness.stages.events import Ended, TakenOver
from harness.stages.plan_file import find_plan, load_plan
from harness.stages.verdict import Boundary, RunResult, StageResult, StageStatus, Verdict
from testcases.support.machines import Audience

if TYPE_CHECKING:
    from pathlib import Path

PASSED = Verdict(Outcome.PASS, "gcc", "every stage and check of the plan passed")
PANIC = Verdict(Outcome.PANIC, "gcc", "the kernel panicked", "look")
RESUMED = State(run="earlier", saved="", seconds=1.0, boundary=Boundary("sysb", 7, {}, ()))
TAKEN = TakenOver("sysa", 1.25, 7)
SUM, OTHER = "0" * 64, "1" * 64


def amend(place: Path, verdict: Verdict, console: str = "", **known: Any) -> RunResult:
    (place / "console.raw").write_text(console)
    stages = (StageResult("sysa", StageStatus.PASSED), StageResult("gcc", StageStatus.PASSED))
    given = {"expected": {}, "packages": None, "start": None, "taken": None, **known}
    return amended(RunResult(verdict, stages), place, load_plan(find_plan("relay")), **given)


def start(place: Path) -> Checkpoint:
    return Checkpoint("abc", place, 0, {}, RESUMED)


def test_a_run_of_which_no_more_is_known_is_as_it_was_judged(tmp_path: Path) -> None:
    for verdict in (PASSED, PANIC):
        assert amend(tmp_path, verdict).verdict == verdict


def test_a_pass_that_was_resumed_shows_nothing_of_the_stages_before(tmp_path: Path) -> None:
    assert (
        amend(tmp_path, PASSED, start=start(tmp_path)).verdict.reason == f"resumed at sysb: {PASSED.reason}"
    )
    assert amend(tmp_path, PANIC, start=start(tmp_path)).verdict == PANIC


@pytest.mark.parametrize("verdict", [PASSED, PANIC])
def test_what_a_person_took_over_is_not_the_plans_alone(tmp_path: Path, verdict: Verdict) -> None:
    told = amend(tmp_path, verdict, taken=TAKEN).verdict
    reason = f"taken over by hand in stage sysa at 1.2 s: {verdict.reason}"
    assert told == msgspec.structs.replace(verdict, reason=reason)


def test_a_product_that_is_not_what_it_should_be_fails_a_pass_and_its_stage(tmp_path: Path) -> None:
    console = f"{OTHER}  ./usr/bin/tcc\n"
    result = amend(tmp_path, PASSED, console, expected={"/usr/bin/tcc": SUM})
    assert result.verdict.outcome == Outcome.FAIL
    assert f"/usr/bin/tcc has the sha256 {OTHER}" in result.verdict.reason
    assert [stage.status for stage in result.stages] == [StageStatus.PASSED, StageStatus.FAILED]
    assert products.read(tmp_path) == {"/usr/bin/tcc": OTHER}, "what the console showed is listed"


def test_another_failure_says_more_than_a_product(tmp_path: Path) -> None:
    assert amend(tmp_path, PANIC, expected={"/usr/bin/tcc": SUM}).verdict == PANIC


def test_packages_that_were_not_built_fail_a_pass(tmp_path: Path) -> None:
    verdict = amend(tmp_path, PASSED, packages=PackageWatch(Audience(), ["tcc-0.9.27"])).verdict
    assert verdict.outcome == Outcome.FAIL
    assert "1 packages were not built: tcc-0.9.27" in verdict.reason


def test_all_that_is_known_is_said(tmp_path: Path) -> None:
    expected = {"/usr/bin/tcc": SUM}
    verdict = amend(tmp_path, PASSED, expected=expected, start=start(tmp_path), taken=TAKEN).verdict
    assert verdict.outcome == Outcome.FAIL
    assert verdict.reason.startswith(
        "taken over by hand in stage sysa at 1.2 s: resumed at sysb: /usr/bin/tcc"
    )


def test_the_last_event_has_the_verdict(tmp_path: Path) -> None:
    audience, result = Audience(), amend(tmp_path, PANIC, taken=TAKEN)
    assert announced(result, audience) == result
    assert audience.events == [Ended(result.verdict)]


@pytest.mark.parametrize(("verdict", "outcome"), [(PASSED, Outcome.INFRA), (PANIC, Outcome.PANIC)])
def test_a_disk_that_is_full_only_at_the_last_event_spoils_a_pass_alone(
    tmp_path: Path, verdict: Verdict, outcome: Outcome
) -> None:
    def full(_: object) -> None:
        raise InfraError("cannot write the run record: No space left on device")

    told = announced(amend(tmp_path, verdict), Audience(on_event=full)).verdict
    assert told.outcome == outcome
    assert ("No space left" in told.reason) == (outcome == Outcome.INFRA)
