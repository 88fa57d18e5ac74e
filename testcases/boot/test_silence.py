"""Guests that fall silent, each for another reason: every conclusion is drawn from a real one."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from harness.console.recorder import Recorder
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions, build
from harness.machine.protocol import Accelerator, Firmware, Medium
from harness.machine.qemu import QemuMachine
from harness.machine.spec import MachineSpec, MediumBoot
from harness.recipe import load_recipe
from harness.record.record import RunDocument
from harness.stages.plan_file import load_plan
from harness.stages.runner import Runner
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.image.factory import Build
    from harness.stages.verdict import Verdict

    VerdictOf = Callable[..., Verdict]

HERE = Path(__file__).parent / "silence"
PLAN = HERE / "plans/silence.toml"

pytestmark = pytest.mark.xdist_group("silence")


@pytest.fixture(scope="module")
def silence(harness_cache: Path) -> Build:
    recipe = load_recipe(str(HERE / "recipes/silence.toml"))
    return build(recipe, BuildOptions(cache=harness_cache), Quiet())


def with_command_line(built: Build, command_line: str) -> Build:
    """The same build with another command line, to which nothing is added."""
    boot = msgspec.structs.replace(built.recipe.boot, command_line=command_line)
    document = msgspec.structs.replace(built.recipe.document, boot=boot)
    return msgspec.structs.replace(built, recipe=msgspec.structs.replace(built.recipe, document=document))


def with_plan(built: Build, directory: Path, *, old: str = "", new: str = "") -> Build:
    """The same build with another plan: with a part replaced, or with something added."""
    shutil.copytree(HERE, directory / "silence")
    plan = directory / "silence/plans/silence.toml"
    text = plan.read_text()
    assert old in text
    plan.write_text(text.replace(old, new) if old else text + new)
    path = directory / "silence/recipes/silence.toml"
    return msgspec.structs.replace(built, recipe=msgspec.structs.replace(built.recipe, path=path))


CONCLUSIONS = {
    "spin": "a program in user space keeps the processor busy",
    "sleep": "the guest idles: it waits for input, a device or a timer",
    "question": (
        "the guest idles and waits for input; the console's last line, without an end, is "
        '"What disk would you like?"'
    ),
    "kernel": "the kernel keeps the processor busy",
    "write": "the guest is writing to its disk",
    "read": "the guest is reading from its disk",
}


# What is asked is in test_diagnosis.py, and a disk that is read in the test below.
@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=pytest.mark.thorough) if what in {"question", "read", "kernel"} else what
        for what in CONCLUSIONS
    ],
)
def test_what_a_silent_guest_does(silence: Build, verdict_of: VerdictOf, what: str) -> None:
    verdict = verdict_of(silence, append=f"what={what}", patience=1.0)
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "silence")
    assert re.fullmatch(r"nothing was heard for \d+ s: .*", verdict.reason)
    assert verdict.reason.endswith(CONCLUSIONS[what])
    assert verdict.hint.endswith("; it was told to fall silent")
    assert f"silence: {what} begins" in [item.text for item in verdict.evidence if item.what == "console"]
    assert sum(item.what == "processor" for item in verdict.evidence) >= 4


def test_reading_is_progress_where_the_plan_says_so(
    silence: Build, verdict_of: VerdictOf, harness_cache: Path, tmp_path: Path
) -> None:
    """A quarter of a minute of silent work is no hang, neither by its silence nor by its budget."""
    keys = 'budget = 8\nsilence = 4\nprogress = ["disk"]\nlimit = 200'
    patient = with_plan(silence, tmp_path, old="budget = 60\nsilence = 4", new=keys)
    run = run_built(patient, cache=harness_cache, runs=tmp_path / "runs", append="what=work")
    assert run.result.verdict.outcome == Outcome.PASS, run.result.verdict
    verdict = verdict_of(silence, append="what=work", patience=1.0)
    assert (verdict.outcome, "its disk" in verdict.reason) == (Outcome.HANG, True)


def test_kernel_without_a_serial_console(silence: Build, verdict_of: VerdictOf) -> None:
    built = with_command_line(silence, "panic=-1 no_timer_check what=sleep")
    verdict = verdict_of(built, patience=0.5)
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "boot")
    assert "does not use the serial console: its screen shows kernel messages" in verdict.reason
    assert "console=ttyS0" in verdict.hint
    # Far below the first page of the text memory: the kernel scrolls by moving what is displayed.
    assert "silence: sleep begins" in [item.text for item in verdict.evidence if item.what == "screen"]


@pytest.mark.thorough
def test_quiet_guest_without_a_serial_console(silence: Build, verdict_of: VerdictOf) -> None:
    built = with_command_line(silence, "quiet loglevel=0 panic=-1 no_timer_check what=sleep")
    verdict = verdict_of(built, patience=0.5)
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "boot")
    assert verdict.reason.endswith(
        'the guest does not use the serial console: its screen shows "silence: sleep begins"'
    )
    assert "console=ttyS0" in verdict.hint


@pytest.mark.thorough
def test_guest_with_both_consoles_has_not_lost_one(silence: Build, verdict_of: VerdictOf) -> None:
    built = with_command_line(silence, "console=tty0 console=ttyS0 panic=-1 no_timer_check what=sleep")
    verdict = verdict_of(built, patience=1.0)
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "silence")
    assert verdict.reason.endswith(CONCLUSIONS["sleep"])


def test_seed_kernel_is_damaged(silence: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    seed = silence.kernels["seed"]
    kernel = bytearray(seed.image.path.read_bytes())
    middle = len(kernel) // 2
    kernel[middle : middle + 4096] = bytes(4096)
    damaged = tmp_path / "vmlinuz"
    damaged.write_bytes(kernel)
    image = msgspec.structs.replace(seed.image, path=damaged, sha256=hashlib.sha256(kernel).hexdigest())
    built = msgspec.structs.replace(
        silence, kernels={**silence.kernels, "seed": msgspec.structs.replace(seed, image=image)}
    )
    verdict = verdict_of(built, patience=0.3)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "boot")
    assert re.fullmatch(
        r"the kernel could not decompress itself: \w+-compressed data is corrupt", verdict.reason
    )


# Boot sectors in 16-bit x86 code; SeaBIOS starts them from a stick.
SECTORS: dict[str, tuple[bytes, Outcome, str]] = {
    "cli; hlt": (
        b"\xfa\xf4\xeb\xfc",
        Outcome.HANG,
        "the processor has halted with interrupts off, and nothing can wake it",
    ),
    "sti; hlt; and again": (
        b"\xfb\xf4\xeb\xfc",
        Outcome.HANG,
        "no kernel with paging runs: the firmware or a boot loader waits for a key, a device or a timer",
    ),
    "loop": (
        b"\xeb\xfe",
        Outcome.HANG,
        "no kernel with paging runs: the firmware, a boot loader or a simple kernel keeps the processor busy",
    ),
    # mov ax,0x0e21; int 0x10: "!" on the screen; then cli; hlt.
    "word on the screen": (
        b"\xb8\x21\x0e\xbb\x07\x00\xcd\x10\xfa\xf4",
        Outcome.HANG,
        'the guest does not use the serial console: its screen shows "!"',
    ),
    # lidt of six zeros at 0x7c10; int3: no handler for the interrupt, none for that fault, none for the next.
    "triple fault": (
        b"\x31\xc0\x8e\xd8\x0f\x01\x1e\x10\x7c\xcc".ljust(0x16, b"\0"),
        Outcome.PANIC,
        "the machine reset itself without a word (a triple fault, or a kernel that gave up silently)",
    ),
}


@pytest.mark.parametrize("name", SECTORS)
def test_boot_sector(tmp_path: Path, name: str) -> None:
    code, outcome, reason = SECTORS[name]
    verdict = verdict_on(code.ljust(510, b"\0") + b"\x55\xaa", tmp_path, Medium.USB_EHCI)
    assert (verdict.outcome, verdict.stage) == (outcome, "boot")
    assert verdict.reason.endswith(reason)
    assert verdict.evidence


@pytest.mark.parametrize("medium", [Medium.USB_EHCI, Medium.CD])
def test_medium_that_nothing_boots_from(tmp_path: Path, medium: Medium) -> None:
    verdict = verdict_on(bytes(512), tmp_path, medium)
    assert (verdict.outcome, verdict.stage) == (Outcome.CONFIG, "boot")
    assert verdict.reason.startswith("the firmware found nothing to boot: ")
    assert verdict.evidence
    assert "harness image verify" in verdict.hint


# xor ax,ax; mov ds,ax; mov si,0x7c20; mov dl,0x81; again: mov ax,0x4300; int 0x13; add word [0x7c28],64;
# adc word [0x7c2a],0; jmp again. At 0x7c20 is the packet: 64 sectors from 1000:0000, from sector 0 on.
WRITES = bytes.fromhex("31c0 8ed8 be207c b281 b80043 cd13 8306287c40 83162a7c00 ebef")
PACKET = struct.pack("<BBHHHQ", 16, 0, 64, 0, 0x1000, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk, which only root may")
def test_host_has_no_space_for_what_the_guest_writes(tmp_path: Path) -> None:
    (disk := tmp_path / "disk.img").touch()
    os.truncate(disk, 64 << 20)
    (small := tmp_path / "small").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    sector = (WRITES.ljust(32, b"\0") + PACKET).ljust(510, b"\0") + b"\x55\xaa"
    try:
        verdict = verdict_on(sector, tmp_path, Medium.USB_EHCI, disk=disk, overlay=small)
    finally:
        subprocess.run(["umount", small], check=True)
    assert (verdict.outcome, verdict.stage) == (Outcome.INFRA, "boot")
    assert re.fullmatch(
        rf"the machine's disk cannot be written to {small}/\S+: No space left on device", verdict.reason
    )
    assert "--runs" in verdict.hint


def verdict_on(
    sector: bytes, directory: Path, medium: Medium, disk: Path | None = None, overlay: Path | None = None
) -> Verdict:
    """What becomes of a medium that begins with this sector."""
    image = directory / "medium.img"
    image.write_bytes(sector.ljust(1 << 20, b"\0"))
    spec = MachineSpec(
        boot=MediumBoot(image, medium, ""),
        firmware=Firmware.BIOS,
        disk=disk,
        memory=32 << 20,
        cpu="",
        accelerator=Accelerator.TCG,
    )
    with ExitStack() as stack:
        machine = stack.enter_context(QemuMachine(spec, overlay or directory))
        recorder = stack.enter_context(Recorder(machine.transport, directory / "raw", directory / "idx"))
        runner = Runner(
            load_plan(PLAN), machine, recorder, accelerator="tcg", facts={}, listener=Nobody(), patience=0.2
        )
        verdict = runner.follow().verdict
    assert verdict.hint
    return verdict


class Nobody:
    def event(self, event: Any) -> None:
        pass

    def heard(self, block: Any) -> None:
        pass


def test_files_leave_a_guest_by_its_port(silence: Build, harness_cache: Path, tmp_path: Path) -> None:
    """The whole way: the plan asks, the machine has a port, the guest finds it, the record has it all."""
    stage = """
