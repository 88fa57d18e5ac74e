"""Logs from the field, and what happens to logs on their way: the verdict stays the same."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.core.outcome import Outcome
from harness.stages.plan_file import load_plan, plan_files
from harness.stages.replay import replay
from testcases.support.log_prefixes import PREFIXES, prefixed
from testcases.unit import test_failures, test_machine_failures
from testcases.unit.test_good_logs import made, noisy
from testcases.unit.test_replay import interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = Path(__file__).parents[1] / "logs/cases"
PLANS = {name: load_plan(path) for name, path in plan_files().items()}
CHECKSUM = "/after/bin/bash does not have the sha256 that it should have"
DISK = "gave I/O errors, and its filesystem became read-only"
# Plan, outcome, stage and a part of the reason.
EXPECTED = {
    "plain-success": ("live-bootstrap-steps", Outcome.PASS, "linux", "the right end"),
    "prefixed-success": ("live-bootstrap-steps", Outcome.PASS, "linux", "the right end"),
    "syslog-format-plain": ("live-bootstrap-steps", Outcome.PASS, "linux", "the right end"),
    "syslog-format-success": ("live-bootstrap-steps", Outcome.PASS, "linux", "the right end"),
    "plain-failure": ("live-bootstrap-sysa", Outcome.FAIL, "sysa", CHECKSUM),
    "prefixed-failure": ("live-bootstrap-sysa", Outcome.FAIL, "sysa", CHECKSUM),
    "base": ("relay", Outcome.FAIL, "sysa", "/init of sysa gave up: no kernel to jump into"),
    "grabserial-failure": ("relay", Outcome.FAIL, "sysa", "/init of sysa gave up: no kernel to jump into"),
    "prefixed-panic": ("relay", Outcome.PANIC, "sysa", "neither an init in the initramfs nor a root"),
    "harmless-before-cause": (
        "live-bootstrap-sysabc",
        Outcome.FAIL,
        "sysa",
        "calls gen_init_cpio, ",
    ),
    "fiwix-panic": (
        "live-bootstrap-steps-builder-hex0",
        Outcome.PANIC,
        "fiwix",
        "do_page_fault (process ../gnulib-8e128e/gnulib-tool, pid 127296): it was out of memory pages",
    ),
    "oom-4.9": ("relay", Outcome.FAIL, "sysa", "the guest ran out of memory and the kernel killed busybox"),
    "disk-io-errors": ("live-bootstrap-steps", Outcome.INFRA, "linux", f"the disk sda1 {DISK}"),
    "io-errors-then-tar": ("live-bootstrap-steps", Outcome.INFRA, "linux", f"the disk sda {DISK}"),
    "oops": ("relay", Outcome.PANIC, "sysa", "the kernel crashed in ext4_fill_super"),
    "seabios-on-serial": ("relay", Outcome.CONFIG, "sysa", "the firmware found nothing to boot"),
    "ovmf-access-denied": ("relay", Outcome.CONFIG, "sysa", "Secure Boot refused the boot loader"),
}
LOGS = {name: (EXPECTED[name][0], (CASES / f"{name}.log").read_bytes()) for name in EXPECTED}
LOGS |= {name: (test_failures.ROWS[name]["plan"], test_failures.log_of(name)) for name in test_failures.ROWS}
LOGS |= {
    name: (row.get("plan", "relay"), test_machine_failures.log_of(name))
    for name, row in test_machine_failures.ROWS.items()
}
LOGS |= {f"good {plan}": (plan, noisy(plan, b"")) for plan in test_failures.ENDS}
# Those with a kernel, and without a prefix.
PLAIN = [
    name
    for name, (plan, log) in LOGS.items()
    if "builder-hex0" not in plan
    and b"Linux version" in log
    and not name.startswith(("prefixed", "grabserial"))
]


def told(plan: str, log: bytes) -> tuple[Outcome, str, str]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(log)
        file.flush()
        verdict = replay(PLANS[plan], Path(file.name)).result.verdict
    return verdict.outcome, verdict.stage, verdict.reason


def first_evidence(plan: str, log: bytes) -> int:
    """Where the first line begins that the verdict rests on; the end of the log if there is none."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(log)
        file.flush()
        evidence = replay(PLANS[plan], Path(file.name)).result.verdict.evidence
    return min((item.offset for item in evidence if item.offset is not None), default=len(log))


@pytest.mark.parametrize("name", EXPECTED)
def test_case_from_the_field(name: str) -> None:
    plan, outcome, stage, reason = EXPECTED[name]
    found = told(plan, LOGS[name][1])
    assert found[:2] == (outcome, stage)
    assert reason in found[2]


def with_levels(log: bytes) -> bytes:
    return re.sub(rb"(?m)^(?=\[ *\d+\.\d{6}\])", b"<6>", log)


def with_callers(log: bytes) -> bytes:
    return re.sub(rb"(?m)^(\[ *\d+\.\d{6}\]) ", rb"\1[    T1] ", log)


def with_colours(log: bytes) -> bytes:
    return re.sub(rb"(?m)^(?=[^\r\n])", b"\x1b[0m", log)


def with_a_header(log: bytes) -> bytes:
    return b'Script started on 2026-11-30 12:00:00+00:00 [TERM="xterm"]\n' + log


def with_another_program(log: bytes) -> bytes:
    """A program on the host writes a line now and then: no more than one of ten."""
    lines = log.splitlines(keepends=True)
    for place in range((len(lines) - 1) // 10 * 10, 0, -10):
        lines.insert(place, b"qemu-system-i386: warning: host does not support requested feature\n")
    return b"".join(lines)


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda log: log,
    "levels": with_levels,
    "callers": with_callers,
    "colours": with_colours,
    "header": with_a_header,
    "another program": with_another_program,
    "NULs": lambda log: b"\0\0" + log,
    "UTF-16": lambda log: log.decode("latin-1").encode("utf-16"),
}


@given(
    st.sampled_from(sorted(LOGS)),
    st.sampled_from(sorted(CHANGES)),
    st.sampled_from(["none", *PREFIXES]),
    st.sampled_from([b"\n", b"\r\n", b"\r\r\n"]),
)
def test_nothing_on_its_way_changes_a_verdict(name: str, change: str, kind: str, newline: bytes) -> None:
    plan, log = LOGS[name]
    assume(change != "colours" or not name.startswith(("prefixed", "grabserial")))
    expected = told(plan, log)
    log = re.sub(rb"\r*\n", newline, CHANGES["none" if change == "UTF-16" else change](log))
    if kind != "none":
        log = prefixed(kind, log)
    assert told(plan, CHANGES[change](log) if change == "UTF-16" else log) == expected


@given(st.sampled_from(PLAIN), st.integers(0, 2**32))
def test_kernel_between_the_lines_changes_no_verdict(name: str, seed: int) -> None:
    plan, log = LOGS[name]
    log = re.sub(rb"\r*\n", b"\r\n", log)
    assert told(plan, interrupted(log, seed, 3)) == told(plan, log)


@given(
    st.sampled_from(PLAIN),
    st.sampled_from(["compiler", "git_log", "sources", "manual", "suites"]),
    st.integers(0, 2**32),
)
def test_noise_before_the_evidence_changes_no_verdict(name: str, noise: str, seed: int) -> None:
    plan, log = LOGS[name]
    start = log.rfind(b"\n", 0, first_evidence(plan, log)) + 1
    assert told(plan, log[:start] + made(noise, seed) + log[start:]) == told(plan, log)
