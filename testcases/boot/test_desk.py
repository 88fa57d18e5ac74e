"""The tiny kernels for a PC on the desk: USB sticks, network card, screen, keyboard; if they are built."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.console.recorder import Recorder
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.machine.accelerator import choose
from harness.machine.admission import admitted
from harness.machine.protocol import Firmware, Medium, Network
from harness.machine.qemu import QemuMachine
from harness.machine.spec import MachineSpec, MediumBoot
from harness.recipe import load_recipe
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Plug = Callable[[str, Medium, Firmware], AbstractContextManager[tuple[QemuMachine, Recorder]]]

RECIPE = Path(__file__).parent / "tiny/recipes/desk.toml"


@pytest.fixture
def plug_in(require: Callable[[str], str], harness_cache: Path, tmp_path: Path) -> Plug:
    """Attaches a stick with the kernel of this width to a machine, and gives machine and console."""

    @contextmanager
    def attach(width: str, medium: Medium, firmware: Firmware) -> Iterator[tuple[QemuMachine, Recorder]]:
        building = BuildOptions(cache=harness_cache, kernel=require(f"tiny-6.1-{width}-boot-anything"))
        recipe = load_recipe(str(RECIPE))
        spec = MachineSpec(
            boot=MediumBoot(build_recipe(recipe, building, Quiet()).images["stick"].path, medium, ""),
            firmware=firmware,
            disk=None,
            memory=recipe.boot.memory_bytes,
            cpu="",
            accelerator=choose("auto", Store(harness_cache)),
            network=Network.OPEN,
        )
        with (
            admitted(harness_cache / "guests", spec.memory, waiting=lambda: None),
            QemuMachine(spec, tmp_path) as machine,
            Recorder(machine.transport, tmp_path / "console.raw", tmp_path / "console.idx") as console,
        ):
            yield machine, console

    return attach


@pytest.mark.parametrize(
    ("width", "medium", "firmware"),
    [
        ("i686", Medium.USB_XHCI, Firmware.BIOS),
        ("i686", Medium.USB_EHCI, Firmware.BIOS),
        ("x86_64", Medium.USB_EHCI, Firmware.BIOS),
        ("x86_64", Medium.USB_XHCI, Firmware.UEFI),
    ],
)
def test_a_pc_on_the_desk(plug_in: Plug, width: str, medium: Medium, firmware: Firmware) -> None:
    with plug_in(width, medium, firmware) as (machine, console):
        machine.start()
        said = _await(console, b"SCREEN written")
        assert re.search(rf"DESK \S+-tiny-{width}-boot-anything ", said)
        assert "STICK usb from the stick" in said
        assert re.search(r"DRIVER e1000\s+LEASE 10\.0\.2\.\d+\s+CARRIER 1\s+PING answered", said)
        if firmware is Firmware.BIOS:
            # Near the top of the text memory, as the kernel's own messages do not scroll it away.
            assert any("a desk with a screen" in line for line in machine.screen())
        else:  # the framebuffer has no text that could be read from outside
            assert "FRAMEBUFFER 0 EFI VGA" in said
        for key in ("h", "e", "y", "ret"):
            machine._monitor.human(f"sendkey {key}")
        assert "TYPED hey" in _await(console, b"TYPED hey")


def _await(console: Recorder, words: bytes) -> str:
    """Everything until the guest has said this; fails when it ends before."""
    said = b""
    while words not in said:
        assert not console.ended, said[-2000:]
        said += console.read(len(said), timeout=1.0)
    return said.decode("utf-8", "replace")
