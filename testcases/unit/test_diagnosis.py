from __future__ import annotations

import re
import time
from threading import Event
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from harness.core.outcome import Outcome
from harness.machine.protocol import ProcessorSample
from harness.stages.diagnosis import conclude, diagnose, gets_on
from testcases.support.machines import POWERED_OFF, RELAY, FakeMachine, Looks, follow, recorded_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.machine.protocol import End
    from harness.stages.verdict import Verdict
    from testcases.support.machines import Guest, Script


def sample(
    halted: int, interrupts: int, privilege: int = 0, written: int = 0, read: int = 0, *, paging: bool = True
) -> ProcessorSample:
    return ProcessorSample(
        halted=bool(halted),
        interrupts=bool(interrupts),
        privilege=privilege,
        cpu_share=0.5,
        written=written,
        read=read,
        paging=paging,
        at=0x1234,
    )


DEAD, IDLE, SPIN, BUSY = sample(1, 0), sample(1, 1), sample(0, 1, 3), sample(0, 1)

NO_PAGING = (
    "no kernel with paging runs: the firmware, a boot loader or a simple kernel keeps the processor busy"
)
CONCLUSIONS: dict[str, tuple[Sequence[ProcessorSample], str]] = {
    "dead": ([DEAD] * 4, "the processor has halted with interrupts off, and nothing can wake it"),
    "idle": ([IDLE] * 4, "the guest idles: it waits for input, a device or a timer"),
    "idle with a timer": (
        [IDLE, BUSY, IDLE, DEAD],
        "the guest idles: it waits for input, a device or a timer",
    ),
    "spin": ([SPIN] * 4, "a program in user space keeps the processor busy"),
    "spin with timer": ([SPIN, BUSY, SPIN, SPIN], "a program in user space keeps the processor busy"),
    "busy": ([BUSY] * 4, "the kernel keeps the processor busy"),
    "panic loop": ([sample(0, 0)] * 4, "the kernel keeps the processor busy"),
    "system calls": ([BUSY, SPIN] * 6, "the kernel keeps the processor busy"),
    "firmware": (
        [sample(0, 1, paging=False)] * 4,
        NO_PAGING,
    ),
    "boot menu": (
        [sample(1, 1, paging=False)] * 4,
        "no kernel with paging runs: the firmware or a boot loader waits for a key, a device or a timer",
    ),
    "boot sector that gave up": (
        [sample(1, 0, paging=False)] * 4,
        "the processor has halted with interrupts off, and nothing can wake it",
    ),
    "reading": ([sample(1, 1), sample(0, 1, 0, 0, 512)], "the guest is reading from its disk"),
    "copying": ([sample(1, 1), sample(0, 1, 0, 9, 512)], "the guest is reading from and writing to its disk"),
    "loading": (
        [sample(0, 1, paging=False), sample(0, 1, 0, 0, 512, paging=False)],
        "the guest is reading from its disk",
    ),
    "writing": ([sample(1, 1, 0, 512), sample(0, 1, 0, 4096)], "the guest is writing to its disk"),
    "has written": ([sample(1, 1, 0, 4096)] * 4, "the guest idles: it waits for input, a device or a timer"),
    "unknown": ([], "and the machine does not tell what it is doing"),
}


@pytest.mark.parametrize("name", CONCLUSIONS)
def test_conclusion(name: str) -> None:
    samples, clause = CONCLUSIONS[name]
    assert conclude(samples).clause == clause


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
    assert verdict.hint == "; ".join(filter(None, (conclude(samples).hint, RELAY.stages[2].hint)))
    kinds = [evidence.what for evidence in verdict.evidence]
    assert kinds.count("processor") in (range(4, 13) if samples else [0])
    assert kinds.count("screen") == 1
    last = next(evidence for evidence in reversed(verdict.evidence) if evidence.what == "console")
    assert last.text.startswith("[    0.000000] Linux version 5.10")
    assert (
        (tmp_path / "console.raw")
        .read_bytes()[last.offset :]
        .startswith(b"[    0.000000] Linux version 5.10")
    )


