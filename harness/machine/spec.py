"""Specifications of machines: what they boot, disks, memory, network."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import msgspec

from harness.core.architecture import DEFAULT, load_architecture
from harness.machine.protocol import Accelerator, Firmware, MachineKind, Medium, Network

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def option_value(text: Path | str) -> str:
    """A path or command as part of a QEMU option, where commas are doubled."""
    return str(text).replace(",", ",,")


class DirectBoot(msgspec.Struct, frozen=True):
    """A seed kernel that the machine loads itself."""

    kernel: Path  # the seed kernel
    initramfs: Path | None  # first root file system; None where the kernel mounts its root itself
    command_line: str  # the seed kernel's command line
    # Whether the kernel is an ELF file that is entered by PVH, without firmware and decompressor.
    unpacked: bool = False

    medium: ClassVar = Medium.DIRECT


class MediumBoot(msgspec.Struct, frozen=True):
    """A medium that the firmware boots; it holds kernel and initramfs."""

    image: Path  # the medium's content; the run cannot write to it
    medium: Medium  # how it is attached; not DIRECT
    command_line: str  # that of the kernel that the medium starts by default


class Bus(StrEnum):
    """The controller that a drive hangs on; of USB, xHCI unless another one is named."""

    IDE = "ide"
    AHCI = "ahci"
    NVME = "nvme"
    VIRTIO = "virtio"
    USB = "usb"
    USB_EHCI = "usb-ehci"
    USB_UHCI = "usb-uhci"
    USB_OHCI = "usb-ohci"

    @classmethod
    def of_disk(cls, firmware: Firmware, architecture: str = DEFAULT) -> Bus:
        """What the machine's own disk hangs on; that of QEMU's PC on IDE with a BIOS, on SATA with UEFI.

        OVMF switches the ports of the PIIX controller on (its IDETIM registers) when it may boot from them,
        and else leaves them off: Linux's ata_piix then sees no disk. AHCI has no such switch.
        """
        return cls.AHCI if firmware == Firmware.UEFI else cls(load_architecture(architecture).qemu.disk)


class Drive(msgspec.Struct, frozen=True):
    """A disk besides the machine's own."""

    image: Path  # its content (raw); what the guest writes is dropped
    bus: Bus  # its controller


class DiskBoot(msgspec.Struct, frozen=True):
    """The machine's disk, which its BIOS boots; there is no seed kernel, and the console is the BIOS's."""

    medium: ClassVar = Medium.DISK
    command_line: ClassVar = ""


class MachineSpec(msgspec.Struct, frozen=True):
    """What a machine is made of."""

    boot: DirectBoot | MediumBoot | DiskBoot  # what it boots, and from where
    firmware: Firmware  # what runs first
    disk: Path | None  # disk image; the run writes to an overlay that ends with it
    memory: int  # in bytes
    cpu: str  # QEMU's name of a processor model; empty for the accelerator's default
    accelerator: Accelerator  # how the guest is executed
    network: Network = Network.NONE  # what the guest reaches
    bulk: bool = False  # whether it has a virtio serial port through which files leave the guest
    drives: tuple[Drive, ...] = ()  # further disks. A machine that has any is not saved
    bus: Bus | None = None  # the controller of its own disk; None where it is not known
    architecture: str = DEFAULT  # of its processor


class NativeCall(msgspec.Struct, frozen=True):
    """A program that runs without a kernel of its own."""

    program: tuple[str, ...]  # what is started, with its arguments
    environment: Mapping[str, str]  # its environment; there is no other
    # The directory in the payload's root that is the root of this one; "" for that root itself.
    root: str = ""


class NativeSpec(msgspec.Struct, frozen=True):
    """What runs without a kernel of its own."""

    kind: MachineKind  # CHROOT or BWRAP
    image: Path  # the image whose files become the root
    # What is started in it, each when the one before has ended with status 0; one only for CHROOT.
    calls: tuple[NativeCall, ...]
    memory: int  # bytes of address space that each of its processes may have
    inner: str = ""  # a directory that the first call goes into with chroot(1); "" if it does not

    accelerator: ClassVar = Accelerator.NATIVE
    boot: ClassVar = None
    bus: ClassVar = None
    cpu: ClassVar = ""


Spec = MachineSpec | NativeSpec  # what machines of all kinds are made of
