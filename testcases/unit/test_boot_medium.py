"""What QEMU is told about firmware and media, and what is said before a medium cannot be booted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from harness.core.errors import ConfigError
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.machine import command
from harness.machine.command import Ends, command_words, for_people
from harness.machine.kinds.kind import MachineRequest, start_of
from harness.machine.protocol import Accelerator, Firmware, Medium
from harness.machine.spec import DirectBoot, DiskBoot, MachineSpec, MediumBoot
from harness.recipe import Initramfs, Iso, MenuEntry
from harness.run.prepare import prepare
from harness.run.request import RunRequest

if TYPE_CHECKING:
    from harness.image.factory import Build

MENU = (
    MenuEntry(title="one", kernel="seed", initramfs="first", command_line="console=ttyS0"),
    MenuEntry(title="two", kernel="seed", initramfs="first", command_line="quiet"),
)


def built(*, medium: str | None = "stick", bits: int = 32) -> Build:
    images = {"first": Initramfs(name="first", contents=()), "stick": Iso(name="stick", menu=MENU)}
    recipe = SimpleNamespace(
        name="own",
        boot=SimpleNamespace(
            initramfs="first", medium=medium, command_line="console=ttyS0 panic=-1", unpacked=False
        ),
        image=images.__getitem__,
    )
    kernel = SimpleNamespace(image=SimpleNamespace(bits=bits, path=Path("/k"), kind="bzImage"))
    artifacts = {name: SimpleNamespace(path=Path(f"/{name}")) for name in images}
    return cast("Build", SimpleNamespace(recipe=recipe, kernels={"seed": kernel}, images=artifacts))


def boot(given: Build, **options: Any) -> DirectBoot | MediumBoot | DiskBoot:
    return start_of(given, MachineRequest(**options))


def test_without_a_medium_the_machine_loads_the_kernel() -> None:
    direct = boot(built(), append="quiet")
    assert direct == DirectBoot(Path("/k"), Path("/first"), "console=ttyS0 panic=-1 quiet")
    assert direct.medium == "direct"
    words = command.boot_words(direct)
    assert words == ["-kernel", "/k", "-initrd", "/first", "-append", "console=ttyS0 panic=-1 quiet"]


@pytest.mark.parametrize("medium", [Medium.CD, Medium.USB_XHCI, Medium.USB_EHCI])
def test_a_medium_starts_its_first_entry_and_nothing_else_is_tried(medium: Medium) -> None:
    chosen = boot(built(), medium=medium)
    assert chosen == MediumBoot(Path("/stick"), medium, "console=ttyS0")
    words = command.boot_words(chosen)
    assert "-kernel" not in words
    assert words[:2] == ["-boot", "strict=on"]
    assert any("file=/stick" in word and "readonly=on" in word for word in words)
    assert sum("bootindex=0" in word for word in words) == 1


@pytest.mark.parametrize("medium", [None, "first"])
def test_a_recipe_without_a_medium_is_told(medium: str | None) -> None:
    with pytest.raises(ConfigError, match="the recipe own has no medium"):
        boot(built(medium=medium), medium=Medium.CD)


def test_the_command_line_of_a_medium_cannot_be_changed_and_nothing_is_built(tmp_path: Path) -> None:
    build = BuildOptions(cache=tmp_path / "cache")
    request = RunRequest(build=build, runs=tmp_path, medium=Medium.CD, append="quiet")
    with pytest.raises(ConfigError, match="--append cannot change it"):
        prepare(request, Quiet())
    assert not (tmp_path / "cache").exists()


def test_uefi_by_itself_starts_wide_kernels_only() -> None:
    with pytest.raises(ConfigError, match="64-bit kernels only"):
        boot(built(bits=32), firmware=Firmware.UEFI)
    assert isinstance(boot(built(bits=64), firmware=Firmware.UEFI), DirectBoot)
    assert isinstance(boot(built(bits=32), firmware=Firmware.UEFI, medium=Medium.CD), MediumBoot)


def test_uefi_gets_variables_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, variables = tmp_path / "a,code.fd", tmp_path / "variables.fd"
    code.write_bytes(b"code")
    variables.write_bytes(b"pristine")
    monkeypatch.setattr(command, "_OVMF", (("/no/code", "/no/variables"), (str(code), str(variables))))
    run = tmp_path / "run"
    run.mkdir()
    words = command.firmware_words(Firmware.UEFI, run)
    [copy] = run.iterdir()
    assert copy.read_bytes() == b"pristine"
    assert words[1].endswith("a,,code.fd")
    assert words[3].endswith(f"file={copy}")
    assert command.firmware_words(Firmware.BIOS, run) == []


@pytest.mark.parametrize("firmware", Firmware)
def test_the_disk_is_on_a_controller_that_the_firmware_leaves_switched_on(
    firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "firmware_words", lambda *_: [])
    start, disk, overlay = DirectBoot(Path("/k"), None, ""), tmp_path / "a,disk.img", tmp_path / "overlay"
    spec = MachineSpec(start, firmware, disk, 64 << 20, "", Accelerator.TCG)
    words = command_words("qemu", spec, Ends(3, 4, 5), tmp_path, overlay)
    pasted = for_people(words, disk).splitlines()[-1]
    devices = [words[number + 1] for number, word in enumerate(words) if word == "-device"]
    if firmware == Firmware.UEFI:
        attached, expected = "if=none,id=disk", ["ich9-ahci,id=sata", "ide-hd,bus=sata.0,drive=disk"]
    else:
        attached, expected = "if=ide", []
    assert devices == expected
    assert f"file={overlay},format=qcow2,{attached},cache=unsafe" in words
    assert f"file={tmp_path}/a,,disk.img,format=raw,{attached},snapshot=on" in pasted
    assert all(device in pasted for device in devices)


def test_without_ovmf_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "_OVMF", (("/no/code", "/no/variables"),))
    with pytest.raises(ConfigError, match=r"OVMF.* is not installed") as caught:
        command.firmware_words(Firmware.UEFI, tmp_path)
    assert "apt-get install ovmf" in caught.value.hint
    assert not list(tmp_path.iterdir())
