"""What other programs put before the lines of a log changes nothing in its verdict."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.stages.plan_file import find_plan, load_plan
from harness.stages.replay import replay
from testcases.support.log_prefixes import PREFIXES, prefixed
from testcases.support.machines import RELAY, recorded
from testcases.support.profiles import fewer
from testcases.unit.test_failures import PLANS as FAILING
from testcases.unit.test_failures import ROWS, log_of
from testcases.unit.test_good_logs import PLANS, made, noisy

if TYPE_CHECKING:
    from harness.stages.plan import Plan
    from harness.stages.replay import Replay

OFF = b"\r\n[   19.005000] reboot: Power down\r\n"
GOOD = recorded("good") + OFF


def judged(plan: Plan, log: bytes) -> Replay:
    with tempfile.NamedTemporaryFile() as file:
        file.write(log)
        file.flush()
        return replay(plan, Path(file.name))


def told(plan: Plan, log: bytes) -> tuple[str, str, str]:
    verdict = judged(plan, log).result.verdict
    return verdict.outcome, verdict.stage, verdict.reason


@pytest.mark.parametrize("kind", PREFIXES)
def test_good_log_passes_behind_a_prefix(kind: str) -> None:
    log = prefixed(kind, GOOD)
    shown, plain = judged(RELAY, log), judged(RELAY, GOOD)
    assert (shown.result.verdict, shown.result.facts) == (plain.result.verdict, plain.result.facts)
    assert shown.prefix
    assert plain.prefix == ""
    for before, after in zip(plain.result.stages, shown.result.stages, strict=True):
        line = re.split(rb"[\r\n\"\x1b]", GOOD[before.start :])[0].rstrip()
        assert line in log[after.start :].partition(b"\n")[0]


@given(st.sampled_from(sorted(ROWS)), st.sampled_from(sorted(PREFIXES)), st.sampled_from(["", "\r", "\r\r"]))
def test_failure_is_the_same_behind_a_prefix(row: str, kind: str, returns: str) -> None:
    plan, log = FAILING[ROWS[row]["plan"]], log_of(row).replace(b"\r\n", b"\n")
    expected = told(plan, log)
    assert told(plan, prefixed(kind, log.replace(b"\n", f"{returns}\n".encode()))) == expected


@fewer(3)
@given(st.sampled_from(sorted(PLANS)), st.sampled_from(["compiler", "git_log", "transcripts", "sources"]))
def test_log_without_a_prefix_keeps_its_lines(plan: str, noise: str) -> None:
    assert judged(PLANS[plan], noisy(plan, made(noise))).prefix == ""


@fewer(5)
@given(st.sampled_from(sorted(PLANS)), st.sampled_from(sorted(PREFIXES)), st.integers(0, 99))
def test_noisy_log_passes_behind_a_prefix(plan: str, kind: str, seed: int) -> None:
    log = noisy(plan, made("compiler", seed))
    assert judged(PLANS[plan], prefixed(kind, log)).result.verdict.outcome == Outcome.PASS


def test_banner_far_from_the_head_shows_the_prefix() -> None:
    lines = b"".join(b"%d bytes of something\n" % number for number in range(50_000))
    shown = judged(RELAY, prefixed("container", lines + GOOD))
    assert (shown.result.verdict.outcome, shown.prefix) == (Outcome.PASS, "linux_1  | ")


def test_prefix_that_no_other_lines_share_is_refused() -> None:
    log = b"what is this: [    0.000000] Linux version 6.1.0 (a@b)\nmore of it\nand more\nand the end\n"
    with pytest.raises(ConfigError, match="do not begin where the console's did") as raised:
        judged(RELAY, log)
    assert "what is this: [    0.000000] Linux version 6.1.0" in raised.value.message
    assert raised.value.hint


def test_line_that_firmware_never_ended_is_no_prefix() -> None:
    log = b"Booting from ROM..\x1bc" + recorded("init-exits-3")
    assert told(RELAY, log) == told(RELAY, recorded("init-exits-3"))


def test_line_that_gitlab_continues_is_one() -> None:
    stamp = b"2024-05-22T12:43:01.962646Z 00O"
    log = b"%b [    0.000000] Linux version 6.1.0 (a@b)\n%b relay: sysa: up un\n%b+der 6.1.0\n" % (
        (stamp,) * 3
    )
    assert judged(RELAY, log).result.facts["seed_kernel"] == "6.1.0"


def test_levels_and_callers_are_parts_of_the_kernels_stamp() -> None:
    plan = load_plan(find_plan("live-bootstrap-steps"))
    case = Path("testcases/logs/cases/syslog-format-success.log").read_bytes()
    for stamp in (b"<5>[    0.000000] ", b"<5>", b"<14>[    0.000000][    T0] ", b"[    0.000000][    T0] "):
        log = case.replace(b"<5>[    0.000000] ", stamp)
        assert told(plan, log)[0] == Outcome.PASS
    assert judged(RELAY, prefixed("container", case)).prefix == "linux_1  | "
