"""Consoles of real runs, played again: whatever happens to them on the way, the verdict stays the same.

The logs were recorded from the relay under QEMU TCG (Linux 6.1 into 5.10, Debian 12), once as it should go
and otherwise broken on purpose. Long stretches of kernel messages are cut out of the latter.
"""

from __future__ import annotations

import itertools
import re
import tempfile
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.core.outcome import Outcome
from harness.machine.protocol import ProcessorSample
from harness.stages.events import Seen, StageBegan
from testcases.support.machines import (
    BEGINS,
    KILLED,
    POWERED_OFF,
    PROMPT,
    RELAY,
    RESET,
    Audience,
    FakeMachine,
    Looks,
    follow,
    recorded,
    relay_without_checks,
)
from testcases.support.profiles import fewer

if TYPE_CHECKING:
    from harness.console.lines import Block
    from harness.machine.protocol import End
    from harness.stages.plan import Plan
    from harness.stages.verdict import RunResult
    from testcases.support.machines import Guest

GOOD = recorded("good")
WATCHED = relay_without_checks()
# It wants one more stage, so that no end can be the expected one.
ENDLESS = msgspec.structs.replace(
    WATCHED,
    stages=(*WATCHED.stages, msgspec.structs.replace(WATCHED.stages[0], name="never", begins="^never$")),
)
KERNEL_MESSAGES = (
    b"[%12.6f] random: crng init done\r\n",
    b"[%12.6f][    T1] clocksource: Switched to clocksource tsc\r\n",
)
_FROM_KERNEL = re.compile(rb"^<\d+>|\[ *\d+\.\d{6}\]")
STAMP = re.compile(rb"(?m)^\[ *(\d+\.\d{6})\]")
BEGUN = {
    "sysa": "",
    "kexec": "relay: sysa: jumping into the sysb kernel",
    "sysb": "Linux version 5.10.0-32-686 ",
    "switch_root": "relay: sysb: switching into sysc on /dev/sda",
    "sysc": "relay: sysc: up under 5.10.0-32-686, root on /dev/sda",
    "shell": PROMPT,
}


def played(
    log: bytes,
    end: End | None = POWERED_OFF,
    *,
    plan: Plan = WATCHED,
    looks: Looks | None = None,
    seed: int = 0,
) -> tuple[RunResult, Audience, bytes]:
    """Follow a machine whose console is this log; also what was heard, and recorded."""

    def script(guest: Guest) -> End | None:
        guest.play(log)
        if end is None:
            guest.hurry()
        return end

    audience = Audience()
    with tempfile.TemporaryDirectory() as directory:
        machine = FakeMachine(script, looks=looks, seed=seed)
        result = follow(plan, machine, Path(directory), listener=audience)
        return result, audience, (Path(directory) / "console.raw").read_bytes()


def check_good(log: bytes, seed: int) -> None:
    result, audience, raw = played(log, seed=seed)
    assert raw == log
    assert result.verdict.outcome == Outcome.PASS
    assert [(stage.name, stage.status) for stage in result.stages] == [(name, "passed") for name in BEGINS]
    assert {key: value for key, value in result.facts.items() if "nonce" not in key} == {
        "seed_banner": "6.1.0-50-686",
        "seed_kernel": "6.1.0-50-686",
        "second_banner": "5.10.0-32-686",
        "second_kernel": "5.10.0-32-686",
        "disk": "/dev/sda",
        "sysc_kernel": "5.10.0-32-686",
        "root": "/dev/sda",
    }
    began = [event for event in audience.events if isinstance(event, StageBegan)]
    assert [event.stage for event in began] == list(BEGINS)
    for event, stage in zip(began, result.stages, strict=True):
        assert event.offset == stage.start
        line = re.split(rb"\r+\n", raw[event.offset :])[0]
        # A kernel message may stand in its middle, but not before its first letter.
        assert BEGUN[event.stage][:1].encode() in line[:16]
    for before, after in itertools.pairwise(result.stages):
        assert before.end == after.start
    assert result.stages[-1].end == len(raw)
    assert sum(isinstance(event, Seen) for event in audience.events) == 4


