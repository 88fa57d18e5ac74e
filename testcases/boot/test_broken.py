"""Guests that are broken on purpose: each must be recognised for what it is, within its budget."""

from __future__ import annotations

import os
import signal
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.record.record import RunDocument
from harness.stages.events import StageBegan
from testcases.boot.guests import script, with_bytes, with_files
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.console.lines import Block
    from harness.image.factory import Build
    from harness.stages.events import Event
    from harness.stages.verdict import Verdict

    VerdictOf = Callable[..., Verdict]


def test_kexec_disabled(relay: Build, verdict_of: VerdictOf) -> None:
    verdict = verdict_of(relay, append="sysctl.kernel.kexec_load_disabled=1")
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "sysa")
    assert "refuses kexec" in verdict.reason


# By night: testcases/logs has the consoles of these guests, which test_replay.py plays by day.
recorded = pytest.mark.thorough


@recorded
def test_disk_missing(relay: Build, verdict_of: VerdictOf) -> None:
    verdict = verdict_of(relay, disk=False)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "sysb")
    assert "no disk with the label sysc" in verdict.reason


@recorded
def test_init_for_another_architecture(relay: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    aarch64 = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 183, 1) + bytes(40)
    verdict = verdict_of(with_files(relay, tmp_path, {"init": lambda _: aarch64}))
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "sysa")
    assert verdict.reason.startswith("/init is in no format")


@recorded
def test_init_without_its_interpreter(relay: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    verdict = verdict_of(with_files(relay, tmp_path, {"init": lambda _: b"#!/bin/zsh\n"}))
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "sysa")
    assert verdict.reason.startswith("/init or the interpreter")


