"""Every way to fail that is known of stage0-posix and live-bootstrap gets its own verdict from its log.

No row is made in a guest here: runs of hours come before most of them. `testcases/boot/test_broken.py` makes
those of the relay.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.outcome import Outcome
from harness.machine.protocol import ProcessorSample
from harness.stages.events import Seen
from harness.stages.plan_file import find_plan, load_plan
from harness.stages.replay import replay
from testcases.boot import test_broken
from testcases.support.machines import Audience, FakeMachine, Looks, follow
from testcases.support.profiles import fewer
from testcases.unit import test_judge, test_replay
from testcases.unit.test_replay import interrupted

if TYPE_CHECKING:
    from harness.stages.plan import Failure
    from harness.stages.verdict import RunResult
    from testcases.support.machines import Guest

ROWS = tomllib.loads((Path(__file__).parents[1] / "logs/failures.toml").read_text(encoding="utf-8"))
NAMES = (
    "relay",
    "qualify",
    "stage0-posix",
    "builder-hex0",
    "live-bootstrap-sysabc",
    "live-bootstrap-sysa",
    "live-bootstrap-steps",
    "genesis-tcc",
    "genesis-builder-hex0",
    "genesis",
    "derivation",
)
PLANS = {name: load_plan(find_plan(name)) for name in NAMES}
BANNER = "[    0.000000] Linux version 6.1.0-50-686 (debian-kernel@lists.debian.org)"
PANIC = "[  283.000000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000000"
# The lines with which the stages of each plan begin, as they were seen.
BEGINS: dict[str, dict[str, str]] = {
    "relay": {"sysa": ""},
    "qualify": {"kernel": BANNER, "questions": "probe init yes 6.1.0-50-686", "jump": "probe done"},
    "stage0-posix": {
        "kernel": BANNER,
        "seed": " +> ./bootstrap-seeds/POSIX/x86/kaem-optional-seed ./x86/mescc-tools-seed-kaem.kaem ",
        "full": " +> ./x86/bin/kaem --verbose --strict --file ./x86/mescc-tools-full-kaem.kaem ",
        "answers": "x86/bin/blood-elf: OK",
    },
    "builder-hex0": {
        "load": "Booting from Hard Disk...",
        "seed": " +> ./bootstrap-seeds/POSIX/x86/kaem-optional-seed ./x86/mescc-tools-seed-kaem.k\r\naem ",
        "full": " +> ./x86/bin/kaem --verbose --strict --file ./x86/mescc-tools-full-kaem.kaem ",
        "answers": "x86/bin/blood-elf: OK",
    },
    "live-bootstrap-sysabc": {
        "kernel": BANNER,
        "stage0": " +> ./bootstrap-seeds/POSIX/x86/kaem-optional-seed ./x86/mescc-tools-seed-kaem.kaem ",
        "sysa": " +> pkg=mes-0.24 ",
        "kexec": "kexecing into sysb",
        "sysb": "[    0.000000] Linux version 4.9.10 (root@(none)) (gcc version 4.7.4 (GCC) ) #1",
        "sysc": "Switching into sysc",
    },
    "live-bootstrap-sysa": {
        "kernel": BANNER,
        "stage0": " +> ../bootstrap-seeds/POSIX/x86/hex0-seed hex0_x86.hex0 ../bin/hex0 ",
        "sysa": " +> pkg=mes ",
    },
    "live-bootstrap-steps": {
        "kernel": BANNER,
        "stage0": " +> ./bootstrap-seeds/POSIX/x86/kaem-optional-seed ./x86/mescc-tools-seed-kaem.kaem ",
        "steps": " +> ./script-generator /steps/manifest ",
        "linux": "[    0.000000] Linux version 4.14.341 (root@(none)) (gcc version 4.7.4 (GCC) ) #1",
    },
    "genesis-tcc": {
        "kernel": BANNER,
        "seed": "= genesis: the seed makes itself, its copy makes the assembler, the assembler makes mc",
        "c0": "= genesis: mc makes the compiler of C0, which makes itself again",
        "cc": "= genesis: c0 makes cc, cc makes itself",
        "tools": "= genesis: cc makes the tools",
        "tcc": "= genesis: unpack tcc",
        "musl": "= genesis: unpack musl",
        "programs": "= genesis: programs that tcc compiles with musl",
    },
    "genesis-builder-hex0": {
        "load": "Booting from Hard Disk...",
        "seed": "= genesis: the seed makes itself, its copy makes the assembler, the assembler ma\r\nkes mc",
        "c0": "= genesis: mc makes the compiler of C0, which makes itself again",
        "cc": "= genesis: c0 makes cc, cc makes itself",
        "tools": "= genesis: cc makes the tools",
    },
    "derivation": {
        "kernel": BANNER,
        "build": "derivation: 1/1 rqw4c44ndl0fqx7gngl496lbamzzf5wd-all.drv",
        "outputs": "derivation# ",
    },
}
BEGINS["genesis"] = BEGINS["genesis-tcc"] | {
    "userland": "= genesis: package busybox-1.35.0",
    "kexec": "= genesis: the initramfs of sysb is made",
    "sysb": "= genesis: sysb: up under 5.10.0-32-686",
    "sysc": "= genesis: sysc: up under 5.10.0-32-686, root on /dev/sda",
    "binutils": "= genesis: package byacc-2.0.20221106",
    "gcc": "= genesis: package gcc-3.4.6",
    "libstdc++": "= genesis: package libstdc++-3.4.6",
}
ENDS = {
    "qualify": "probe: end\r\n",
    "stage0-posix": f" +> exec ./x86/bin/kaem --verbose --strict --file ./after.kaem \r\n{PANIC}\r\n",
    "builder-hex0": "Build finished.\r\nERROR: no hda writes!\r\n",
    "live-bootstrap-sysabc": "Bootstrapping completed.\r\nbash: no job control in this shell\r\nbash-5.1# ",
    "live-bootstrap-sysa": "Bootstrapping completed.\r\nbash: no job control in this shell\r\n/image # ",
    "live-bootstrap-steps": "[  900.000000] sysrq: Power Off\r\n[  900.100000] reboot: Power down\r\n",
    "derivation": "poweroff -f\r\n[    8.100000] reboot: Power down\r\n",
    "genesis-tcc": f"signals: right\r\n= genesis: the sums of all programs\r\n{PANIC}\r\n",
}


def before(plan: str, stage: str) -> bytes:
    """A log up to the line with which a stage begins."""
    stages = list(BEGINS[plan])
    lines = [BEGINS[plan][name] for name in stages[: stages.index(stage) + 1]]
    return "".join(f"{line}\r\n" for line in lines if line).encode()


def judged(plan: str, log: bytes) -> RunResult:
    with tempfile.NamedTemporaryFile() as file:
        file.write(log)
        file.flush()
        return replay(PLANS[plan], Path(file.name)).result


def log_of(row: str) -> bytes:
    text: bytes = ROWS[row]["log"].removeprefix("\n").replace("\n", "\r\n").encode()
    return before(ROWS[row]["plan"], ROWS[row]["stage"]) + text


@pytest.mark.parametrize("row", ROWS)
def test_failure_has_its_own_verdict(row: str) -> None:
    expected, log = ROWS[row], log_of(row)
    verdict = judged(expected["plan"], log).verdict
    assert expected["reason"] in verdict.reason
    assert (verdict.outcome, verdict.stage) == (expected["outcome"], expected["stage"])
    assert verdict.hint
    assert "nothing" not in verdict.reason
    found = [item for item in verdict.evidence if item.what == "console"]
    shown = [re.split(rb"\r+\n", log[item.offset :])[0].decode() for item in found]
    for item, line in zip(found, shown, strict=True):
        assert item.text in line
    rest = iter(shown)
    for piece in expected["evidence"]:
        assert any(piece in line for line in rest), piece  # in their order


@fewer(5)
@given(st.data())
def test_kernel_messages_between_the_lines_change_no_verdict(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from([row for row in ROWS if "builder-hex0" not in ROWS[row]["plan"]]))
    log = interrupted(log_of(row), data.draw(st.integers(0, 2**32)), 4)
    # A prompt that a kernel message interrupts is no prompt, and the line's rest is another.
    if data.draw(st.booleans()):
        log = log.replace(b"\r\n", b"\r\r\n")
    verdict = judged(ROWS[row]["plan"], log).verdict
    assert ROWS[row]["reason"] in verdict.reason
    assert verdict.stage == ROWS[row]["stage"]


def test_every_failure_of_live_bootstrap_is_the_reason_of_a_row() -> None:
    def is_reason(failure: Failure, reason: str) -> bool:
        template = re.sub(r"\\{\w+\\}", ".+", re.escape(failure.reason))
        return re.fullmatch(template, reason) is not None

    reasons = [judged(ROWS[row]["plan"], log_of(row)).verdict.reason for row in ROWS]
    for name in NAMES[1:]:
        linux = {failure.reason for failure in PLANS["relay"].failures}
        own = [failure for failure in PLANS[name].failures if failure.reason not in linux]
        for failure in own:
            assert any(is_reason(failure, reason) for reason in reasons), failure.pattern


@pytest.mark.parametrize("plan", ENDS)
def test_good_end_passes_and_a_cut_log_does_not(plan: str) -> None:
    log = before(plan, list(BEGINS[plan])[-1])
    verdict = judged(plan, log + ENDS[plan].encode()).verdict
    last = [stage.name for stage in PLANS[plan].stages if stage.begins][-1]
    assert (verdict.outcome, verdict.stage) == (Outcome.PASS, last)
    assert judged(plan, log).verdict.outcome == Outcome.HANG


def test_prompt_of_a_failure_is_none_where_the_shell_is_asked() -> None:
    plan = PLANS["live-bootstrap-sysabc"]
    counted = {
        stage.name: any(marker.prompt for marker in plan.failure_markers(stage)) for stage in plan.stages
    }
    assert counted["sysc"]
    assert counted["completed"]
    assert not counted["shell"]
    assert not counted["gcc"]


def test_end_line_without_a_newline_ends_the_run() -> None:
    log = before("builder-hex0", "answers") + b"Build finished."
    assert judged("builder-hex0", log).verdict.outcome == Outcome.PASS


def test_failure_before_the_right_end_fails_the_run() -> None:
    log = before("stage0-posix", "answers") + b"Subprocess error 1\r\nABORTING HARD\r\n"
    assert judged("stage0-posix", log + ENDS["stage0-posix"].encode()).verdict.outcome == Outcome.FAIL


def test_clue_far_behind_explains_nothing() -> None:
    late = b"mirror.tar.gz: FAILED\r\nsha256sum: WARNING: 1 computed checksum did NOT match\r\n"
    panic = PANIC.replace("00000000", "0000000b").encode() + b"\r\n"
    log = before("live-bootstrap-sysabc", "sysc") + late
    near = judged("live-bootstrap-sysabc", log + b"gcc -c x.c\r\n" * 1000 + panic).verdict
    far = judged("live-bootstrap-sysabc", log + b"gcc -c x.c\r\n" * 6000 + panic).verdict
    assert near.reason.startswith("mirror.tar.gz does not have the sha256")
    assert "was killed by a signal (exit code 0x0000000b)" in far.reason


@pytest.mark.parametrize("lines", [2_000, pytest.param(50_000, marks=pytest.mark.thorough)])
def test_flood_of_clues_and_failures_is_bounded(lines: int) -> None:
    log = before("live-bootstrap-sysabc", "sysc")
    log += b"cp: error writing 'x': No space left on device\r\n" * lines
    log += b" +> cp -r a b \r\n"
    log += b"Subprocess error 1\r\n" * lines
    verdict = judged("live-bootstrap-sysabc", log).verdict
    assert verdict.reason == "a filesystem of the guest is full"
    assert len(verdict.evidence) <= 20


# How each row of the table of failures of the relay is held: by a broken guest, or by lines of one.
RELAY_ROWS = {
    "kexec disabled": "test_kexec_disabled",
    "kexec: junk kernel": "test_second_kernel_is_junk",
    "kexec: missing kernel": "missing kernel",
    "truncated kernel, triple fault": "test_second_kernel_cut_off",
    "corrupt kernel payload": "test_second_kernel_corrupt",
    "64-bit kernel on a 32-bit processor": "test_kernel_too_wide_for_the_processor",
    "no console for sysb": "test_second_kernel_without_serial_console",
    "bad initramfs": "test_initramfs_corrupt",
    "gzip: broken padding": "bad gzip",
    "gzip: read error": "cut gzip",
    "truncated cpio": "test_initramfs_cut_off",
    "no init and no root": "test_no_init_and_no_root",
    "root device absent": "root device absent",
    "init of a wrong architecture": "test_init_for_another_architecture",
    "init without interpreter": "test_init_without_its_interpreter",
    "init exits 3": "test_init_that_ends",
    "out of memory": "test_out_of_memory",
    "disk without boot code": "test_screen_explains_silence[nothing to boot]",
    "user-space spin": "test_user_space_spins_in_silence",
    "TCG timer flake": "timer",
    "reset in sysa": "relay-starts-over-in-sysa",
}


@pytest.mark.parametrize("row", RELAY_ROWS)
def test_row_of_the_relay_is_held_somewhere(row: str) -> None:
    held = RELAY_ROWS[row].partition("[")[0]
    assert (
        hasattr(test_broken, held)
        or hasattr(test_judge, held)
        or held in {*test_judge.TABLE, *test_replay.FAILURES, *ROWS}
    )


def test_line_that_the_firmware_wraps_is_one() -> None:
    command = "./x86/bin/M2-Planet --architecture x86 " + " ".join(f"-f ./M2libc/x86/{n}.c" for n in range(9))
    text = f" +> {command} "
    wrapped = "\r\n".join(text[start : start + 80] for start in range(0, len(text), 80))
    log = before("builder-hex0", "full") + f"{wrapped}\r\nSubprocess error 1\r\nABORTING HARD\r\n".encode()
    verdict = judged("builder-hex0", log).verdict
    assert verdict.reason == f"`{command}` ended with status 1 (1 deep in kaem scripts)"


def test_failure_shell_is_recognised_while_the_machine_runs(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.play(before("live-bootstrap-sysabc", "sysc") + b"gcc-10.4.0: compiling source.\r\nbash-5.1# ")
        guest.hurry()

    verdict = follow(PLANS["live-bootstrap-sysabc"], FakeMachine(script), tmp_path).verdict
    assert verdict.outcome == Outcome.FAIL
    assert "(compiling source) and left a shell" in verdict.reason


def test_right_end_passes_although_the_machine_runs_on(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.play(before("stage0-posix", "answers") + ENDS["stage0-posix"].encode())
        guest.say("[  283.000001] ---[ end Kernel panic - not syncing: Attempted to kill init! ]---")

    assert follow(PLANS["stage0-posix"], FakeMachine(script), tmp_path).verdict.outcome == Outcome.PASS


def test_jump_that_never_comes_back_is_named(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.play(before("live-bootstrap-sysabc", "kexec"))
        guest.say("[  900.000000] kexec_core: Starting new kernel")
        guest.hurry()

    halted = ProcessorSample(halted=True, interrupts=False, privilege=0, cpu_share=0.0, written=0)
    machine = FakeMachine(script, looks=Looks([halted]))
    verdict = follow(PLANS["live-bootstrap-sysabc"], machine, tmp_path).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "kexec")
    assert "halted with interrupts off" in verdict.reason
    assert "the jump did not come back" in verdict.hint


def test_a_line_is_one_failure_and_the_first_banner_is_none(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.say(BANNER, PANIC)
        guest.hurry()

    audience = Audience()
    verdict = follow(PLANS["relay"], FakeMachine(script), tmp_path, listener=audience).verdict
    assert (verdict.outcome, "exit status 0x00" in verdict.reason) == (Outcome.PANIC, True)
    seen = [event.text for event in audience.events if isinstance(event, Seen)]
    assert seen == [BANNER.partition("] ")[2], PANIC.partition("] ")[2]]
    assert [evidence.text for evidence in verdict.evidence] == seen[1:]