def interrupted(log: bytes, seed: int, count: int) -> bytes:
    """The log with kernel messages in the middle of what user space says, and between lines.

    Like a kernel's, their clock does not go back, unless another kernel begins.
    """
    random = Random(seed)  # noqa: S311 - tests must be repeatable
    places = [
        place
        for match in re.finditer(rb"[^\n]+\n?", log)
        for place in ([match.start()] if _FROM_KERNEL.search(match[0]) else range(match.start(), match.end()))
    ]
    pieces, done, seconds = list[bytes](), 0, 0.0
    for place in sorted(random.choices(places, k=count)):
        for stamp in STAMP.finditer(log, done, place):
            seconds = max(seconds, float(stamp[1])) if float(stamp[1]) else 0.0
        seconds += 1e-6
        pieces += [log[done:place], random.choice(KERNEL_MESSAGES) % seconds]
        done = place
    return b"".join((*pieces, log[done:]))


@fewer(2)
@given(st.integers(0, 2**32), st.integers(0, 60), st.booleans())
@example(0, 0, False)
@example(0, 0, True)
def test_good_run_passes_however_it_is_cut_interrupted_and_doubled(
    seed: int, messages: int, through_pty: bool
) -> None:
    log = interrupted(GOOD, seed, messages)
    if through_pty:
        log = log.replace(b"\r\n", b"\r\r\n")
    check_good(log, seed)


MARKED = b"relay: sysa: jumping into the sysb kernel\r\n"


@pytest.mark.parametrize("place", [0, 1, 20, len(MARKED) - 2, len(MARKED) - 1])
def test_begin_of_a_stage_may_be_interrupted_anywhere(place: int) -> None:
    start = GOOD.index(MARKED) + place
    check_good(GOOD[:start] + KERNEL_MESSAGES[0] % 12.345678 + GOOD[start:], place)


def test_good_run_byte_by_byte() -> None:
    class OneByOne(Random):
        def choice(self, seq: object) -> int:  # type: ignore[override]  # noqa: ARG002 - the parent's
            return 1

    log = GOOD[: GOOD.index(MARKED) + len(MARKED)]

    def script(guest: Guest) -> End:
        guest._random = OneByOne()
        guest.play(log)
        return RESET

    with tempfile.TemporaryDirectory() as directory:
        assert follow(ENDLESS, FakeMachine(script), Path(directory)).verdict.stage == "kexec"


def running(log: bytes) -> str:
    """The stage that a log ends in, found by other means than the harness has."""
    if b"\n" + PROMPT.rstrip().encode() in log:
        return "shell"
    whole = log.decode().rpartition("\n")[0].split("\r\n")
    stage = "sysa"
    for name, begun in BEGUN.items():
        if begun and any(begun in line for line in whole):
            stage = name
    return stage


INTERESTING = [
    place + offset
    for begun in BEGUN.values()
    for place in [GOOD.index(begun.encode())]
    for offset in (0, 1, len(begun) - 1, len(begun), len(begun) + 1, len(begun) + 2)
    if 0 <= place + offset <= len(GOOD)
]


def check_death(place: int, end: End) -> None:
    result, _, raw = played(GOOD[:place], end, plan=ENDLESS, seed=place)
    assert raw == GOOD[:place]
    expected = {POWERED_OFF: Outcome.FAIL, RESET: Outcome.PANIC, KILLED: Outcome.INFRA}[end]
    assert (result.verdict.outcome, result.verdict.stage) == (expected, running(raw))
    names = [*BEGINS, "never"]
    reached = names.index(result.verdict.stage)
    statuses = ["passed"] * reached + ["failed"] + ["not reached"] * (len(names) - reached - 1)
    assert [(stage.name, stage.status) for stage in result.stages] == list(zip(names, statuses, strict=True))


@given(st.integers(0, len(GOOD)), st.sampled_from([POWERED_OFF, RESET, KILLED]))
def test_death_at_any_byte_is_blamed_on_the_stage_that_ran(place: int, end: End) -> None:
    check_death(place, end)


@pytest.mark.parametrize("place", sorted(set(INTERESTING)))
def test_death_around_the_begin_of_a_stage(place: int) -> None:
    check_death(place, RESET)


