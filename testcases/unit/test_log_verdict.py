"""Verdicts from a log alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.stages.plan_file import find_plan, plan_files
from harness.stages.replay import Replay, replay
from testcases.support.machines import BEGINS, PROMPT, RELAY, recorded
from testcases.support.profiles import fewer
from testcases.support.typed import typed
from testcases.unit.test_failures import ROWS, log_of
from testcases.unit.test_failures import judged as judged_by_name
from testcases.unit.test_replay import FAILURES

GOOD = recorded("good")
OFF = b"\r\n[   19.005000] reboot: Power down\r\n"


def judged(log: bytes, **options: Any) -> Replay:
    with tempfile.NamedTemporaryFile() as file:
        file.write(log)
        file.flush()
        return replay(RELAY, Path(file.name), **options)


@pytest.mark.parametrize("name", FAILURES)
def test_failure_is_told_from_its_log(name: str) -> None:
    outcome, stage, reason = FAILURES[name]
    log = recorded(name)
    verdict = judged(log).result.verdict
    assert (verdict.outcome, verdict.stage) == (outcome, stage)
    assert reason in verdict.reason
    for item in verdict.evidence:
        assert item.offset is not None
        assert item.text.split()[-1].encode() in log[item.offset :].partition(b"\n")[0]


def test_good_log_passes_as_far_as_a_log_can_tell() -> None:
    shown = judged(GOOD + OFF)
    assert shown.result.verdict.outcome == Outcome.PASS
    assert "that a log can show" in shown.result.verdict.reason
    assert [stage.name for stage in shown.result.stages] == list(BEGINS)
    assert [stage.start for stage in shown.result.stages][-1] == GOOD.index(PROMPT.encode())
    assert shown.unseen == ("gcc", "power-off")
    assert shown.result.facts["second_kernel"] == "5.10.0-32-686"


def test_log_that_takes_long_to_read_is_no_lost_console() -> None:
    log = GOOD.replace(b"relay: sysa: jumping", b"more and more\r\n" * 200_000 + b"relay: sysa: jumping", 1)
    with patch("harness.stages.observer._EXIT_GRACE", 0.0):
        assert judged(log + OFF).result.verdict.outcome == Outcome.PASS


def test_log_without_an_end_is_no_pass() -> None:
    verdict = judged(GOOD).result.verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "shell")
    assert "without the end of the machine" in verdict.reason


@fewer(2)
@given(st.integers(1, len(GOOD) - 1))
def test_log_that_is_cut_off_ends_in_the_stage_that_ran(place: int) -> None:
    result = judged(GOOD[:place]).result
    assert result.verdict.outcome == Outcome.HANG
    began = [name for name, marker in BEGINS.items() if marker.rstrip() in GOOD[:place]]
    # The line that begins a stage may be cut in its middle.
    assert result.verdict.stage in {*began[-1:], *began[-2:-1], "sysa"}


def test_wrong_end_is_named() -> None:
    verdict = judged(GOOD[: GOOD.index(BEGINS["sysc"])] + OFF).result.verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "switch_root")
    assert "powered itself off too early" in verdict.reason


def test_particulars_are_looked_for_as_long_as_in_a_run() -> None:
    panic = b"[    1.000000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300\r\n"
    later = b"relay: sysa: failed: it came much later\r\n"
    near, far = judged(panic + later).result.verdict, judged(panic * 9000 + later).result.verdict
    assert "it came much later" in near.reason
    assert "it came much later" in far.reason  # no times are known
    timed = judged(panic * 9000 + later, seconds_at=lambda offset: offset / 1000).result.verdict
    assert "exit status 0x03" in timed.reason


def test_log_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="cannot read /nowhere/log: No such file"):
        replay(RELAY, Path("/nowhere/log"))


def test_plans_are_found_by_name_and_path() -> None:
    assert find_plan("relay") == plan_files()["relay"]
    assert find_plan("my/own.toml") == Path("my/own.toml")
    with pytest.raises(ConfigError) as raised:
        find_plan("linux")  # failures that plans include, no plan
    assert raised.value.message == "there is no plan 'linux'"
    assert "relay" in raised.value.hint


def test_missing_line_of_a_stage_is_named_instead_of_the_end() -> None:
    damaged = GOOD.replace(b"Linux version 5.10", b"Linux wersion 5.10")
    for log in (damaged + OFF, damaged):
        verdict = judged(log).result.verdict
        assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "kexec")
        assert "the line with which stage sysb begins is missing in the log" in verdict.reason
        assert verdict.evidence[0].text.startswith("relay: sysb: switching into sysc")


def test_log_without_its_head_is_judged_from_the_stage_in_which_it_begins() -> None:
    tail = GOOD[GOOD.index(BEGINS["switch_root"]) :]
    shown = judged(b"relay: sysb: up under 5.10\r\n" + tail + b"\r\nrelay: sysc: failed: no more\r\n")
    verdict = shown.result.verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "shell")
    assert verdict.reason == "/init of sysc gave up: no more"
    assert shown.before == ("sysa", "kexec")
    verdict = judged(tail + OFF).result.verdict
    assert verdict.outcome == Outcome.HANG
    assert verdict.reason.startswith("the log shows the right end, but not the stages sysa, kexec")


def test_log_that_begins_with_the_banner_of_a_later_kernel() -> None:
    plan, log = ROWS["archive-of-another-name"]["plan"], log_of("archive-of-another-name")
    tail = b"".join(log.splitlines(keepends=True)[-6:])
    assert b"Linux version 4.9" in tail
    assert judged_by_name(plan, tail).verdict.reason == judged_by_name(plan, log).verdict.reason


def test_log_in_which_nothing_begins_says_so(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"tar: write error: No space left on device\n")
    said = typed("verdict", "log", "--plan", "live-bootstrap-steps", cwd=tmp_path).stdout
    assert "which stage it is from is not known" in said
    (tmp_path / "log").write_bytes(GOOD)
    assert "not known" not in typed("verdict", "log", "--plan", "relay", cwd=tmp_path).stdout


def test_failure_in_a_tail_of_a_log_keeps_its_stage_and_reason() -> None:
    for row in ROWS:
        plan, log = ROWS[row]["plan"], log_of(row)
        expected = judged_by_name(plan, log)
        (head,) = (stage.start for stage in expected.stages if stage.status == "failed")
        if b"Linux version" in log[head:].partition(b"\n")[0]:
            continue  # any kernel begins like that
        verdict = judged_by_name(plan, log[head:]).verdict
        assert (verdict.outcome, verdict.stage, verdict.reason) == (
            expected.verdict.outcome, expected.verdict.stage, expected.verdict.reason
        ), row  # fmt: skip