def test_init_that_ends(relay: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    verdict = verdict_of(with_files(relay, tmp_path, {"init": script("exit 3")}))
    assert (verdict.outcome, verdict.stage) == (Outcome.PANIC, "sysa")
    assert "exit status 0x03" in verdict.reason


@recorded
def test_initramfs_corrupt(relay: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    def damage(archive: bytes) -> bytes:
        second = archive.index(b"070701", 6)
        return archive[:second] + b"junk" + archive[second + 4 :]

    verdict = verdict_of(with_bytes(relay, tmp_path, damage))
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "sysa")
    assert verdict.reason.startswith("the kernel could not unpack its initramfs")


@recorded
def test_initramfs_cut_off(relay: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    verdict = verdict_of(with_bytes(relay, tmp_path, lambda archive: archive[:300]))
    assert (verdict.outcome, verdict.stage) == (Outcome.PANIC, "sysa")
    assert verdict.reason.startswith("the kernel found neither an init in the initramfs nor a root")


@recorded
def test_no_init_and_no_root(relay: Build, verdict_of: VerdictOf) -> None:
    verdict = verdict_of(relay, append="rdinit=/missing root=/dev/sda")
    assert (verdict.outcome, verdict.stage) == (Outcome.PANIC, "sysa")
    assert verdict.reason.startswith("the kernel found neither an init in the initramfs nor a root")


def test_out_of_memory(relay: Build, verdict_of: VerdictOf) -> None:
    verdict = verdict_of(relay, memory=48 << 20)
    assert verdict.outcome == Outcome.FAIL
    assert "memory" in verdict.reason


@recorded
def test_user_space_spins_in_silence(relay: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    built = with_files(relay, tmp_path, {"init": script("while :; do :; done")})
    verdict = verdict_of(built, patience=0.3)
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "sysa")
    assert "a program in user space keeps the processor busy" in verdict.reason


def test_guest_idles_in_silence(relay: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    built = with_files(relay, tmp_path, {"init": script("busybox sleep 100000")})
    verdict = verdict_of(built, patience=0.3)
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "sysa")
    assert "the guest idles" in verdict.reason


def test_guest_talks_for_ever(relay: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    built = with_files(relay, tmp_path, {"init": script("while :; do echo on and on; busybox sleep 1; done")})
    verdict = verdict_of(built, patience=0.25)
    assert (verdict.outcome, verdict.stage) == (Outcome.TIMEOUT, "sysa")


@recorded
def test_second_kernel_is_junk(relay: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    verdict = verdict_of(with_files(relay, tmp_path, {"sysb/vmlinuz": lambda _: b"no kernel " * 100}))
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "sysa")
    assert "/sysb/vmlinuz, which kexec was to load, is no kernel" in verdict.reason


@recorded
def test_second_kernel_cut_off(relay: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    verdict = verdict_of(with_files(relay, tmp_path, {"sysb/vmlinuz": lambda kernel: kernel[:200_000]}))
    assert (verdict.outcome, verdict.stage) == (Outcome.PANIC, "kexec")
    assert "reset itself" in verdict.reason


@recorded
def test_second_kernel_corrupt(relay: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    def damage(kernel: bytes) -> bytes:
        middle = len(kernel) // 2
        return kernel[:middle] + bytes(4096) + kernel[middle + 4096 :]

    verdict = verdict_of(with_files(relay, tmp_path, {"sysb/vmlinuz": damage}))
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "kexec")
    assert "could not decompress itself" in verdict.reason


@recorded
def test_second_kernel_without_serial_console(relay: Build, verdict_of: VerdictOf, tmp_path: Path) -> None:
    built = with_files(relay, tmp_path, {"sysb/command-line": lambda _: b"panic=-1 no_timer_check\n"})
    verdict = verdict_of(built)
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "kexec")
    assert "does not use the serial console" in verdict.reason


def test_kernel_too_wide_for_the_processor(
    build_images: Callable[[str | None], Build], verdict_of: VerdictOf
) -> None:
    verdict = verdict_of(build_images("debian-6.1-x86_64"), cpu="pentium3", patience=0.3)
    assert (verdict.outcome, verdict.stage) == (Outcome.CONFIG, "sysa")
    assert "x86-64" in verdict.reason


def test_machine_that_qemu_cannot_make(relay: Build, verdict_of: VerdictOf) -> None:
    with pytest.raises(ConfigError, match=r"QEMU cannot make this machine: .*no-such-cpu"):
        verdict_of(relay, cpu="no-such-cpu")
    assert not _guests()


@pytest.mark.parametrize(
    "stage",
    ["sysa", *(pytest.param(stage, marks=pytest.mark.thorough) for stage in ("kexec", "sysb")), "gcc"],
)
def test_qemu_killed(relay: Build, verdict_of: VerdictOf, stage: str) -> None:
    verdict = verdict_of(relay, listeners=[_Killer(stage)])
    assert (verdict.outcome, verdict.stage) == (Outcome.INFRA, stage)
    assert "signal 9" in verdict.reason


def test_mistake_of_ours(relay: Build, harness_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="on purpose"):
        run_built(relay, cache=harness_cache, runs=tmp_path, listeners=[_Mistaken()])
    assert not _guests()
    document = msgspec.json.decode(next(tmp_path.glob("*/run.json")).read_bytes(), type=RunDocument)
    assert document.verdict is not None
    assert (document.verdict.outcome, document.verdict.stage) == (Outcome.BUG, "kexec")
    status = {stage.name: stage.status for stage in document.stages}
    assert [status[name] for name in ("sysa", "kexec", "sysb")] == ["passed", "failed", "not reached"]


class _Mistaken:
    """Breaks down in the middle of a run."""

    def event(self, event: Event) -> None:
        if isinstance(event, StageBegan) and event.stage == "kexec":
            raise RuntimeError("on purpose")

    def heard(self, block: Block) -> None:
        """Console lines do not matter."""


class _Killer:
    """Kills our QEMU when a stage begins."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def event(self, event: Event) -> None:
        if isinstance(event, StageBegan) and event.stage == self._stage:
            for pid in _guests():
                os.kill(pid, signal.SIGKILL)

    def heard(self, block: Block) -> None:
        """Console lines do not matter."""


def _guests() -> list[int]:
    """Our QEMU processes."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    return [pid for pid in children if b"qemu-system" in Path(f"/proc/{pid}/cmdline").read_bytes()]