STARVED = msgspec.structs.replace(BUSY, cpu_share=0.0)
LOOKS: dict[str, tuple[Sequence[ProcessorSample], int, str]] = {
    "clear at once": ([SPIN] * 12, 4, "a program in user space keeps the processor busy"),
    "timer at the wrong moments": (
        [BUSY, BUSY, *[SPIN] * 10],
        7,
        "a program in user space keeps the processor busy",
    ),
    "idle, with timers": ([BUSY, IDLE] * 2 + [IDLE] * 8, 7, "the guest idles: it waits for input"),
    "no processor for the guest": (
        [BUSY, *[STARVED] * 4, *[SPIN] * 7],
        5,
        "a program in user space keeps the processor busy",
    ),
    "never a processor": ([STARVED] * 12, 1, "the kernel keeps the processor busy"),
    "never clear": ([SPIN, BUSY] * 6, 12, "the kernel keeps the processor busy"),
}


@pytest.mark.parametrize("name", LOOKS)
def test_silent_guest_is_looked_at_until_it_is_clear_what_it_does(name: str) -> None:
    samples, count, clause = LOOKS[name]
    with FakeMachine(lambda _: None, looks=Looks(samples)) as machine:
        doing, evidence = diagnose(machine, lambda _: None, asked=False)
    assert doing.clause.startswith(clause)
    assert [item.what for item in evidence].count("processor") == count


def test_samples_are_shown_as_they_are(tmp_path: Path) -> None:
    looks = Looks([sample(1, 0, 0, 1), sample(0, 1, 3, 2)])
    machine = FakeMachine(lambda guest: guest.hurry(), looks=looks)
    verdict = follow(RELAY, machine, tmp_path).verdict
    assert [evidence.text for evidence in verdict.evidence][:2] == [
        "HLT=1 IF=0 CPL=0 PG=1 at=0x1234 cpu=0.50 read=0 written=1",
        "HLT=0 IF=1 CPL=3 PG=1 at=0x1234 cpu=0.50 read=0 written=2",
    ]


def test_every_conclusion_has_its_own_next_step() -> None:
    found = {conclude(samples) for samples, _ in CONCLUSIONS.values() if samples}
    found.add(conclude([IDLE], asked=True))
    disk = {doing for doing in found if "disk" in doing.clause}
    assert len({doing.hint for doing in disk}) == 1
    assert len({doing.clause for doing in found - disk}) == len({doing.hint for doing in found - disk}) == 7
    assert all(doing.hint for doing in found)


