"""The interface of all machines, and how they end."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, Self

import msgspec

from harness.core.last_words import PANIC, POWER_OFF, RESTART

if TYPE_CHECKING:
    import socket
    from pathlib import Path
    from types import TracebackType

    from harness.console.transport import Pace, Transport


class MachineKind(StrEnum):
    """Where a payload runs."""

    QEMU = "qemu"
    CHROOT = "chroot"
    BWRAP = "bwrap"
    BOARD = "board"


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
    BOARD = "board"  # a board's own, behind a controller that is not known


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
    """The end of a machine."""

    cause: EndCause  # who ended it
    detail: str = ""  # what is known beyond that: signal, exit status, last words on stderr


class Usage(msgspec.Struct, frozen=True):
    """What a machine has consumed so far, in seconds."""

    cpu: float  # processor time of the whole machine
    # Time during which the guest could run: wall time less the time that it waited for a core. It stands
    # still while a loaded host starves the guest, and runs while the guest idles.
    guest: float


class ProcessorSample(msgspec.Struct, frozen=True):
    """One look at the boot processor and at what the machine did since the last look."""

    halted: bool  # HLT: it waits for an interrupt
    interrupts: bool  # IF: interrupts can reach it
    privilege: int  # CPL: 0 in the kernel or firmware, 3 in user space
    cpu_share: float  # processor time of the machine per second of wall time since the last look
    written: int  # bytes written to disks so far
    read: int = 0  # bytes read from disks so far
    # Whether addresses are translated: not so in firmware, boot loaders and the simplest kernels.
    paging: bool = True
    at: int = 0  # instruction pointer, without its segment


class MachineRecord(msgspec.Struct, frozen=True):
    """What a run's record says of its machine; `memory` in bytes."""

    kind: str
    accelerator: str
    cpu: str
    memory: int
    command_line: str
    qemu: str
    medium: str = "direct"
    firmware: str = "bios"
    unpacked: bool = False
    network: str = "none"
    board: str = ""

    @property
    def title(self) -> str:
        """What it is, such as "QEMU 7.2.22, tcg", "board shelf" or "chroot"."""
        return f"QEMU {self.qemu}, {self.accelerator}" if self.qemu else f"{self.kind} {self.board}".strip()


class Observed(Protocol):
    """What is seen of a machine while its run is followed."""

    def poll(self) -> End | None:
        """How the machine ended, or None while it runs."""

    def usage(self) -> Usage:
        """What it has consumed so far."""

    def sample(self) -> ProcessorSample | None:
        """Look at the processor; None when the machine cannot tell.

        Raises:
            InfraError: The host has given the guest up, and it stands still.
        """
        return None

    def screen(self) -> list[str]:
        """The lines of the text screen; empty when there is none."""
        return []


class Snapshots(Protocol):
    """Saves a machine that runs."""

    def pause(self) -> None:
        """Stop the processor; `start` lets it go on."""

    def save(self, directory: Path) -> None:
        """Save all of the machine, while paused.

        Raises:
            InfraError: It cannot be saved.
        """

    def start(self) -> None:
        """Let it go on."""


class Machine(Observed, Protocol):
    """A machine that boots, talks over a console, and ends. A context manager: it cleans up on leaving.

    What a kind of machine does not have it inherits as missing.
    """

    command: tuple[str, ...] = ()  # what was started, for people
    transport: Transport  # the console, attached before the first instruction runs; from `__enter__` on
    bulk: socket.socket | None = (
        None  # our end of the port for files, if the machine has one; from `__enter__` on
    )

    def __enter__(self) -> Self:
        """Prepare the machine; nothing runs yet."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the machine in every case, and free what it held."""

    @property
    def pace(self) -> Pace | None:
        """How fast it can be typed to; None where its console says itself when it is full."""
        return None

    @property
    def snapshots(self) -> Snapshots | None:
        """What saves it; None where it cannot be saved."""
        return None

    def describe(self) -> MachineRecord:
        """What it is, for the record; from `__enter__` on."""

    def start(self) -> None:
        """Let the machine run."""

    def screenshot(self, _path: Path, /) -> bool:
        """Save the screen as PNG; whether that worked."""
        return False
