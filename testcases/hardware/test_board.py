"""`harness run --machine board:NAME` on an emulated board: through the relay to a GCC that works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from harness import pipeline
from harness.errors import ConfigError
from harness.machine.protocol import Firmware
from harness.machine.qemu import qemu_program
from harness.progress import Quiet
from harness.recipe import load_recipe
from testcases.boot.test_iso import RECIPE as HELLO
from testcases.hardware import bench_guest
from testcases.hardware.uart import emulated_board

if TYPE_CHECKING:
    from pathlib import Path

ROOT = bench_guest.ROOT
BOARD = """
summary = "QEMU, as a board"
budgets = 2
firmware = "{firmware}"

[serial]
port = "{port}"
first-byte = 600

[power]
off = ["{switch}", "off"]
on = ["{switch}", "on"]
cycle = ["{switch}", "cycle"]
"""


def obstacle() -> str:
    """Why there is no board; "" if there is one."""
    try:
        qemu_program()
    except ConfigError as error:
        return error.message
    return ""


pytestmark = [
    pytest.mark.skipif(bool(obstacle()), reason=obstacle()),
    pytest.mark.xdist_group("board"),
    pytest.mark.timeout(1800),
]


def harness(place: Path, cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a directory with a lab."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HARNESS_CACHE": str(cache)}
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


def run_on_board(
    place: Path, cache: Path, recipe: str, kernel: str, firmware: Firmware
) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run a recipe on an emulated board; what came of it, and how many bytes its serial line damaged."""
    wanted = load_recipe(recipe)
    boot = wanted.boot
    names = tuple(filter(None, (boot.initramfs, boot.disk, boot.medium)))
    options = pipeline.BuildOptions(cache=cache, names=names, kernel=kernel)
    built = pipeline.build(wanted, options, Quiet())
    stick = place / "stick.img"
    assert boot.medium
    shutil.copyfile(built.images[boot.medium].path, stick)
    (place / "lab").mkdir()
    disk = built.images[boot.disk].path if boot.disk else None
    with emulated_board(place, stick, disk, firmware=firmware) as board:
        text = BOARD.format(port=board.uart.name, switch=board.switch, firmware=firmware)
        (place / "lab/emulated.toml").write_text(text)
        words = ["run", recipe, "--kernel", kernel, "--machine", "board:emulated", "--json"]
        return harness(place, cache, *words), min(board.uart.output.count, board.uart.typed.count)


def test_the_relay_goes_through_to_gcc_on_a_board(harness_cache: Path, tmp_path: Path) -> None:
    done, damages = run_on_board(tmp_path, harness_cache, "relay", "debian-6.1-i686", Firmware.BIOS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["verdict"]["outcome"] == "PASS"
    assert {check["name"] for check in document["checks"] if check["passed"]} >= {"exit-status", "nonce"}
    assert damages, "the line did no damage, and the run proves less than it seems"
    assert "no speed: Linux takes the firmware's" in " ".join(done.stderr.split())  # console=ttyS0
    report = harness(tmp_path, harness_cache, "report", "--bare-metal")
    assert report.returncode == 0, report.stderr
    wanted = ("## relay: PASS", "board emulated", "| machine | QEMU", "[mem 0x", "| gcc | passed")
    assert [words for words in wanted if words not in report.stdout] == []


def test_a_medium_boots_by_uefi_on_a_board(harness_cache: Path, tmp_path: Path) -> None:
    done, _ = run_on_board(tmp_path, harness_cache, str(HELLO), "debian-6.1-x86_64", Firmware.UEFI)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    document: dict[str, Any] = json.loads(done.stdout)
    machine = document["machine"]
    assert (machine["kind"], machine["board"], machine["firmware"]) == ("board", "emulated", "uefi")
    assert document["facts"]["width"] == "x86_64"