def test_unfinished_line_is_quoted(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.play(recorded_until("sysb") + b"What disk would you like? (sda) ")
        guest.hurry()

    verdict = follow(RELAY, FakeMachine(script, looks=Looks([IDLE])), tmp_path).verdict
    assert "the guest idles and waits for input; the console's last line" in verdict.reason
    assert verdict.reason.endswith('without an end, is "What disk would you like? (sda)"')
    (evidence,) = (item for item in verdict.evidence if item.text.startswith("What disk"))
    assert (tmp_path / "console.raw").read_bytes()[evidence.offset :].startswith(b"What disk")


def hung(tmp_path: Path, console: bytes, screen: Sequence[str]) -> Verdict:
    def script(guest: Guest) -> None:
        guest.play(console)
        guest.hurry()

    return follow(RELAY, FakeMachine(script, looks=Looks([IDLE], screen=screen)), tmp_path).verdict


FIRMWARE = ["SeaBIOS (version 1.16.2)", "Booting from ROM...", "Decompressing Linux... Parsing ELF... done."]


def test_guest_that_never_used_the_console_is_quoted_from_its_screen(tmp_path: Path) -> None:
    verdict = hung(tmp_path, b"", [*FIRMWARE, "Welcome to a system without printk times", "login:"])
    assert verdict.outcome == Outcome.HANG
    assert verdict.reason.endswith('does not use the serial console: its screen shows "login:"')
    assert "console=ttyS0" in verdict.hint
    assert [item.text for item in verdict.evidence if item.what == "screen"][-1] == "login:"


def test_firmware_on_the_screen_is_no_lost_console(tmp_path: Path) -> None:
    verdict = hung(tmp_path, b"", FIRMWARE)
    assert verdict.reason.endswith("the guest idles: it waits for input, a device or a timer")


def test_screen_of_a_guest_that_uses_its_console_is_quoted_only(tmp_path: Path) -> None:
    verdict = hung(tmp_path, recorded_until("sysb"), [*FIRMWARE, "Debian GNU/Linux 12 tty1"])
    assert verdict.reason.endswith(
        'a device or a timer; its screen, unlike the console, shows "Debian GNU/Linux 12 tty1"'
    )


def test_kernel_messages_that_came_over_the_console_long_ago_are_no_lost_console(tmp_path: Path) -> None:
    """A guest with two consoles: its screen cuts lines, and they need not be the last that came."""
    log = recorded_until("sysb")
    lines = [line for line in log.decode().splitlines() if line.startswith("[    0.0") and len(line) > 90]
    rows = [lines[0][:80], lines[0][80:]]
    verdict = hung(tmp_path, log, rows)
    assert verdict.reason.endswith("the guest idles: it waits for input, a device or a timer")


class Startled(FakeMachine):
    """Its guest does nothing until somebody looks at it."""

    def __init__(self, script: Script, **options: Any) -> None:
        super().__init__(script, **options)
        self.seen = Event()

    def sample(self) -> ProcessorSample | None:
        self.seen.set()
        time.sleep(0.2)
        return None if self.poll() else IDLE


@pytest.mark.parametrize("keys", [{}, {"progress": ("disk",)}])
def test_guest_that_ends_while_it_is_looked_at_has_ended(tmp_path: Path, keys: dict[str, Any]) -> None:
    def script(guest: Guest) -> End:
        guest.say("on it")
        guest.hurry(50)
        machine.seen.wait(30)
        guest.say("done")
        return POWERED_OFF

    machine = Startled(script)
    stage = msgspec.structs.replace(RELAY.stages[0], budget=1000, silence=5, **keys)
    plan = msgspec.structs.replace(RELAY, stages=(stage,), scale={})
    verdict = follow(plan, machine, tmp_path).verdict
    assert verdict.outcome == Outcome.PASS, verdict


def test_guest_that_speaks_while_it_is_looked_at_is_not_silent(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.say("on it")
        guest.hurry(50)
        machine.seen.wait(30)
        guest.say("still here")

    machine = Startled(script)
    stage = msgspec.structs.replace(RELAY.stages[0], budget=1000, silence=5)
    verdict = follow(msgspec.structs.replace(RELAY, stages=(stage,), scale={}), machine, tmp_path).verdict
    assert verdict.outcome == Outcome.HANG
    assert [item.text for item in verdict.evidence if item.what == "console"] == ["on it", "still here"]


PROGRESS: dict[str, tuple[list[ProcessorSample], tuple[str, ...], bool]] = {
    "writes": ([IDLE, IDLE, sample(1, 1, 0, 512)], ("disk",), True),
    "has written": ([sample(1, 1, 0, 512)], ("disk",), False),
    "reads": ([IDLE, IDLE, sample(1, 1, 0, 0, 512)], ("disk",), True),
    "reads, but that does not count": ([IDLE, sample(1, 1, 0, 0, 512)], ("user",), False),
    "has read and written": ([sample(1, 1, 0, 512, 512)], ("disk",), False),
    "writes, but that does not count": ([IDLE, sample(1, 1, 0, 512)], ("user",), False),
    "computes now and then": ([*[BUSY] * 8, SPIN], ("user",), True),
    "computes, but that does not count": ([SPIN], ("disk",), False),
    "kernel loop": ([BUSY], ("disk", "user"), False),
    "halted user": ([sample(1, 1, 3)], ("user",), False),
    "output is not to be seen": ([SPIN], ("output",), False),
    "unknown": ([], ("disk", "user"), False),
}


@pytest.mark.parametrize("name", PROGRESS)
def test_progress(name: str) -> None:
    samples, kinds, expected = PROGRESS[name]
    with FakeMachine(lambda _: None, looks=Looks(samples)) as machine:
        assert gets_on(machine, kinds, lambda _: None) == expected


def patient(looks: Looks, tmp_path: Path, rate: float = 20, **keys: Any) -> Verdict:
    """The verdict on a guest that is silent for ever in a stage with some keys."""
    stage = msgspec.structs.replace(RELAY.stages[0], budget=10, silence=2, **keys)
    plan = msgspec.structs.replace(RELAY, stages=(stage,), scale={})
    machine = FakeMachine(lambda _: None, rate=rate, looks=looks)
    return follow(plan, machine, tmp_path).verdict


def waited(verdict: Verdict) -> int:
    seconds = re.search(r"(\d+) s:", verdict.reason)
    assert seconds is not None
    return int(seconds[1])


def test_silence_with_progress_is_no_hang_until_the_budget_is_used_up(tmp_path: Path) -> None:
    verdict = patient(Looks([SPIN]), tmp_path, progress=("user",))
    assert (verdict.outcome, 10 <= waited(verdict) < 20) == (Outcome.TIMEOUT, True)


def test_budget_is_extended_up_to_the_limit(tmp_path: Path) -> None:
    verdict = patient(Looks([SPIN]), tmp_path, progress=("user",), limit=30)
    assert (verdict.outcome, 30 <= waited(verdict) < 40) == (Outcome.TIMEOUT, True)
    assert verdict.reason.endswith("a program in user space keeps the processor busy")


@pytest.mark.parametrize("keys", [{}, {"limit": 30}, {"progress": ("disk",), "limit": 30}])
def test_silence_without_progress_of_a_declared_kind_is_a_hang(tmp_path: Path, keys: dict[str, Any]) -> None:
    verdict = patient(Looks([SPIN]), tmp_path, **keys)
    assert (verdict.outcome, 2 <= waited(verdict) < 9) == (Outcome.HANG, True)
    assert verdict.reason.startswith("nothing was heard for ")


def test_kernel_loop_is_a_hang_where_computing_is_progress(tmp_path: Path) -> None:
    verdict = patient(Looks([BUSY]), tmp_path, progress=("user", "disk"), limit=30)
    assert verdict.outcome == Outcome.HANG


@pytest.mark.parametrize(
    ("keys", "least"),
    [
        ({}, 10),
        ({"limit": 30}, 10),
        ({"progress": ("output",), "limit": 30}, 30),
        ({"milestones": ("^other",), "limit": 30}, 10),
        ({"milestones": ("^on and on",), "limit": 30}, 30),
    ],
)
def test_what_a_chatty_guest_says_counts_if_the_plan_says_so(
    tmp_path: Path, keys: dict[str, object], least: int
) -> None:
    def script(guest: Guest) -> None:
        while not guest.wait(0):
            guest.say("on and on")
            guest.settle()

    stage = msgspec.structs.replace(RELAY.stages[0], budget=10, silence=5, **keys)
    plan = msgspec.structs.replace(RELAY, stages=(stage,), scale={})
    verdict = follow(plan, FakeMachine(script, rate=20), tmp_path).verdict
    assert (verdict.outcome, least <= waited(verdict) < least + 9) == (Outcome.TIMEOUT, True)


def test_progress_buys_another_silence(tmp_path: Path) -> None:
    verdict = patient(Looks([SPIN, SPIN, IDLE]), tmp_path, rate=4, progress=("user",))
    assert (verdict.outcome, 4 <= waited(verdict) < 9) == (Outcome.HANG, True)
