"""Hybrid images start: from CD and from USB, by BIOS and by UEFI, and what cannot start is told apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.console.recorder import Recorder
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.formats.iso import boot as iso_boot
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.machine.accelerator import choose
from harness.machine.admission import admitted
from harness.machine.protocol import Firmware, Medium
from harness.machine.qemu import QemuMachine
from harness.machine.spec import MachineSpec, MediumBoot
from harness.recipe import load_recipe
from harness.record.record import RunDocument
from harness.store import Store
from testcases.boot.guests import with_bytes
from testcases.support.profiles import by_night
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.image.factory import Build
    from harness.stages.verdict import Verdict

RECIPE = Path(__file__).parent / "medium/recipes/hello.toml"
MEMORY = 512 << 20


@pytest.fixture(scope="session")
def hello(harness_cache: Path) -> Build:
    """A medium with an i686 and an x86_64 kernel that say hello and power off."""
    return build_recipe(load_recipe(str(RECIPE)), BuildOptions(cache=harness_cache), Quiet())


@pytest.fixture
def follow(harness_cache: Path, tmp_path: Path) -> Callable[..., RunDocument]:
    """Boots a medium, follows its plan, and returns the record."""

    def boot(built: Build, medium: Medium, firmware: Firmware) -> RunDocument:
        done = run_built(built, cache=harness_cache, runs=tmp_path, medium=medium, firmware=firmware)
        return msgspec.json.decode((done.directory / "run.json").read_bytes(), type=RunDocument)

    return boot


@pytest.mark.parametrize(
    ("medium", "firmware"),
    [
        (Medium.CD, Firmware.UEFI),
        # A stick by BIOS takes the board of hardware/test_board.py through the relay.
        by_night(Medium.USB_XHCI, Firmware.BIOS),
    ],
)
def test_the_relay_runs_to_its_end_from_a_medium(
    relay: Build, follow: Callable[..., RunDocument], medium: Medium, firmware: Firmware
) -> None:
    document = follow(relay, medium, firmware)
    assert document.verdict is not None
    assert document.verdict.outcome == Outcome.PASS, document.verdict
    assert document.machine is not None
    assert (document.machine.medium, document.machine.firmware) == (medium, firmware)
    assert ("acpi" in document.facts) == (firmware == Firmware.UEFI)  # told to the kernel behind kexec


@pytest.mark.parametrize(
    ("medium", "firmware"),
    [
        by_night(Medium.USB_EHCI, Firmware.BIOS),
        (Medium.CD, Firmware.UEFI),
        by_night(Medium.USB_XHCI, Firmware.UEFI),
    ],
)
def test_a_medium_starts_its_first_entry_by_itself(
    hello: Build, follow: Callable[..., RunDocument], medium: Medium, firmware: Firmware
) -> None:
    document = follow(hello, medium, firmware)
    assert document.verdict is not None
    assert document.verdict.outcome == Outcome.PASS, document.verdict
    assert document.machine is not None
    assert (document.machine.medium, document.machine.firmware) == (medium, firmware)
    assert (document.facts["width"], document.facts["entry"]) == ("i686", "1")


@pytest.mark.parametrize("firmware", [Firmware.BIOS, by_night(Firmware.UEFI)])
def test_the_menu_is_on_the_serial_console(
    hello: Build, harness_cache: Path, tmp_path: Path, firmware: Firmware
) -> None:
    spec = MachineSpec(
        boot=MediumBoot(hello.images["stick"].path, Medium.CD, ""),
        firmware=firmware,
        disk=None,
        memory=MEMORY,
        cpu="",
        accelerator=choose("auto", Store(harness_cache)),
    )
    with (
        admitted(harness_cache / "guests", MEMORY, waiting=lambda: None),
        QemuMachine(spec, tmp_path) as machine,
        Recorder(machine.transport, tmp_path / "console.raw", tmp_path / "console.idx") as console,
    ):
        machine.start()
        _await(console, b"hello, 64 bits")
        console.write(b"2\r")
        hello_from = _await(console, rb"HELLO from (\S+) (\S+) with .* entry=(\d)")
    assert hello_from[1].endswith(b"-amd64")
    assert hello_from.groups()[1:] == (b"x86_64", b"2")


def _await(console: Recorder, pattern: bytes) -> re.Match[bytes]:
    """Wait until the guest has said this."""
    said = b""
    while (found := re.search(pattern, said)) is None:
        assert not console.ended, said[-2000:]
        said += console.read(len(said), timeout=1.0)
    return found


def test_a_stick_without_a_boot_record(
    relay: Build, verdict_of: Callable[..., Verdict], tmp_path: Path
) -> None:
    built = with_bytes(relay, tmp_path, lambda image: bytes(512) + image[512:], image="relay")
    verdict = verdict_of(built, medium=Medium.USB_XHCI, patience=0.25)
    assert (verdict.outcome, verdict.stage) == (Outcome.CONFIG, "sysa")
    assert verdict.reason.startswith("the firmware found nothing to boot")


def test_a_cd_whose_boot_catalog_is_damaged(
    relay: Build, verdict_of: Callable[..., Verdict], tmp_path: Path
) -> None:
    def damage(image: bytes) -> bytes:
        # Sector 17 is El Torito's descriptor; byte 71 points to the catalog.
        return image[: 17 * 2048 + 71] + b"\xff\xff\xff\x7f" + image[17 * 2048 + 75 :]

    verdict = verdict_of(with_bytes(relay, tmp_path, damage, image="relay"), medium=Medium.CD, patience=0.25)
    assert (verdict.outcome, verdict.stage) == (Outcome.CONFIG, "sysa")
    assert verdict.reason.startswith("the firmware found nothing to boot")


def test_uefi_finds_no_system_partition(
    relay: Build, verdict_of: Callable[..., Verdict], tmp_path: Path
) -> None:
    def damage(image: bytes) -> bytes:
        start, length = iso_boot.PARTITION.unpack_from(image, iso_boot.TABLE + 16)[4:]
        return image[: start * 512] + bytes(length * 512) + image[(start + length) * 512 :]

    verdict = verdict_of(
        with_bytes(relay, tmp_path, damage, image="relay"),
        medium=Medium.CD,
        firmware=Firmware.UEFI,
        patience=0.25,
    )
    assert (verdict.outcome, verdict.stage) == (Outcome.CONFIG, "sysa")
    assert verdict.reason.startswith("the firmware found nothing to boot")
