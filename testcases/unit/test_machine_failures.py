"""What kernels, firmware and QEMU say when they fail gets its own verdict, whichever plan is followed."""

from __future__ import annotations

import re
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stages.plan_file import load_plan, plan_files
from harness.stages.replay import replay
from testcases.support.log_prefixes import PREFIXES, prefixed
from testcases.unit import test_judge
from testcases.unit.test_failures import BEGINS, before
from testcases.unit.test_good_logs import LOGS

if TYPE_CHECKING:
    from harness.core.outcome import Outcome

TESTCASES = Path(__file__).parents[1]
ROWS = tomllib.loads((TESTCASES / "logs/machine-failures.toml").read_text(encoding="utf-8"))
PLANS = {name: load_plan(path) for name, path in plan_files().items()}
BANNER = b"[    0.000000] Linux version 6.1.0 (a@b) #1\n"


def log_of(row: str) -> bytes:
    text: bytes = ROWS[row]["log"].removeprefix("\n").encode()
    if ROWS[row].get("plan", "relay") == "relay":
        return text if text.startswith((b"SeaBIOS", b"iPXE", b"BdsDxe", b"UEFI", b"(XEN)")) else BANNER + text
    return "".join(f"{line}\n" for line in LOGS[ROWS[row]["plan"]][0][:4]).encode() + text


def told(plan: str, log: bytes) -> tuple[Outcome, str, str]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(log)
        file.flush()
        verdict = replay(PLANS[plan], Path(file.name)).result.verdict
    return verdict.outcome, verdict.stage, verdict.reason


@pytest.mark.parametrize("row", ROWS)
def test_failure_has_its_own_verdict(row: str) -> None:
    outcome, _, reason = told(ROWS[row].get("plan", "relay"), log_of(row))
    assert ROWS[row]["reason"] in reason
    assert outcome == ROWS[row]["outcome"]
    assert "nothing" not in reason.removeprefix("the firmware found nothing to boot")


@given(st.sampled_from(sorted(ROWS)), st.sampled_from(sorted(PREFIXES)), st.booleans())
def test_failure_is_the_same_behind_a_prefix(row: str, kind: str, returns: bool) -> None:
    plan, log = ROWS[row].get("plan", "relay"), log_of(row)
    expected = told(plan, log)
    assert told(plan, prefixed(kind, log.replace(b"\n", b"\r\n") if returns else log)) == expected


def test_failure_is_known_to_every_plan_of_live_bootstrap() -> None:
    for plan in ("live-bootstrap-sysabc", "live-bootstrap-steps"):
        log = before(plan, list(BEGINS[plan])[-1])
        for row in ("disk-of-new-kernels", "oops-of-4-x", "kvm-entry-failed", "oom-of-3-x"):
            text = ROWS[row]["log"].replace("relay: sysa: failed: no sysb", "[TRAP] / # ").encode()
            assert ROWS[row]["reason"] in told(plan, log + text)[2]


@pytest.mark.parametrize("file", ["linux", "machine", "other-kernels"])
def test_every_failure_is_the_reason_of_a_row(file: str) -> None:
    reasons = [told(ROWS[row].get("plan", "relay"), log_of(row))[2] for row in ROWS]
    lines = [line for row in test_judge.TABLE.values() for line in row[1]]
    lines += [line.partition("] ")[2] for line in lines]
    failures = tomllib.loads((TESTCASES.parent / f"images/plans/{file}.toml").read_text("utf-8"))["failure"]
    for failure in failures:
        template = re.sub(r"\\{\w+\\}", ".+", re.escape(failure["reason"]))
        assert (
            failure.get("screen") is True
            or any(re.fullmatch(template, reason) for reason in reasons)
            or any(re.search(failure["pattern"], line) for line in lines)
        ), failure["pattern"]
