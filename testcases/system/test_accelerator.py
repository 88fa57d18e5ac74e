"""Accelerators are believed only when a guest has run on them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.machine import accelerator
from harness.machine.accelerator import Probe, choose, probe
from harness.machine.command import PROGRAM
from harness.machine.protocol import Accelerator
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

needs_qemu = pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"{PROGRAM} is not installed")


@pytest.fixture
def fake_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in QEMU's place."""

    def put(script: str) -> None:
        program = tmp_path / "bin" / PROGRAM
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    return put


@needs_qemu
def test_tcg_is_proved_by_a_guest_that_ran() -> None:
    assert probe(Accelerator.TCG) == Probe(Accelerator.TCG, works=True)


@needs_qemu
def test_a_guest_that_does_nothing_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_PROBE_LIMIT", 1.0)
    halts_at_once = b"\xfa\xf4".ljust(0xFFF0, b"\xf4") + b"\xf4" * 16
    monkeypatch.setattr(accelerator, "rom", lambda: halts_at_once)
    found = probe(Accelerator.TCG)
    assert not found.works
    assert "did not come back" in found.reason


def test_the_rom_is_mapped_where_the_processor_starts() -> None:
    rom = accelerator.rom()
    assert len(rom) == 64 << 10
    assert rom[0xFFF0] == 0xE9  # jmp with a 16-bit displacement from the next instruction
    assert (0xFFF3 + int.from_bytes(rom[0xFFF1:0xFFF3], "little")) & 0xFFFF == 0
    assert rom[0] == 0xFA  # cli, the first instruction


def test_the_roms_parts_do_not_overlap_and_name_each_other() -> None:
    rom = accelerator.rom()
    code, table = accelerator._CODE, accelerator._TABLE_OFFSET
    assert len(code) <= table
    limit, address = int.from_bytes(rom[0x80:0x82], "little"), int.from_bytes(rom[0x82:0x86], "little")
    assert (limit, address) == (0x80 - table - 1, 0xF0000 + table)
    assert rom[code.index(b"\x66\x0f\x01\x16") + 4] == 0x80  # where lgdt finds both
    reports = bytes([0xB0, accelerator.REPORT, 0xE6, accelerator.DEBUG_EXIT_PORT])  # mov, out
    assert code.endswith(reports + b"\xf4\xeb\xfd")


def test_a_guest_that_hangs_is_given_up_with_a_reason(
    fake_qemu: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_qemu("exec sleep 10000")
    monkeypatch.setattr(accelerator, "_PROBE_LIMIT", 0.2)
    found = probe(Accelerator.TCG)
    assert not found.works
    assert "did not come back within" in found.reason


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('echo "$0: -accel tcg: invalid accelerator tcg" >&2; exit 1', "-accel tcg: invalid accelerator tcg"),
        ("exit 3", "QEMU exit status 3"),
        ("exit 0", "QEMU exit status 0"),
    ],
)
def test_a_qemu_that_fails_is_quoted(fake_qemu: Callable[[str], None], script: str, reason: str) -> None:
    fake_qemu(script)
    assert probe(Accelerator.TCG) == Probe(Accelerator.TCG, works=False, reason=reason)


def test_only_the_guests_own_report_counts(fake_qemu: Callable[[str], None]) -> None:
    fake_qemu(f"exit {accelerator.EXIT_STATUS}")
    assert probe(Accelerator.TCG).works


def test_without_qemu_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match=f"{PROGRAM} is not installed") as caught:
        probe(Accelerator.TCG)
    assert "apt-get install" in caught.value.hint


@pytest.mark.parametrize("works", [True, False])
def test_auto_takes_kvm_where_it_works_and_asks_once(
    works: bool, tmp_path: Path, fake_qemu: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[Accelerator]()

    def answer(kind: Accelerator) -> Probe:
        asked.append(kind)
        return Probe(kind, works=works)

    fake_qemu("exit 1")
    monkeypatch.setattr(accelerator, "probe", answer)
    expected = Accelerator.KVM if works else Accelerator.TCG
    store = Store(tmp_path / "cache")
    assert choose("auto", store) == choose("auto", store) == expected
    assert asked == [Accelerator.KVM]
    os.utime(tmp_path / "bin" / PROGRAM, (1, 1))  # another QEMU
    choose("auto", store)
    assert asked == [Accelerator.KVM] * 2


def test_an_accelerator_that_was_asked_for_and_does_not_work_is_the_users_affair(
    tmp_path: Path, fake_qemu: Callable[[str], None]
) -> None:
    fake_qemu("echo no such thing >&2; exit 1")
    with pytest.raises(ConfigError, match="the accelerator tcg does not work here: no such thing") as caught:
        choose("tcg", Store(tmp_path / "cache"))
    assert "--accelerator" in caught.value.hint


def test_an_accelerator_that_was_asked_for_and_works_is_taken(
    tmp_path: Path, fake_qemu: Callable[[str], None]
) -> None:
    fake_qemu(f"echo booted >>{tmp_path}/probes; exit {accelerator.EXIT_STATUS}")
    for _ in range(2):
        assert choose("tcg", Store(tmp_path / "cache")) is Accelerator.TCG
    assert (tmp_path / "probes").read_text() == "booted\n"


def test_what_was_asked_for_and_did_not_work_is_tried_again(
    tmp_path: Path, fake_qemu: Callable[[str], None]
) -> None:
    switch = tmp_path / "mended"
    fake_qemu(f"test -e {switch} && exit {accelerator.EXIT_STATUS}; echo broken >&2; exit 1")
    with pytest.raises(ConfigError, match="broken"):
        choose("tcg", Store(tmp_path / "cache"))
    switch.touch()
    assert choose("tcg", Store(tmp_path / "cache")) is Accelerator.TCG