FAILURES = {
    "init-exits-0": (Outcome.PANIC, "sysa", "exit status 0x00"),
    "init-exits-3": (Outcome.PANIC, "sysb", "exit status 0x03"),
    "init-is-no-program": (Outcome.FAIL, "sysb", "/init is in no format that this kernel executes"),
    "init-not-executable": (Outcome.FAIL, "sysa", "could not execute /sysb/command-line (error 13)"),
    "init-without-interpreter": (Outcome.FAIL, "sysb", "/init or the interpreter that it names is not"),
    "initramfs-is-junk": (Outcome.FAIL, "sysb", "unpack its initramfs: invalid magic at start of compressed"),
    "kernel-is-junk": (Outcome.FAIL, "sysa", "/sysb/vmlinuz, which kexec was to load, is no kernel"),
    "kernel-is-missing": (
        Outcome.FAIL,
        "sysa",
        "/sysb/vmlinuz, which kexec was to load, is not in the image",
    ),
    "kexec-disabled": (Outcome.FAIL, "sysa", 'kexec_load failed with "Operation not permitted"'),
    "kexec-file-load": (Outcome.FAIL, "sysa", "told to use kexec_file_load"),
    "no-disk": (Outcome.FAIL, "sysb", "no disk with the label sysc; the kernel sees: nothing"),
    "out-of-memory": (Outcome.FAIL, "sysa", "the guest ran out of memory"),
    "rdinit-missing": (Outcome.PANIC, "sysa", "nor a root filesystem (unknown-block(0,0))"),
}


@pytest.mark.parametrize("name", FAILURES)
@fewer(10)
@given(seed=st.integers(0, 2**32), through_pty=st.booleans())
def test_recorded_failure_is_recognised_always(name: str, seed: int, through_pty: bool) -> None:
    outcome, stage, reason = FAILURES[name]
    log = interrupted(recorded(name), seed, 5)
    if through_pty:
        log = log.replace(b"\r\n", b"\r\r\n")
    verdict = played(log, RESET, plan=RELAY, seed=seed)[0].verdict
    assert (verdict.outcome, verdict.stage) == (outcome, stage)
    assert reason in verdict.reason


IDLE = ProcessorSample(halted=True, interrupts=True, privilege=0, cpu_share=0.02, written=0)
SPIN = ProcessorSample(halted=False, interrupts=True, privilege=3, cpu_share=0.99, written=0)


def test_recorded_loss_of_the_console_is_read_from_the_screen() -> None:
    screen = ["[    2.294490] acpiphp: Slot [10] registered", "[    2.294714] acpiphp: Slot [11] registered"]
    log = recorded("no-console")
    verdict = played(log, None, plan=RELAY, looks=Looks([IDLE], screen))[0].verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "kexec")
    assert 'such as "acpiphp: Slot [11] registered"' in verdict.reason
    assert "console=ttyS0" in verdict.hint


def test_recorded_spin_is_told_from_the_processor() -> None:
    screen = ["SeaBIOS (version 1.16.2-debian-1.16.2-1)", "Booting from ROM..."]
    verdict = played(recorded("spin"), None, plan=RELAY, looks=Looks([SPIN], screen))[0].verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "sysb")
    assert verdict.reason.endswith("a program in user space keeps the processor busy")


@pytest.mark.parametrize("stage", ["sysb", "switch_root", "sysc", "shell"])
def test_machine_that_starts_over_does_not_pass(stage: str) -> None:
    """A board that resets boots again, and could even get to the prompt the second time."""
    start = GOOD.index(BEGINS[stage])
    end = GOOD.find(b"\r\n", start) + 2 if stage != "shell" else len(GOOD)
    verdict = played(GOOD[:end] + b"\r\n" + GOOD)[0].verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.PANIC, stage)
    assert "started over" in verdict.reason
    assert "Linux 6.1.0-50-686" in verdict.reason


def test_prompt_in_the_last_breath_of_a_machine_is_seen() -> None:
    class Slow(Audience):
        def heard(self, block: Block) -> None:
            super().heard(block)
            if b"hello\n" in block.text:
                time.sleep(0.1)  # the machine ends meanwhile

    def script(guest: Guest) -> End:
        guest.play(GOOD.removesuffix(PROMPT.encode()))
        guest.settle()
        guest._console.sendall(b"hello\r\n" + PROMPT.encode())
        return POWERED_OFF

    with tempfile.TemporaryDirectory() as directory:
        result = follow(WATCHED, FakeMachine(script), Path(directory), listener=Slow())
        assert result.verdict.outcome == Outcome.PASS
