"""`harness run --machine board:NAME` on an emulated board, from a flashed stick to a GCC that works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from harness.core.errors import ConfigError
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.machine.command import qemu_program
from harness.machine.protocol import Firmware
from harness.recipe import load_recipe
from testcases.hardware import bench_guest
from testcases.hardware.uart import emulated_board
from testcases.support.profiles import by_night

if TYPE_CHECKING:
    from pathlib import Path

    from harness.image.factory import Build

ROOT = bench_guest.ROOT
KERNELS = ("debian-6.1-i686", "debian-6.1-x86_64")
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


@pytest.fixture(scope="module")
def media(harness_cache: Path) -> dict[str, Build]:
    """The relay's images, by seed kernel."""
    recipe = load_recipe("relay")
    names = tuple(filter(None, (recipe.boot.initramfs, recipe.boot.disk, recipe.boot.medium)))
    return {
        kernel: build_recipe(recipe, BuildOptions(cache=harness_cache, names=names, kernel=kernel), Quiet())
        for kernel in KERNELS
    }


@pytest.fixture(scope="module")
def sticks(
    media: dict[str, Build], harness_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """What sticks hold, by seed kernel: the relay, which the bench guest's `harness flash` wrote."""
    place = tmp_path_factory.mktemp("sticks")
    images = {kernel: built.images["relay"].path for kernel, built in media.items()}
    files = {f"{kernel}.iso": image for kernel, image in images.items()}
    written = {}
    with bench_guest.bench(harness_cache, place, files) as guest:
        for number, (kernel, image) in enumerate(images.items()):
            serial = f"STICK-{number}"
            # Larger than the image and not empty, as a stick is.
            with guest.stick(serial, image.stat().st_size + (8 << 20)) as stick:
                stick.backing.write_bytes(b"old!" * (stick.backing.stat().st_size // 4))
                flashed = guest.flash(f"{stick.node} --image /opt/{kernel}.iso --expect-serial {serial}")
                assert flashed.status == 0, flashed.text
                written[kernel] = stick.backing
    return written


def run_on_board(
    place: Path, cache: Path, stick: Path, built: Build, firmware: Firmware
) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run the relay on an emulated board; what came of it, and how many bytes the line damaged."""
    (place / "lab").mkdir()
    with emulated_board(place, stick, built.images["sysc"].path, firmware=firmware) as board:
        text = BOARD.format(port=board.uart.name, switch=board.switch, firmware=firmware)
        (place / "lab/emulated.toml").write_text(text)
        kernel = built.kernels["seed"].name
        words = ["run", "relay", "--kernel", kernel, "--machine", "board:emulated", "--json"]
        return harness(place, cache, *words), min(board.uart.output.count, board.uart.typed.count)


# One pair by day, as boots by UEFI are tested with media; by night all.
@pytest.mark.parametrize(
    ("kernel", "firmware"),
    [
        (kernel, firmware)
        if (kernel, firmware) == (KERNELS[0], Firmware.BIOS)
        else by_night(kernel, firmware)
        for kernel in KERNELS
        for firmware in Firmware
    ],
)
def test_a_flashed_stick_takes_a_board_through_the_relay_to_gcc(  # noqa: PLR0917 - its fixtures
    media: dict[str, Build],
    sticks: dict[str, Path],
    harness_cache: Path,
    tmp_path: Path,
    firmware: Firmware,
    kernel: str,
) -> None:
    done, damages = run_on_board(tmp_path, harness_cache, sticks[kernel], media[kernel], firmware)
    assert done.returncode == 0, done.stdout[:3000] + done.stderr[-3000:]
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["verdict"]["outcome"] == "PASS"
    machine = document["machine"]
    assert (machine["kind"], machine["board"], machine["firmware"]) == ("board", "emulated", firmware)
    assert document["facts"]["seed_kernel"].endswith("-amd64" if kernel.endswith("64") else "-686")
    assert ("acpi" in document["facts"]) == (firmware == Firmware.UEFI)  # told to the kernel behind kexec
    assert {check["name"] for check in document["checks"] if check["passed"]} >= {"exit-status", "nonce"}
    assert damages, "the line did no damage, and the run proves less than it seems"
    assert "no speed: Linux takes the firmware's" in " ".join(done.stderr.split())  # console=ttyS0
    report = harness(tmp_path, harness_cache, "report", "--bare-metal")
    assert report.returncode == 0, report.stderr
    wanted = ("## relay: PASS", "board emulated", "| gcc | passed")
    assert [words for words in wanted if words not in report.stdout] == []
    # QEMU drops bytes of a port that is slower than its guest, so any one line of the kernel may be damaged.
    heard = ("| machine | QEMU", "[mem 0x", "| processor |", "| memory |", "| came up | Linux")
    assert sum(words in report.stdout for words in heard) >= 3, report.stdout
