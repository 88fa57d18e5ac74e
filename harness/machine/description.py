"""What a run's record says of its machine."""

from __future__ import annotations

import msgspec


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