[[stage]]
name = "shell"
title = "files are handed over"
begins = '^silence# ?$'
prompt = true
budget = 120
silence = 60
produced = ["/bin", "/modules", "/tmp"]
fetches = ["/bin/busybox"]
types = "poweroff -f"
[[stage.checks]]
name = "many"
run = "cd /tmp; for number in `seq 400`; do echo $number >file-$number; done"
proves = "there is something to list"
"""
    built = with_plan(silence, tmp_path, new=stage)
    run = run_built(built, cache=harness_cache, runs=tmp_path / "runs", append="what=shell")
    assert run.result.verdict.outcome == Outcome.PASS, run.result.verdict
    document = msgspec.json.decode((run.directory / "run.json").read_bytes(), type=RunDocument)
    assert document.produced is not None
    assert document.produced.fast
    assert document.produced.files > 400
    [fetched] = document.fetched
    assert (fetched.path, fetched.file, fetched.fast) == ("/bin/busybox", "files/bin/busybox", True)
    busybox = (run.directory / fetched.file).read_bytes()
    assert len(busybox) == fetched.size
    lines = (run.directory / "manifest.sha256").read_text().splitlines()
    sums = {path: sha256 for sha256, path in (line.split("  ", 1) for line in lines)}
    assert sums["/bin/busybox"] == hashlib.sha256(busybox).hexdigest()
    assert sums["/tmp/file-7"] == hashlib.sha256(b"7\n").hexdigest()
