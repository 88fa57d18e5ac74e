"""What failures look like on a console, and the verdict that each must get."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.core.outcome import Outcome
from harness.machine.protocol import End, EndCause, ProcessorSample
from harness.stages.plan import Failure
from testcases.support.machines import (
    IMAGES,
    KILLED,
    POWERED_OFF,
    RELAY,
    RESET,
    FakeMachine,
    Looks,
    follow,
    recorded_until,
    relay_without_checks,
)

if TYPE_CHECKING:
    from pathlib import Path

    from harness.stages.verdict import Verdict
    from testcases.support.machines import Guest

WATCHED = relay_without_checks()


def verdict(
    tmp_path: Path, stage: str, lines: list[str], end: End | None = RESET, *, looks: Looks | None = None
) -> Verdict:
    """The verdict on a good run that gets to a stage, prints some lines and ends; None: with silence."""

    def script(guest: Guest) -> End | None:
        guest.play(recorded_until(stage))
        guest.say(*lines)
        if end is None:
            guest.hurry()
        return end

    plan = WATCHED if end == POWERED_OFF else RELAY
    return follow(plan, FakeMachine(script, looks=looks), tmp_path).verdict


def line_at(tmp_path: Path, offset: int | None) -> str:
    assert offset is not None
    raw = (tmp_path / "console.raw").read_bytes()
    assert offset == 0 or raw[offset - 1 : offset] == b"\n"
    return raw[offset:].split(b"\r\n")[0].decode()


KILLED_INIT = "[    3.400000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"
GAVE_UP = "relay: sysa: failed: kexec --load ended with status 255"
NO_ROOT = "[    2.9] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)".replace(
    "2.9", "2.900000"
)

# Stage, lines, the number of the line that explains it, outcome, and what the reason must name.
TABLE = {
    "kexec disabled": (
        "sysa",
        ["kexec_load failed: Operation not permitted", "entry       = 0x96450 flags = 0x30000", GAVE_UP],
        0,
        Outcome.FAIL,
        'refuses kexec: kexec_load failed with "Operation not permitted"',
    ),
    "kexec not built in": (
        "sysa",
        ["kexec_load failed: Function not implemented", GAVE_UP, KILLED_INIT],
        0,
        Outcome.FAIL,
        'no kexec: kexec_load failed with "Function not implemented"',
    ),
    "kexec_file_load": (
        "sysa",
        ["syscall kexec_file_load not available.", GAVE_UP, KILLED_INIT],
        0,
        Outcome.FAIL,
        "kexec_file_load",
    ),
    "junk kernel": (
        "sysa",
        ["Cannot determine the file type of /sysb/vmlinuz", GAVE_UP, KILLED_INIT],
        0,
        Outcome.FAIL,
        "/sysb/vmlinuz, which kexec was to load, is no kernel",
    ),
    "missing kernel": (
        "sysa",
        ["Cannot open `/sysb/vmlinuz': No such file or directory", GAVE_UP, KILLED_INIT],
        0,
        Outcome.FAIL,
        "/sysb/vmlinuz, which kexec was to load, is not in the image",
    ),
    "unknown kexec trouble": (
        "sysa",
        ["Could not find a free area of memory of 0x8000 bytes...", GAVE_UP, KILLED_INIT],
        1,
        Outcome.FAIL,
        "/init of sysa gave up: kexec --load ended with status 255",
    ),
    "bad initramfs": (
        "sysb",
        [
            "[    2.217068] Initramfs unpacking failed: invalid magic at start of compressed archive",
            NO_ROOT,
        ],
        0,
        Outcome.FAIL,
        "could not unpack its initramfs: invalid magic at start of compressed archive",
    ),
    "bad gzip": (
        "sysb",
        ["[    2.217068] Initramfs unpacking failed: broken padding", NO_ROOT],
        0,
        Outcome.FAIL,
        "could not unpack its initramfs: broken padding",
    ),
    "cut gzip": (
        "sysb",
        ["[    2.217068] Initramfs unpacking failed: read error", NO_ROOT],
        0,
        Outcome.FAIL,
        "could not unpack its initramfs: read error",
    ),
    "initramfs too large": (
        "sysa",
        ["[    2.217068] Initramfs unpacking failed: write error", NO_ROOT],
        0,
        Outcome.FAIL,
        "does not fit into the guest's memory",
    ),
    "cut initramfs": ("sysa", [NO_ROOT], 0, Outcome.PANIC, "root filesystem (unknown-block(0,0))"),
    "nothing that UEFI starts": (
        "sysa",
        ['BdsDxe: starting Boot0001 "EFI Internal Shell" from Fv(7CB8BDC9-F8EB-4F34-AAEA-3EE4AF6516A1)'],
        0,
        Outcome.CONFIG,
        'the firmware found nothing to boot: starting Boot0001 "EFI Internal Shell"',
    ),
    "root device absent": (
        "sysb",
        [
            '[    2.800000] VFS: Cannot open root device "sda" or unknown-block(0,0): error -6',
            '[    2.800001] Please append a correct "root=" boot option; here are the available partitions:',
            NO_ROOT,
        ],
        0,
        Outcome.FAIL,
        "does not see the root device sda (error 6)",
    ),
    "no root device asked for": (
        "sysb",
        ['[    2.800000] VFS: Cannot open root device "" or unknown-block(0,0): error -6', NO_ROOT],
        1,
        Outcome.PANIC,
        "neither an init in the initramfs nor a root filesystem",
    ),
    "no root device, older words": (
        "sysb",
        ['[    2.800000] VFS: Cannot open root device "(null)" or unknown-block(0,0): error -6', NO_ROOT],
        1,
        Outcome.PANIC,
        "neither an init in the initramfs nor a root filesystem",
    ),
    "wrong architecture": (
        "sysb",
        ["[    3.3] Failed to execute /init (error -8)".replace("3.3", "3.300000"), "/ # "],
        0,
        Outcome.FAIL,
        "/init is in no format that this kernel executes",
    ),
    "no interpreter": (
        "sysa",
        ["[    3.300000] Failed to execute /sbin/start (error -2)", "/ # "],
        0,
        Outcome.FAIL,
        "/sbin/start or the interpreter that it names is not in the image",
    ),
    "no permission": (
        "sysa",
        ["[    3.300000] Failed to execute /init (error -13)"],
        0,
        Outcome.FAIL,
        "could not execute /init (error 13)",
    ),
    "requested init": (
        "sysa",
        ["[    3.300000] Kernel panic - not syncing: Requested init /bin/nothing failed (error -2)."],
        0,
        Outcome.FAIL,
        "/bin/nothing, the init asked for on the command line",
    ),
    "init exits 3": (
        "switch_root",
        [
            "[    3.4] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300".replace(
                "3.4", "3.400000"
            )
        ],
        0,
        Outcome.PANIC,
        "(PID 1) ended with exit status 0x03",
    ),
    "init exits 0": (
        "sysc",
        ["[    3.400000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000000"],
        0,
        Outcome.PANIC,
        "(PID 1) ended with exit status 0x00",
    ),
    "init is killed": (
        "sysb",
        ["[    3.400000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b"],
        0,
        Outcome.PANIC,
        "(PID 1) was killed by a signal (exit code 0x0000000b)",
    ),
    "out of memory": (
        "sysa",
        [
            "[    0.642166] Out of memory and no killable processes...",
            "[    0.642806] Kernel panic - not syncing: System is deadlocked on memory",
        ],
        0,
        Outcome.FAIL,
        "the guest ran out of memory",
    ),
    "process killed for memory": (
        "sysc",
        ["[   30.642166] Out of memory: Killed process 117 (cc1) total-vm:93184kB, anon-rss:40000kB"],
        0,
        Outcome.FAIL,
        "the kernel killed cc1",
    ),
    "timer": (
        "kexec",
        ["[    0.100000] Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug"],
        0,
        Outcome.INFRA,
        "lost a race for its timer",
    ),
    "any panic": (
        "sysb",
        ["[    1.000000] Kernel panic - not syncing: Fatal exception in interrupt"],
        0,
        Outcome.PANIC,
        "the kernel panicked: Fatal exception in interrupt",
    ),
    "panic with the caller in its stamp": (
        "sysb",
        ["[    1.000000][    T1] Kernel panic - not syncing: hung_task: blocked tasks"],
        0,
        Outcome.PANIC,
        "the kernel panicked: hung_task: blocked tasks",
    ),
    "panic without a stamp": (
        "kexec",
        ["Kernel panic - not syncing: No working init found.  Try passing init= option to kernel."],
        0,
        Outcome.PANIC,
        "No working init found",
    ),
    "no disk": (
        "sysb",
        ["relay: sysb: failed: no disk with the label sysc; the kernel sees: sda sda1", KILLED_INIT],
        0,
        Outcome.FAIL,
        "the kernel sees: sda sda1",
    ),
    "no disk at all": (
        "sysb",
        ["relay: sysb: failed: no disk with the label sysc; the kernel sees: ", KILLED_INIT],
        0,
        Outcome.FAIL,
        "the kernel sees: nothing",
    ),
    "init gives up": (
        "sysb",
        ["relay: sysb: failed: cannot load module ext4.ko", KILLED_INIT],
        0,
        Outcome.FAIL,
        "/init of sysb gave up: cannot load module ext4.ko",
    ),
    "started over": (
        "sysb",
        ["[    0.000000] Linux version 6.1.0-50-686 (debian-kernel@lists.debian.org)", "relay: sysa: up"],
        0,
        Outcome.PANIC,
        "started over without a word: Linux 6.1.0-50-686 came up once more",
    ),
    "disk full": (
        "sysb",
        ["cp: error writing '/sysc/x': No space left on device", "[    3.5] end".replace("3.5", "3.500000")],
        0,
        Outcome.FAIL,
        "a filesystem of the guest is full",
    ),
}


@pytest.mark.parametrize("row", TABLE)
def test_failure_has_its_own_verdict(tmp_path: Path, row: str) -> None:
    stage, lines, number, outcome, reason = TABLE[row]
    found = verdict(tmp_path, stage, lines)
    assert (found.outcome, found.stage) == (outcome, stage)
    assert reason in found.reason
    assert "{" not in found.reason
    assert found.hint
    shown = [line_at(tmp_path, evidence.offset) for evidence in found.evidence if evidence.what == "console"]
    assert lines[number] in shown
    for evidence in found.evidence:
        assert evidence.text in line_at(tmp_path, evidence.offset)


def test_every_failure_of_the_relay_is_in_the_table() -> None:
    lines = [line for row in TABLE.values() for line in row[1]]
    texts = {*lines, *(line.partition("] ")[2] for line in lines)}
    for failure in tomllib.loads((IMAGES / "plans/relay.toml").read_text("utf-8"))["failure"]:
        assert any(re.search(failure["pattern"], text) for text in texts), failure["pattern"]


@pytest.mark.parametrize(
    "lines",
    [
        ["[    2.217068] Initramfs unpacking failed: junk at the end of compressed archive"],
        ["kexec_load failed: Operation not permitted"],
        ["checking /dev/full... tee: write error: No space left on device"],
        [
            "panic.c:12: error: 'panic' undeclared (first use in this function)",
            "make[2]: *** [Makefile:12: failed.o] Error 1",
            "checking whether failed to execute is fatal... no",
            "not ok 3 - kernel panic is reported # TODO known failure",
            "FAIL: test_out_of_memory",
            "relay: sysc: nothing failed: all is well",
            "init: VFS layer cannot open device",
            "warning: Attempted to free unlocked init!",
            "segfault, oops, BUG, hang, timeout, fatal",
        ],
    ],
    ids=["initramfs", "kexec", "space", "compiler"],
)
@pytest.mark.parametrize("stage", ["sysa", "shell"])
def test_clues_and_noise_alone_fail_nothing(tmp_path: Path, stage: str, lines: list[str]) -> None:
    log = recorded_until(stage)

    def script(guest: Guest) -> End:
        guest.play(log)
        guest.say("", *lines)
        guest.play(recorded_until("shell")[len(log) :])
        return POWERED_OFF

    assert follow(WATCHED, FakeMachine(script), tmp_path).verdict.outcome == Outcome.PASS


def test_of_several_failures_the_first_in_the_plan_is_the_reason(tmp_path: Path) -> None:
    panic = "[    3.4] Kernel panic - not syncing: Fatal exception".replace("3.4", "3.400000")
    killed = "[    3.500000] Out of memory: Killed process 1 (init) total-vm:1kB"
    for number, lines in enumerate([[panic, killed], [killed, panic]]):
        directory = tmp_path / str(number)
        directory.mkdir()
        found = verdict(directory, "sysb", lines)
        assert found.reason == "the guest ran out of memory and the kernel killed init"
        assert [evidence.text for evidence in found.evidence] == [line.split("] ")[1] for line in lines]


def test_clue_of_an_earlier_stage_explains_nothing(tmp_path: Path) -> None:
    log = recorded_until("sysa") + b"kexec_load failed: Operation not permitted\r\n"

    def script(guest: Guest) -> End:
        guest.play(log + recorded_until("sysb")[len(recorded_until("sysa")) :])
        guest.say(KILLED_INIT)
        return RESET

    found = follow(RELAY, FakeMachine(script), tmp_path).verdict
    assert (found.stage, found.outcome) == ("sysb", Outcome.PANIC)
    assert "exit status 0x01" in found.reason


def test_failure_in_the_middle_of_a_line_is_seen_and_found(tmp_path: Path) -> None:
    found = verdict(tmp_path, "sysb", [f"relay: sysb: up un{KILLED_INIT}", "der 5.10"])
    assert (found.outcome, found.stage) == (Outcome.PANIC, "sysb")
    (evidence,) = found.evidence
    assert KILLED_INIT in line_at(tmp_path, evidence.offset)


def test_group_without_a_part_in_the_match_leaves_a_sentence(tmp_path: Path) -> None:
    failure = Failure(
        pattern="^broken(?: by (?P<who>.*))?$", outcome=Outcome.FAIL, reason="broken by {who}", hint="mend it"
    )
    plan = msgspec.structs.replace(RELAY, failures=(failure,))

    def script(guest: Guest) -> End:
        guest.say("broken")
        return RESET

    assert follow(plan, FakeMachine(script), tmp_path).verdict.reason == "broken by nothing"


def test_fallback_prompt_does_not_hide_the_failure_before_it(tmp_path: Path) -> None:
    """The kernel tries /bin/sh when /init cannot be executed: the goal appears although all is lost."""
    found = verdict(tmp_path, "sysc", ["[    3.300000] Failed to execute /init (error -8)", "bash-5.2# "])
    assert (found.outcome, found.stage) == (Outcome.FAIL, "sysc")


HALTED = ProcessorSample(halted=True, interrupts=False, privilege=0, cpu_share=0.0, written=0)
SCREENS = {
    "corrupt": (
        [
            "Booting from ROM...",
            "Decompressing Linux... ",
            "XZ-compressed data is corrupt",
            " -- System halted",
        ],
        Outcome.FAIL,
        "could not decompress itself: XZ-compressed data is corrupt",
    ),
    "crc": (["crc error", " -- System halted"], Outcome.FAIL, "could not decompress itself: crc error"),
    "processor": (
        ["This kernel requires an x86-64 CPU, but only detected an i686 CPU.", "Unable to boot"],
        Outcome.CONFIG,
        "needs an x86-64 processor",
    ),
    "nothing to boot": (
        ["SeaBIOS (version 1.16.2)", "Booting from Hard Disk...", "Boot failed: not a bootable disk", ""],
        Outcome.CONFIG,
        "nothing to boot: Boot failed: not a bootable disk",
    ),
    "no device": (["No bootable device."], Outcome.CONFIG, "nothing to boot: No bootable device"),
    "console": (
        ["[    2.294112] acpiphp: Slot [4] registered", "[    2.294714] acpiphp: Slot [11] registered"],
        Outcome.HANG,
        'does not use the serial console: its screen shows kernel messages, such as "acpiphp: Slot [11]',
    ),
    "console with callers": (
        ["[    2.294714][    T1] acpiphp: Slot [11] registered"],
        Outcome.HANG,
        'such as "acpiphp: Slot [11] registered"',
    ),
}


@pytest.mark.parametrize("name", SCREENS)
def test_screen_explains_silence(tmp_path: Path, name: str) -> None:
    screen, outcome, reason = SCREENS[name]
    looks = Looks(samples=[HALTED], screen=screen)
    found = verdict(tmp_path, "kexec", [], end=None, looks=looks)
    assert (found.outcome, found.stage) == (outcome, "kexec")
    assert reason in found.reason
    assert found.hint
    assert [evidence.text for evidence in found.evidence if evidence.what == "screen"] == screen


def test_decompressor_comes_before_old_kernel_messages_on_the_screen(tmp_path: Path) -> None:
    screen = ["[    2.294714] kexec_core: Starting new kernel", "crc error", "", " -- System halted"]
    found = verdict(tmp_path, "kexec", [], end=None, looks=Looks(screen=screen))
    assert found.outcome == Outcome.FAIL


def test_kernel_messages_on_both_consoles_are_no_lost_console(tmp_path: Path) -> None:
    last = "[    3.601499] clocksource: Switched to clocksource tsc"
    looks = Looks(samples=[HALTED], screen=["[    3.600566] tsc: Refined", last])
    found = verdict(tmp_path, "sysb", ["[    3.600566] tsc: Refined", last], end=None, looks=looks)
    assert found.outcome == Outcome.HANG
    assert "halted with interrupts off" in found.reason


@pytest.mark.parametrize("stage", ["sysa", "kexec", "sysb", "switch_root", "sysc", "shell"])
@pytest.mark.parametrize(
    ("end", "outcome", "reason"),
    [
        (RESET, Outcome.PANIC, "the machine reset itself without a word"),
        (POWERED_OFF, Outcome.FAIL, "powered itself off too early"),
        (End(EndCause.GUEST_PANIC), Outcome.PANIC, "reported a panic"),
        (KILLED, Outcome.INFRA, "killed by signal 9"),
        (End(EndCause.HOST_QUIT), Outcome.INFRA, "host-qmp-quit"),
    ],
    ids=["reset", "shutdown", "panic", "killed", "quit"],
)
def test_end_without_a_word(tmp_path: Path, stage: str, end: End, outcome: Outcome, reason: str) -> None:
    def script(guest: Guest) -> End:
        guest.play(recorded_until(stage))
        return end

    result = follow(RELAY, FakeMachine(script), tmp_path)
    found = result.verdict
    assert (found.outcome, found.stage) == (outcome, stage)
    assert reason in found.reason
    assert found.hint
    assert found.evidence[-1].what == "machine"
    for evidence in found.evidence[:-1]:
        assert evidence.text == line_at(tmp_path, evidence.offset)
    names = [stage.name for stage in RELAY.stages]
    reached = names.index(stage)
    expected = ["passed"] * reached + ["failed"] + ["not reached"] * (len(names) - reached - 1)
    assert [(part.name, part.status) for part in result.stages] == list(zip(names, expected, strict=True))


def test_order_in_the_plan_is_what_counts(tmp_path: Path) -> None:
    general = Failure(pattern="^bad", outcome=Outcome.FAIL, reason="general", hint="-")
    particular = msgspec.structs.replace(general, pattern="^bad luck", reason="particular")

    def script(guest: Guest) -> End:
        guest.say("bad", "bad luck")
        return RESET

    for failures in ((general, particular), (particular, general)):
        directory = tmp_path / failures[0].reason
        directory.mkdir()
        found = follow(
            msgspec.structs.replace(RELAY, failures=failures), FakeMachine(script), directory
        ).verdict
        assert found.reason == failures[0].reason


def test_failure_that_was_cut_off_counts(tmp_path: Path) -> None:
    def script(guest: Guest) -> End:
        guest.play(recorded_until("sysb") + b"[    1.000000] Kernel panic - not syncing: Fatal exc")
        return RESET

    found = follow(RELAY, FakeMachine(script), tmp_path).verdict
    assert (found.outcome, found.reason) == (Outcome.PANIC, "the kernel panicked: Fatal exc")
