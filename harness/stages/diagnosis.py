"""What a silent guest is doing: samples of its processor, its disks and its text screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.stages.verdict import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.machine.protocol import Machine, ProcessorSample

_SAMPLES = 4
_INTERVAL = 0.4  # seconds between samples
_SCREEN_LINES = 8  # the last ones of the text screen are evidence


def diagnose(machine: Machine, wait: Callable[[float], object]) -> tuple[str, tuple[Evidence, ...]]:
    """Look at a silent machine and say what it is doing.

    Args:
        machine: The machine; it goes on running.
        wait: Waits for this many seconds.

    Returns:
        A clause such as "the guest idles …", and what it rests on.
    """
    samples: list[ProcessorSample] = []
    for _ in range(_SAMPLES):
        wait(_INTERVAL)
        sample = machine.sample()
        if sample is not None:
            samples.append(sample)
    evidence = [
        Evidence(
            "processor",
            f"HLT={sample.halted:d} IF={sample.interrupts:d} CPL={sample.privilege} "
            f"cpu={sample.cpu_share:.2f} written={sample.written}",
        )
        for sample in samples
    ]
    evidence += [Evidence("screen", line) for line in machine.screen()[-_SCREEN_LINES:]]
    return conclude(samples), tuple(evidence)


def conclude(samples: Sequence[ProcessorSample]) -> str:
    """Say in a clause what a guest does that looks like these samples."""
    if not samples:
        return "and the machine does not tell what it is doing"
    if all(sample.halted and not sample.interrupts for sample in samples):
        return "the processor has halted with interrupts off, and nothing can wake it"
    if samples[-1].written > samples[0].written:
        return "the guest is writing to its disk"
    busy = [sample for sample in samples if not sample.halted]
    if len(busy) * 2 <= len(samples):
        return "the guest idles: it waits for input, a device or a timer"
    if sum(sample.privilege == 3 for sample in busy) * 2 > len(busy):
        return "a program in user space keeps the processor busy"
    return "the kernel or the firmware keeps the processor busy"
