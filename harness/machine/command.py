"""QEMU's command line, to run and to paste."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import msgspec

from harness.console.transport import BULK_PORT
from harness.core.architecture import DEFAULT, load_architecture
from harness.core.errors import ConfigError, InfraError
from harness.machine.network.qemu_args import answering_words, network_words
from harness.machine.protocol import Firmware, Medium
from harness.machine.spec import Bus, DirectBoot, DiskBoot, Drive, MachineSpec, MediumBoot, option_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OVERLAY = re.compile(r"file=.*,format=qcow2,(?P<attached>.*),cache=unsafe")
_PORT = ("-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=bulk,name={BULK_PORT}")
_CONTROLLERS = {
    Bus.AHCI: "ich9-ahci,id=ahci",
    Bus.USB: "qemu-xhci,id=xhci",
    Bus.USB_EHCI: "usb-ehci,id=ehci",
    Bus.USB_UHCI: "piix3-usb-uhci,id=uhci",
    Bus.USB_OHCI: "pci-ohci,id=ohci",
}
_CONSOLE = "console"
# Their words are file descriptors, which only we have.
_NOT_PASTED = {"-chardev", "-mon", "-incoming"}
_NOT_PASTED_NETWORK = ("socket,id=names,", "hubport,id=names-port,")


class Ends(msgspec.Struct, frozen=True):
    """QEMU's ends of what the machine is attached to, as file descriptors."""

    said: int  # a pipe for what its serial port says
    typed: int  # a pipe with what is typed to that
    monitor: int  # QMP, a socket like the others
    bulk: int | None = None  # its virtio serial port, if it has one
    names: int | None = None  # the port of its network where names are answered, if it has one


@contextmanager
def console_links(directory: Path, ends: Ends) -> Iterator[None]:
    """Names for the pipes of a serial port, by which QEMU opens them while it starts.

    The port writes single bytes. A socket holds some 280 of them, and then the guest waits; a pipe 65536.
    """
    links = {".out": ends.said, ".in": ends.typed}
    try:
        for suffix, descriptor in links.items():
            directory.joinpath(_CONSOLE + suffix).symlink_to(f"/proc/self/fd/{descriptor}")
        yield
    finally:
        for suffix in links:
            directory.joinpath(_CONSOLE + suffix).unlink(missing_ok=True)


def device_words(spec: MachineSpec) -> tuple[str, ...]:
    """The devices of a machine that the guest sees and that are not its boot medium or disk."""
    machine = load_architecture(spec.architecture).qemu.machine
    return (*machine, *network_words(spec.network), *(_PORT if spec.bulk else ()))


def command_words(
    program: str, spec: MachineSpec, ends: Ends, directory: Path, overlay: Path, *, http: int = 0
) -> tuple[str, ...]:
    """What runs.

    Args:
        program: QEMU.
        spec: The machine.
        ends: What it is attached to.
        directory: Where firmware keeps its variables, and where `console_links` were made.
        overlay: What is written to the disk.
        http: Where on the host's loopback a restricted network's HTTP is answered; 0 for nowhere.
    """
    command = [program, "-S", "-no-user-config", "-nodefaults", "-no-reboot"]
    console = option_value(directory / _CONSOLE)
    command += ["-chardev", f"pipe,id=console,path={console}", "-serial", "chardev:console"]
    command += ["-chardev", f"socket,id=monitor,fd={ends.monitor}", "-mon", "chardev=monitor,mode=control"]
    if ends.bulk is not None:
        command += ["-chardev", f"socket,id=bulk,fd={ends.bulk}"]
    command += answering_words(spec.network, ends.names, http)
    command += [*device_words(spec), "-accel", spec.accelerator, "-m", f"{spec.memory >> 20}M"]
    if spec.cpu:
        command += ["-cpu", spec.cpu]
    command += [*firmware_words(spec.firmware, directory), *boot_words(spec.boot)]
    if spec.disk is not None:
        command += _disk_words(overlay, Bus.of_disk(spec.firmware, spec.architecture))
    return (*command, *_drive_words(spec.drives))


