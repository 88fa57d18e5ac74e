"""QEMU's arguments for firmware and for what it boots."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from harness.core.errors import ConfigError
from harness.machine.protocol import Firmware, Medium
from harness.machine.spec import DirectBoot, DiskBoot, MediumBoot, option_value

if TYPE_CHECKING:
    from collections.abc import Sequence

# OVMF, UEFI for QEMU: its code and the variables that it begins with, where distributions put them.
_OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),  # Debian, Ubuntu
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),  # Fedora
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),  # Arch
)


def firmware_words(firmware: Firmware, directory: Path) -> list[str]:
    """QEMU's words for a firmware; variables that it changes are kept in the directory."""
    match firmware:
        case Firmware.BIOS:
            return []  # SeaBIOS comes with QEMU
        case Firmware.UEFI:
            code, pristine = find_ovmf()
            variables = directory / "uefi-variables.fd"
            shutil.copyfile(pristine, variables)
            flash = ["-drive", f"if=pflash,format=raw,readonly=on,file={option_value(code)}"]
            return [*flash, "-drive", f"if=pflash,format=raw,file={option_value(variables)}"]
    assert_never(firmware)


def find_ovmf() -> tuple[Path, Path]:
    """OVMF's code and its pristine variables."""
    for code, variables in _OVMF:
        if Path(code).is_file() and Path(variables).is_file():
            return Path(code), Path(variables)
    raise ConfigError(
        "OVMF, the UEFI firmware for QEMU, is not installed", hint="install it (Debian: apt-get install ovmf)"
    )


def boot_words(boot: DirectBoot | MediumBoot | DiskBoot) -> Sequence[str]:
    """QEMU's words for what is booted."""
    if isinstance(boot, DirectBoot):
        initrd = ["-initrd", str(boot.initramfs)] if boot.initramfs is not None else []
        return ["-kernel", str(boot.kernel), *initrd, "-append", boot.command_line]
    if isinstance(boot, DiskBoot):
        # SeaBIOS shows what is printed through it on the serial port as well where there are no graphics.
        return ["-machine", "graphics=off", "-boot", "strict=on,order=c"]
    # Only the medium is tried: what else is attached is not for booting.
    drive = f"if=none,id=medium,format=raw,readonly=on,file={option_value(boot.image)}"
    return ["-boot", "strict=on", "-drive", drive, *_device(boot.medium)]


def _device(medium: Medium) -> list[str]:
    stick = "usb-storage,drive=medium,bus=usb.0,removable=on,bootindex=0"
    match medium:
        case Medium.CD:
            return ["-device", "ide-cd,drive=medium,bus=ide.1,bootindex=0"]
        case Medium.USB_XHCI:
            return ["-device", "qemu-xhci,id=usb", "-device", stick]
        case Medium.USB_EHCI:
            return ["-device", "usb-ehci,id=usb", "-device", stick]
        case Medium.DIRECT | Medium.DISK | Medium.BOARD:
            raise ValueError(medium)
    assert_never(medium)
