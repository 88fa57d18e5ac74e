"""What every machine can do, and how it can end."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

from harness.core.last_words import PANIC, POWER_OFF, RESTART

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from harness.console.transport import Transport


class MachineKind(StrEnum):
    """Where a payload runs."""

    QEMU = "qemu"
    CHROOT = "chroot"
    BWRAP = "bwrap"
    BOARD = "board"

    @property
    def has_kernel(self) -> bool:
        """Whether it boots kernels of its own; elsewhere the host's is there from the start."""
        return self in {MachineKind.QEMU, MachineKind.BOARD}


class Accelerator(StrEnum):
    """How the guest's instructions are executed; natively where there is no guest."""

    KVM = "kvm"
    TCG = "tcg"
    NATIVE = "native"


class Medium(StrEnum):
    """Where the seed kernel comes from: the machine loads it itself, or firmware finds a boot medium."""

    DIRECT = "direct"
    DISK = "disk"
    CD = "cd"
    USB_XHCI = "usb-xhci"
    USB_EHCI = "usb-ehci"
    BOARD = "board"  # a board's own, behind whatever controller it has


class Firmware(StrEnum):
    """What runs before the seed kernel."""

    BIOS = "bios"
    UEFI = "uefi"


class Network(StrEnum):
    """What a guest reaches: nothing, the harness alone, or all that the host does."""

    NONE = "none"
    RESTRICTED = "restricted"
    OPEN = "open"


class EndCause(StrEnum):
    """Why a machine is no longer running; the first four are QMP's words for it.

    EXITED and GAVE_UP are for machines without a kernel: the first process ended with status 0, or did not.
    """

    GUEST_SHUTDOWN = "guest-shutdown"
    GUEST_RESET = "guest-reset"
    GUEST_PANIC = "guest-panic"
    HOST_QUIT = "host-qmp-quit"
    DIED = "died"
    EXITED = "exit"
    GAVE_UP = "exit-with-failure"


# A panic resets a machine whose kernel has panic=-1 on its command line.
_LAST_WORDS = {
    POWER_OFF: EndCause.GUEST_SHUTDOWN,
    RESTART: EndCause.GUEST_RESET,
    rf"(?m:^|[\]>] ?){PANIC}": EndCause.GUEST_RESET,
}


def end_told_by(text: bytes) -> EndCause | None:
    """The end that a kernel's last words in this text announce; of several, the last one."""
    found = [
        (said.start(), cause)
        for words, cause in _LAST_WORDS.items()
        for said in re.finditer(words.encode(), text)
    ]
    return max(found)[1] if found else None


class End(msgspec.Struct, frozen=True):
    """The end of a machine.

    Attributes:
        cause: Who ended it.
        detail: What is known beyond that: signal, exit status, last words on stderr.
    """

    cause: EndCause
    detail: str = ""


class Usage(msgspec.Struct, frozen=True):
    """What a machine has consumed so far, in seconds.

    Attributes:
        cpu: Processor time of the whole machine.
        guest: Time during which the guest could run: wall time less the time that it waited for a core.
            It stands still while a loaded host starves the guest, and runs while the guest idles.
    """

    cpu: float
    guest: float


class ProcessorSample(msgspec.Struct, frozen=True):
    """One look at the boot processor and at what the machine did since the last look.

    Attributes:
        halted: HLT: it waits for an interrupt.
        interrupts: IF: interrupts can reach it.
        privilege: CPL: 0 in the kernel or firmware, 3 in user space.
        paging: Whether addresses are translated: not so in firmware, boot loaders and the simplest kernels.
        at: Instruction pointer, without its segment.
        cpu_share: Processor time of the machine per second of wall time since the last look.
        read: Bytes read from disks so far.
        written: Bytes written to disks so far.
    """

    halted: bool
    interrupts: bool
    privilege: int
    cpu_share: float
    written: int
    read: int = 0
    paging: bool = True
    at: int = 0


class DirectBoot(msgspec.Struct, frozen=True):
    """A seed kernel that the machine loads itself.

    Attributes:
        kernel: The seed kernel.
        initramfs: First root file system; None where the kernel mounts its root itself.
        command_line: The seed kernel's command line.
        unpacked: Whether the kernel is an ELF file that is entered by PVH, without firmware and decompressor.
    """

    kernel: Path
    initramfs: Path | None
    command_line: str
    unpacked: bool = False

    @property
    def medium(self) -> Medium:
        """No medium."""
        return Medium.DIRECT


