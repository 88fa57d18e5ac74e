"""Finds out what a silent guest does, by samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.stages.verdict import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from harness.machine.protocol import Observed, ProcessorSample

_SAMPLES = 4
_LEAD = 3  # samples by which one explanation has to be ahead of the other
_USER = 3  # the privilege level of user space
_INTERVAL = 0.4  # seconds between samples
_LOOKS = 12  # samples at most: a busy program is often in the kernel
_RAN = 0.02  # share of a processor; a guest that got less is where it was, and was not looked at once more
_SCREEN_LINES = 8  # the last ones of the text screen are evidence


class Doing(msgspec.Struct, frozen=True):
    """What a silent guest does."""

    clause: str  # such as "the guest idles …"
    hint: str = ""  # what to do next


def gets_on(machine: Observed, kinds: Collection[str], wait: Callable[[float], object]) -> bool:
    """Whether a silent machine, which goes on running, shows progress of these kinds.

    "disk": bytes are read or written; "user": a program computes. `wait` waits for so many seconds.
    """
    if not {"disk", "user"} & set(kinds):
        return False
    before = machine.sample()
    for _ in range(_LOOKS):
        wait(_INTERVAL)
        sample = machine.sample()
        if before is None or sample is None:
            return False
        if "disk" in kinds and (sample.written > before.written or sample.read > before.read):
            return True
        if "user" in kinds and not sample.halted and sample.privilege == _USER:
            return True
    return False


def diagnose(
    machine: Observed, wait: Callable[[float], object], *, asked: bool
) -> tuple[Doing, tuple[Evidence, ...]]:
    """Look at a silent machine, which goes on running: what it is doing, and what that rests on.

    `asked`: whether the console ends in the middle of a line, as a question does.
    """
    samples = _look(machine, wait)
    evidence = [
        Evidence(
            "processor",
            f"HLT={sample.halted:d} IF={sample.interrupts:d} CPL={sample.privilege} PG={sample.paging:d} "
            f"at={sample.at:#x} cpu={sample.cpu_share:.2f} read={sample.read} written={sample.written}",
        )
        for sample in samples
    ]
    evidence += [Evidence("screen", line) for line in machine.screen()[-_SCREEN_LINES:]]
    return conclude(samples, asked=asked), tuple(evidence)


def _look(machine: Observed, wait: Callable[[float], object]) -> list[ProcessorSample]:
    """Look until it is clear what the guest does, or often enough."""
    samples: list[ProcessorSample] = []
    for _ in range(_LOOKS):
        wait(_INTERVAL)
        sample = machine.sample()
        if sample is None:
            break
        if sample.halted or sample.cpu_share >= _RAN or not samples:
            samples.append(sample)
        if len(samples) >= _SAMPLES and _is_clear(samples):
            break
    return samples


def _is_clear(samples: Sequence[ProcessorSample]) -> bool:
    halted = sum(sample.halted for sample in samples)
    user = sum(not sample.halted and sample.privilege == _USER for sample in samples)
    kernel = len(samples) - halted - user
    busy = user + kernel
    return halted - busy >= _LEAD or (busy - halted >= _LEAD and abs(user - kernel) >= _LEAD)


_DEAD = Doing(
    "the processor has halted with interrupts off, and nothing can wake it",
    "look at the screen and the last lines: a kernel or boot loader gave up on purpose",
)
# No Linux is running where nothing is paged: its kernels switch paging on before anything else.
_FIRMWARE_WAITS = Doing(
    "no kernel with paging runs: the firmware or a boot loader waits for a key, a device or a timer",
    "look at the screen; a boot loader with a menu needs a timeout and its first entry as default",
)
_FIRMWARE_WORKS = Doing(
    "no kernel with paging runs: the firmware, a boot loader or a simple kernel keeps the processor busy",
    "look at the screen; the medium's boot code, or what it loads, does not come to an end",
)
_ASKS = Doing(
    "the guest idles and waits for input",
    "answer the question beforehand: in the image, or with a key of the plan",
)
_IDLES = Doing(
    "the guest idles: it waits for input, a device or a timer",
    "if it waits for an answer, give that beforehand: in the image, or with a key of the plan",
)
_PROGRAM_WORKS = Doing(
    "a program in user space keeps the processor busy",
    "if it works rather than spins, give it more time with --patience",
)
_KERNEL_WORKS = Doing(
    "the kernel keeps the processor busy",
    "the last lines and the screen may say what it tries again and again",
)


def conclude(samples: Sequence[ProcessorSample], *, asked: bool = False) -> Doing:
    """Say what a guest does that looks like these samples."""
    if not samples:
        return Doing("and the machine does not tell what it is doing")
    if all(sample.halted and not sample.interrupts for sample in samples):
        return _DEAD
    if work := _disk_work(samples[0], samples[-1]):
        return work
    busy = [sample for sample in samples if not sample.halted]
    idle = len(busy) * 2 <= len(samples)
    if not any(sample.paging for sample in samples):
        return _FIRMWARE_WAITS if idle else _FIRMWARE_WORKS
    if idle:
        return _ASKS if asked else _IDLES
    in_programs = sum(sample.privilege == _USER for sample in busy) * 2 > len(busy)
    return _PROGRAM_WORKS if in_programs else _KERNEL_WORKS


def _disk_work(first: ProcessorSample, last: ProcessorSample) -> Doing | None:
    writes, reads = last.written > first.written, last.read > first.read
    if not writes and not reads:
        return None
    does = "reading from and writing to" if writes and reads else "writing to" if writes else "reading from"
    counts = 'let that count (progress = ["disk"] in the plan\'s stage), or '
    return Doing(f"the guest is {does} its disk", f"it works: {counts}give it more time with --patience")
