"""`harness kernel`, and what is said about kernels that are none, to a user of the command line."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testcases.support.kernels import elf, packed, unified
from testcases.support.typed import typed
from testcases.unit.test_bzimage import kernel
from testcases.unit.test_modules import module

if TYPE_CHECKING:
    import subprocess

ROOT = Path(__file__).resolve().parents[2]

BEFORE = 'summary = "s"\nversion = "6.1"\nbits = 32\n'


def harness(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"HARNESS_CACHE": str(directory / "cache"), "PATH": "/usr/bin:/bin"}
    return typed("kernel", *arguments, cwd=directory, environment=environment)


def test_list_has_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "kernels.d").mkdir()
    (tmp_path / "kernels.d/mine.toml").write_text(BEFORE + '[file]\npath = "k"\n')
    done = harness(tmp_path, "list", "--json")
    lines = json.loads(done.stdout)
    assert lines["mine"]["origin"] == "k"
    assert lines["debian-sid-x86_64"]["debian"]["suite"] == "sid"
    assert "mine" in harness(tmp_path, "list").stdout


def test_inspect_says_what_a_kernel_is_and_lacks(tmp_path: Path) -> None:
    (tmp_path / "own").write_bytes(packed(elf(), "zstd"))
    done = harness(tmp_path, "inspect", "own")
    assert done.returncode == 0, done.stderr
    assert "payload    zstd" in done.stdout
    assert "embedded in own" in done.stdout
    assert "✗ does not fit relay as seed kernel" in done.stdout
    assert "build it with CONFIG_KEXEC=y" in done.stdout
    known = json.loads(harness(tmp_path, "inspect", "own", "--json", "--plan", "relay").stdout)
    assert known["kernel"]["image"]["bits"] == 32
    assert "kexec" in {lack["feature"] for lack in known["plans"]["relay"]["seed"]}


def test_inspect_takes_unified_images(tmp_path: Path) -> None:
    (tmp_path / "own.efi").write_bytes(unified({".cmdline": b"quiet", ".linux": packed(elf())}))
    done = harness(tmp_path, "inspect", "own.efi")
    assert done.returncode == 0, done.stderr
    assert ".cmdline   quiet" in done.stdout


def test_a_kernel_of_which_little_is_known_may_fit(tmp_path: Path) -> None:
    (tmp_path / "own").write_bytes(packed(elf(config="")))
    assert "· may fit relay as seed kernel" in harness(tmp_path, "inspect", "own").stdout


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not a kernel\n" * 1000, r"own is no x86 kernel image"),
        (b"", "own is empty"),
        (kernel()[:1500], "own is cut off"),
        (elf()[:600], "own is cut off: its headers promise"),
        (elf(machine=183), r"an ELF file for another architecture \(aarch64\)"),
        (b"\x7fELF", "own is a damaged ELF file"),
        (b"MZ" + struct.pack("<58xI", 0xFFFFFFF0), "own is no x86 kernel image but an EFI program"),
    ],
    ids=["text", "empty", "cut-off", "elf-cut-off", "aarch64-elf", "elf-head", "efi"],
)
def test_what_is_no_kernel_is_one_sentence(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "own").write_bytes(data)
    done = harness(tmp_path, "inspect", "own")
    assert done.returncode == 2
    assert re.search(message, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 2  # a sentence, and what to do
    assert "Traceback" not in done.stderr


def test_other_mistakes(tmp_path: Path) -> None:
    (tmp_path / "own").write_bytes(kernel())
    (tmp_path / "m/kernel").mkdir(parents=True)
    (tmp_path / "m/kernel/a.ko").write_bytes(module("vermagic=5.10.0-1 SMP"))
    for arguments, message in (
        (["inspect", "./nothing"], "nothing does not exist"),
        (["inspect", "debian-1.0"], "there is no kernel 'debian-1.0'"),
        (["fetch", "debian-6.1-i686", "debian-1.0"], "there is no kernel 'debian-1.0'"),
        (["inspect", "own", "--plan", "relai"], "there is no plan 'relai'"),
        (["inspect", "own", "--memory", "much"], "--memory"),
        (["inspect", "own,modules=m"], "are of Linux 5.10.0-1, and own is Linux 6.1.0-50-686"),
    ):
        done = harness(tmp_path, *arguments)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
