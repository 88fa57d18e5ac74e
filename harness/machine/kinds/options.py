"""Which option of a run goes with which kind of machine."""

from __future__ import annotations

from harness.machine.protocol import MachineKind

_KERNELS = frozenset({"--kernel", "--second"})
_QEMU = frozenset(
    {
        "--accelerator",
        "--append",
        "--checkpoint, --from and --until",
        "--cpu",
        "--firmware",
        "--medium",
        "--memory",
        "--network",
        "--network none",
        "--unpacked",
    }
)

# A row for each kind. An option that is missing in a row is refused on such machines, in matrix files too.
TAKES = {
    MachineKind.QEMU: _QEMU | _KERNELS,
    MachineKind.BOARD: _KERNELS,
    MachineKind.CHROOT: frozenset({"--memory", "--network none"}),
    MachineKind.BWRAP: frozenset({"--memory", "--network none"}),
}
