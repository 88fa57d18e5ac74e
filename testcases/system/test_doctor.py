"""What doctor says about this host and about poorer ones."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from harness.machine import accelerator
from harness.machine.accelerator import Probe
from harness.machine.command import PROGRAM, qemu_program
from harness.run.doctor import examine

if TYPE_CHECKING:
    from pathlib import Path

    from harness.machine.protocol import Accelerator
    from harness.run.doctor import Finding


@pytest.fixture(autouse=True)
def _no_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real probes are test_accelerator.py's and take a while; here KVM fails and TCG works."""

    def probe(kind: Accelerator) -> Probe:
        qemu_program()
        return Probe(kind, works=kind == "tcg", reason="" if kind == "tcg" else "no /dev/kvm")

    monkeypatch.setattr(accelerator, "probe", probe)


def found(cache: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(cache)}


def path_with(tmp_path: Path, *programs: str) -> str:
    """A PATH that has these programs only; each is a shell script."""
    (tmp_path / "bin").mkdir()
    for name in programs:
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho QEMU emulator version 9.9.9 '(fake)'\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return str(tmp_path / "bin")


def test_every_part_is_looked_at_and_what_is_bad_has_a_remedy(tmp_path: Path) -> None:
    findings = examine(tmp_path / "cache")
    names = [finding.name for finding in findings]
    assert len(set(names)) == len(names)
    assert {"python", PROGRAM, "sfdisk", "apt-get", "kvm", "tcg", "memory", "cache", "archive"} <= set(names)
    assert all(finding.found for finding in findings)
    assert all(finding.remedy for finding in findings if finding.good is False)


def test_programs_are_found_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = path_with(tmp_path, PROGRAM, "sfdisk")
    monkeypatch.setenv("PATH", place)
    findings = found(tmp_path / "cache")
    assert (findings[PROGRAM].good, findings[PROGRAM].found) == (True, "9.9.9 (fake)")
    assert (findings["sfdisk"].good, findings["sfdisk"].found) == (True, f"{place}/sfdisk")


def test_a_missing_program_comes_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    findings = found(tmp_path / "cache")
    for program, package in {PROGRAM: "qemu-system-x86", "e2fsck": "e2fsprogs", "cpio": "cpio"}.items():
        assert findings[program].good is False
        assert findings[program].found.startswith("missing (")
        assert findings[program].remedy == f"apt-get install --no-install-recommends {package}"
    assert findings["tcg"].good is False
    assert PROGRAM in findings["tcg"].found


def test_kvm_is_worth_knowing_and_tcg_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", path_with(tmp_path, PROGRAM))
    findings = found(tmp_path / "cache")
    assert (findings["kvm"].good, findings["kvm"].found) == (None, "no /dev/kvm")
    assert findings["tcg"].good is True
    monkeypatch.setattr(accelerator, "probe", lambda kind: Probe(kind, works=False, reason="broken"))
    assert found(tmp_path / "cache")["tcg"].good is False


def test_a_cache_that_cannot_be_written_to_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = found(tmp_path / "file/cache")["cache"]
    assert finding.good is False
    assert f"{tmp_path}/file/cache" in finding.found
    assert "--cache" in finding.remedy


@pytest.mark.parametrize(("free", "good"), [(2 << 30, False), (4 << 30, True)])
def test_a_cache_needs_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, good: bool) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    finding = found(tmp_path)["cache"]
    assert (finding.good, finding.found) == (good, f"{free >> 30}.0 GiB free in {tmp_path}")


def test_memory_and_cores_are_those_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f", {len(os.sched_getaffinity(0))} cores" in found(tmp_path)["memory"].found
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}.get)
    finding = found(tmp_path)["memory"]
    assert finding.good is False
    assert finding.found.startswith("3.9 MiB")


def test_the_archive_is_the_chosen_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DEBIAN_MIRROR", "https://debian.example.org/debian")
    finding = found(tmp_path)["archive"]
    assert finding.good is True
    assert finding.found.startswith("https://debian.example.org/debian")