class MediumBoot(msgspec.Struct, frozen=True):
    """A medium that the firmware boots; it holds kernel and initramfs.

    Attributes:
        image: The medium's content; the run cannot write to it.
        medium: How it is attached; not DIRECT.
        command_line: That of the kernel that the medium starts when nobody chooses.
    """

    image: Path
    medium: Medium
    command_line: str


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
    def of_disk(cls, firmware: Firmware) -> Bus:
        """What the own disk of QEMU's PC hangs on: IDE with a BIOS, SATA with UEFI.

        OVMF switches the ports of the PIIX controller on (its IDETIM registers) when it may boot from them,
        and else leaves them off: Linux's ata_piix then sees no disk. AHCI has no such switch.
        """
        return cls.AHCI if firmware == Firmware.UEFI else cls.IDE


class Drive(msgspec.Struct, frozen=True):
    """A disk besides the machine's own.

    Attributes:
        image: Its content (raw); what the guest writes is dropped.
        bus: Its controller.
    """

    image: Path
    bus: Bus


class DiskBoot(msgspec.Struct, frozen=True):
    """The machine's disk, which its BIOS boots; there is no seed kernel, and the console is the BIOS's."""

    @property
    def medium(self) -> Medium:
        """The disk."""
        return Medium.DISK

    @property
    def command_line(self) -> str:
        """None."""
        return ""


class MachineSpec(msgspec.Struct, frozen=True):
    """What a machine is made of.

    Attributes:
        boot: What it boots, and from where.
        firmware: What runs first.
        disk: Disk image; the run writes to an overlay that ends with it.
        memory: In bytes.
        cpu: QEMU's name of a processor model; empty for the accelerator's default.
        accelerator: How the guest is executed.
        network: What the guest reaches.
        bulk: Whether it has a virtio serial port through which files leave the guest.
        drives: Further disks. A machine that has any is not saved.
    """

    boot: DirectBoot | MediumBoot | DiskBoot
    firmware: Firmware
    disk: Path | None
    memory: int
    cpu: str
    accelerator: Accelerator
    network: Network = Network.NONE
    bulk: bool = False
    drives: tuple[Drive, ...] = ()


class NativeCall(msgspec.Struct, frozen=True):
    """A program that runs without a kernel of its own.

    Attributes:
        program: What is started, with its arguments.
        environment: Its environment; there is no other.
        root: The directory in the payload's root that is the root of this one; "" for that root itself.
    """

    program: tuple[str, ...]
    environment: Mapping[str, str]
    root: str = ""


class NativeSpec(msgspec.Struct, frozen=True):
    """What runs without a kernel of its own.

    Attributes:
        kind: CHROOT or BWRAP.
        image: The image whose files become the root.
        calls: What is started in it, each when the one before has ended with status 0; one only for CHROOT.
        memory: Bytes of address space that each of its processes may have.
        inner: A directory that the first call goes into with chroot(1); "" if it does not.
    """

    kind: MachineKind
    image: Path
    calls: tuple[NativeCall, ...]
    memory: int
    inner: str = ""

    @property
    def accelerator(self) -> Accelerator:
        """None."""
        return Accelerator.NATIVE


class Observed(Protocol):
    """What whoever follows a run sees of its machine."""

    def poll(self) -> End | None:
        """How the machine ended, or None while it runs."""

    def usage(self) -> Usage:
        """What it has consumed so far."""

    def sample(self) -> ProcessorSample | None:
        """Look at the processor; None when the machine cannot tell.

        Raises:
            InfraError: The host has given the guest up, and it stands still.
        """

    def screen(self) -> list[str]:
        """The lines of the text screen; empty when there is none."""


class Machine(Observed, Protocol):
    """A machine that boots, talks over a console, and ends. A context manager: it cleans up on leaving."""

    command: tuple[str, ...]
    bulk: socket.socket | None  # our end of the port for files, if the machine has one; from __enter__ on

    def __enter__(self) -> Self:
        """Prepare the machine; nothing runs yet."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the machine, whatever happened, and free what it held."""

    @property
    def transport(self) -> Transport:
        """The console, attached before the first instruction runs."""

    def start(self) -> None:
        """Let the machine run."""

    def screenshot(self, path: Path) -> bool:
        """Save the screen as PNG; whether that worked."""
