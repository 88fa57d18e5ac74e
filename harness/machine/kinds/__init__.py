"""Kinds of machines: what a run asks before there is a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.machine.protocol import MachineKind

if TYPE_CHECKING:
    from harness.machine.kinds.kind import Kind


def find_kind(machine: str) -> Kind[Any]:
    """The kind of machine that `--machine` names; a board's name stands behind a colon."""
    word, colon, name = machine.partition(":")
    kind = MachineKind(word)
    if bool(colon) != (kind == MachineKind.BOARD):
        raise ValueError(machine)
    match kind:  # each imports only what it needs
        case MachineKind.QEMU:
            from harness.machine.kinds.qemu import Qemu

            return Qemu(kind)
        case MachineKind.CHROOT | MachineKind.BWRAP:
            from harness.machine.kinds.native import Native

            return Native(kind)
        case MachineKind.BOARD:
            from harness.machine.kinds.board import OnBoard

            return OnBoard(kind, name)
