"""Which option of a run goes with which kind of machine."""

from __future__ import annotations

from harness.machine.protocol import MachineKind

_KERNELS = {"--kernel", "--second"}
_GUEST = {"--accelerator", "--append", "--cpu", "--firmware", "--medium", "--memory", "--unpacked"}
_NETWORK = {"--network", "--network none"}
_SAVED = {"--checkpoint, --from and --until"}

# A row for each kind; what is missing in it is refused, on the command line and in matrix files.
TAKES: dict[str, set[str]] = {
    MachineKind.QEMU: _KERNELS | _GUEST | _NETWORK | _SAVED,
    MachineKind.BOARD: _KERNELS,
    MachineKind.CHROOT: {"--memory", "--network none"},
    MachineKind.BWRAP: {"--memory", "--network none"},
}
