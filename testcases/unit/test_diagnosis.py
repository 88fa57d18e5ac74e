from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.machine.protocol import ProcessorSample
from harness.outcome import Outcome
from harness.stages.diagnosis import conclude
from testcases.unit.machines import RELAY, FakeMachine, Looks, follow, recorded_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from testcases.unit.machines import Guest


def sample(halted: int, interrupts: int, privilege: int = 0, written: int = 0) -> ProcessorSample:
    return ProcessorSample(
        halted=bool(halted), interrupts=bool(interrupts), privilege=privilege, cpu_share=0.5, written=written
    )


DEAD, IDLE, SPIN, BUSY = sample(1, 0), sample(1, 1), sample(0, 1, 3), sample(0, 1)

CONCLUSIONS: dict[str, tuple[Sequence[ProcessorSample], str]] = {
    "dead": ([DEAD] * 4, "the processor has halted with interrupts off, and nothing can wake it"),
    "idle": ([IDLE] * 4, "the guest idles: it waits for input, a device or a timer"),
    "idle with a timer": (
        [IDLE, BUSY, IDLE, DEAD],
        "the guest idles: it waits for input, a device or a timer",
    ),
    "spin": ([SPIN] * 4, "a program in user space keeps the processor busy"),
    "spin with timer": ([SPIN, BUSY, SPIN, SPIN], "a program in user space keeps the processor busy"),
    "busy": ([BUSY] * 4, "the kernel or the firmware keeps the processor busy"),
    "panic loop": ([sample(0, 0)] * 4, "the kernel or the firmware keeps the processor busy"),
    "system calls": ([BUSY, SPIN, BUSY, SPIN], "the kernel or the firmware keeps the processor busy"),
    "writing": ([sample(1, 1, 0, 512), sample(0, 1, 0, 4096)], "the guest is writing to its disk"),
    "has written": ([sample(1, 1, 0, 4096)] * 4, "the guest idles: it waits for input, a device or a timer"),
    "unknown": ([], "and the machine does not tell what it is doing"),
}


@pytest.mark.parametrize("name", CONCLUSIONS)
def test_conclusion(name: str) -> None:
    samples, clause = CONCLUSIONS[name]
    assert conclude(samples) == clause


@pytest.mark.parametrize("name", CONCLUSIONS)
def test_silence_is_explained_by_what_the_processor_does(tmp_path: Path, name: str) -> None:
    samples, clause = CONCLUSIONS[name]

    def script(guest: Guest) -> None:
        guest.play(recorded_until("sysb"))
        guest.hurry()

    machine = FakeMachine(script, looks=Looks(samples, screen=["SeaBIOS (version 1.16.2)"]))
    verdict = follow(RELAY, machine, tmp_path).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "sysb")
    assert verdict.reason.startswith("nothing was heard for ")
    assert verdict.reason.endswith(clause)
    assert verdict.hint == RELAY.stages[2].hint
    kinds = [evidence.what for evidence in verdict.evidence]
    assert kinds.count("processor") == (4 if samples else 0)
    assert kinds.count("screen") == 1
    last = next(evidence for evidence in reversed(verdict.evidence) if evidence.what == "console")
    assert last.text.startswith("[    0.000000] Linux version 5.10")
    assert (
        (tmp_path / "console.raw")
        .read_bytes()[last.offset :]
        .startswith(b"[    0.000000] Linux version 5.10")
    )


def test_samples_are_shown_as_they_are(tmp_path: Path) -> None:
    looks = Looks([sample(1, 0, 0, 1), sample(0, 1, 3, 2)])
    machine = FakeMachine(lambda guest: guest.hurry(), looks=looks)
    verdict = follow(RELAY, machine, tmp_path).verdict
    assert [evidence.text for evidence in verdict.evidence][:2] == [
        "HLT=1 IF=0 CPL=0 cpu=0.50 written=1",
        "HLT=0 IF=1 CPL=3 cpu=0.50 written=2",
    ]
