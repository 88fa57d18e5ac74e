"""What every machine can do, and how it can end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from harness.console.transport import Transport


class Accelerator(StrEnum):
    """How the guest's instructions are executed."""

    KVM = "kvm"
    TCG = "tcg"


class Medium(StrEnum):
    """Where the seed kernel comes from: the machine loads it itself, or firmware finds a boot medium."""

    DIRECT = "direct"
    CD = "cd"
    USB_XHCI = "usb-xhci"
    USB_EHCI = "usb-ehci"


class Firmware(StrEnum):
    """What runs before the seed kernel."""

    BIOS = "bios"
    UEFI = "uefi"


class Network(StrEnum):
    """What a guest reaches: nothing, or all that the host does, by way of QEMU's user network."""

    NONE = "none"
    USER = "user"


class EndCause(StrEnum):
    """Why a machine is no longer running; the first four are QMP's words for it."""

    GUEST_SHUTDOWN = "guest-shutdown"
    GUEST_RESET = "guest-reset"
    GUEST_PANIC = "guest-panic"
    HOST_QUIT = "host-qmp-quit"
    DIED = "died"


@dataclass(frozen=True, slots=True)
class End:
    """The end of a machine.

    Attributes:
        cause: Who ended it.
        detail: What is known beyond that: signal, exit status, last words on stderr.
    """

    cause: EndCause
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a machine has consumed so far, in seconds.

    Attributes:
        cpu: Processor time of the whole machine.
        guest: Time during which the guest could run: wall time less the time that it waited for a core.
            It stands still while a loaded host starves the guest, and runs while the guest idles.
    """

    cpu: float
    guest: float


@dataclass(frozen=True, slots=True)
class ProcessorSample:
    """One look at the boot processor and at what the machine did since the last look.

    Attributes:
        halted: HLT: it waits for an interrupt.
        interrupts: IF: interrupts can reach it.
        privilege: CPL: 0 in the kernel or firmware, 3 in user space.
        cpu_share: Processor time of the machine per second of wall time since the last look.
        written: Bytes written to disks so far.
    """

    halted: bool
    interrupts: bool
    privilege: int
    cpu_share: float
    written: int


@dataclass(frozen=True, slots=True)
class DirectBoot:
    """A seed kernel that the machine loads itself.

    Attributes:
        kernel: The seed kernel.
        initramfs: First root file system; None where the kernel mounts its root itself.
        command_line: The seed kernel's command line.
    """

    kernel: Path
    initramfs: Path | None
    command_line: str

    @property
    def medium(self) -> Medium:
        """No medium."""
        return Medium.DIRECT


@dataclass(frozen=True, slots=True)
class MediumBoot:
    """A medium that the firmware boots; it holds kernel and initramfs.

    Attributes:
        image: The medium's content; the run cannot write to it.
        medium: How it is attached; not DIRECT.
        command_line: That of the kernel that the medium starts when nobody chooses.
    """

    image: Path
    medium: Medium
    command_line: str


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What a machine is made of.

    Attributes:
        boot: What it boots, and from where.
        firmware: What runs first.
        disk: Disk image; the run writes to an overlay that ends with it.
        memory: In bytes.
        cpu: QEMU's name of a processor model; empty for the accelerator's default.
        accelerator: How the guest is executed.
        network: What the guest reaches.
    """

    boot: DirectBoot | MediumBoot
    firmware: Firmware
    disk: Path | None
    memory: int
    cpu: str
    accelerator: Accelerator
    network: Network = Network.NONE


class Observed(Protocol):
    """What whoever follows a run sees of its machine."""

    def poll(self) -> End | None:
        """How the machine ended, or None while it runs."""

    def usage(self) -> Usage:
        """What it has consumed so far."""

    def sample(self) -> ProcessorSample | None:
        """Look at the processor; None when the machine cannot tell."""

    def screen(self) -> list[str]:
        """The lines of the text screen; empty when there is none."""


class Machine(Observed, Protocol):
    """A machine that boots, talks over a console, and ends. A context manager: it cleans up on leaving."""

    command: tuple[str, ...]

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