def _disk_words(overlay: Path, bus: Bus) -> list[str]:
    """The machine's own disk."""
    attached, device = "if=none,id=disk", list[str]()
    if bus == Bus.AHCI:
        device = ["-device", "ich9-ahci,id=sata", "-device", "ide-hd,bus=sata.0,drive=disk"]
    elif bus == Bus.VIRTIO:
        device = ["-device", "virtio-blk-pci,drive=disk"]
    else:
        attached = "if=ide"
    # What is written need not survive this host: the overlay goes with the run.
    return ["-drive", f"file={option_value(overlay)},format=qcow2,{attached},cache=unsafe", *device]


def _drive_words(drives: Sequence[Drive]) -> Iterator[str]:
    buses = {drive.bus for drive in drives}
    for bus, controller in _CONTROLLERS.items():
        if bus in buses:
            yield from ("-device", controller)
    ports = dict.fromkeys(Bus, 0)
    for number, drive in enumerate(drives):
        node, port = f"drive{number}", ports[drive.bus]
        ports[drive.bus] += 1
        device = {
            # The first two places are the machine's own disk's and the CD drive's.
            Bus.IDE: f"ide-hd,bus=ide.1,unit={port}",
            Bus.AHCI: f"ide-hd,bus=ahci.{port}",
            Bus.NVME: f"nvme,serial={node}",
            Bus.VIRTIO: "virtio-blk-pci",
            Bus.USB: "usb-storage,bus=xhci.0",
            Bus.USB_EHCI: "usb-storage,bus=ehci.0",
            Bus.USB_UHCI: "usb-storage,bus=uhci.0",
            Bus.USB_OHCI: "usb-storage,bus=ohci.0",
        }[drive.bus]
        yield from ("-drive", f"file={option_value(drive.image)},format=raw,if=none,id={node},snapshot=on")
        yield from ("-device", f"{device},drive={node}")


def for_people(command: Sequence[str], disk: Path | None) -> str:
    """The command as it ran, and one to paste that does the same with the console on the terminal."""
    by_hand: list[str] = []
    words = iter(command)
    for word in words:
        if word in _NOT_PASTED:
            next(words)
        elif word == "-netdev" and (about := next(words)).startswith(_NOT_PASTED_NETWORK):
            continue
        elif word == "-netdev":
            by_hand += [word, about]
        elif word == "-serial":
            by_hand += [word, "stdio"]
            next(words)
        elif "chardev=bulk" in word:
            by_hand.append(word.replace("chardev=bulk,", ""))  # a port without a listener
        elif (overlay := _OVERLAY.fullmatch(word)) and disk is not None:
            # The overlay is gone by then.
            by_hand.append(f"file={option_value(disk)},format=raw,{overlay['attached']},snapshot=on")
        elif word != "-S":
            by_hand.append(word)
    ran, pasted = shlex.join(command), shlex.join(by_hand)
    return f"# What ran; console, monitor and port are inherited.\n{ran}\n\n# To paste:\n{pasted}\n"


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
    hint = "install it (Debian: apt-get install ovmf)"
    raise ConfigError("OVMF, the UEFI firmware for QEMU, is not installed", hint=hint)


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


PROGRAM = "qemu-system-x86_64"


def qemu_program(architecture: str = DEFAULT) -> str:
    """The path of QEMU for an architecture."""
    qemu = load_architecture(architecture).qemu
    program = shutil.which(qemu.program)
    if program is None:
        hint = f"install it (Debian: apt-get install {qemu.package}), then see `harness doctor`"
        raise ConfigError(f"{qemu.program} is not installed", hint=hint)
    return program


@cache
def qemu_version(architecture: str = DEFAULT) -> str:
    """The version of QEMU and of its package, as it says them."""
    command = [qemu_program(architecture), "--version"]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    version = re.match(r"QEMU emulator version (.+)", answer.stdout)
    if version is None:
        hint = "see `harness doctor`"
        raise InfraError(f"{command[0]} does not say its version: {answer.stderr.strip()}", hint=hint)
    return version[1]
