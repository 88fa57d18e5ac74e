"""Reads registers, block counters and the VGA text screen through QMP."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.core.errors import InfraError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.machine.protocol import ProcessorSample
    from harness.machine.qmp import Monitor

_TEXT_MEMORY = 0xB8000  # of VGA: cells of character and attribute, of which 80x25 are displayed
_TEXT_SIZE = 0x8000  # bytes
_COLUMNS, _ROWS = 80, 25
_CRTC = 0x3D4  # VGA's CRT controller: the port that chooses a register; that behind it reads and writes it
_ORIGIN = (0x0C, 0x0D)  # its registers with the number of the first cell that is displayed
_INTERRUPTS = 1 << 9  # IF in EFLAGS (Intel SDM volume 1, 3.4.3)
_PAGING = 1 << 31  # PG in CR0 (Intel SDM volume 3, 2.5)


def sample(monitor: Monitor, cpu_share: float) -> ProcessorSample | None:
    """Registers of the boot processor, and what the disks have done; None when QEMU does not tell.

    Raises:
        InfraError: The guest stands still, because KVM could not go on with it.
    """
    from harness.machine.protocol import ProcessorSample

    try:
        state = monitor.execute("query-status")["status"]
        registers = monitor.human("info registers")
        disks = monitor.execute("query-blockstats")
    except InfraError:
        return None
    if state == "internal-error":
        hint = "qemu.stderr in the record says at which instruction; --accelerator tcg has no such limits"
        raise InfraError("QEMU stopped the guest, with which KVM could not go on", hint=hint)
    found = re.search(
        r"[ER]IP=(?P<at>[0-9a-f]+) [ER]FL=(?P<flags>[0-9a-f]+).* CPL=(?P<privilege>\d).* HLT=(?P<halted>\d)"
        r"[\s\S]*\bCR0=(?P<control>[0-9a-f]+)",
        registers,
    )
    if found is None:
        return None
    return ProcessorSample(
        halted=found["halted"] == "1",
        interrupts=bool(int(found["flags"], 16) & _INTERRUPTS),
        privilege=int(found["privilege"]),
        paging=bool(int(found["control"], 16) & _PAGING),
        at=int(found["at"], 16),
        cpu_share=cpu_share,
        read=sum(disk["stats"]["rd_bytes"] for disk in disks),
        written=sum(disk["stats"]["wr_bytes"] for disk in disks),
    )


def screen(monitor: Monitor, directory: Path) -> list[str]:
    """The lines of the VGA text screen that are not blank; QEMU writes it into the directory for a moment."""
    dump = directory / "screen.bin"
    try:
        origin = _origin(monitor)
        monitor.execute("pmemsave", val=_TEXT_MEMORY, size=_TEXT_SIZE, filename=str(dump))
        cells = dump.read_bytes()[::2]
    except (InfraError, OSError):
        return []
    finally:
        dump.unlink(missing_ok=True)
    # What lies behind the end is displayed from the beginning on.
    text = (cells[origin:] + cells[:origin]).decode("cp437").replace("\0", " ")
    lines = (text[start : start + _COLUMNS].rstrip() for start in range(0, _COLUMNS * _ROWS, _COLUMNS))
    return [line for line in lines if line]


def _origin(monitor: Monitor) -> int:
    """The first cell of the text memory that is displayed: a kernel scrolls by moving it.

    Looking means to choose a register, which the guest may be about to do itself: it stands still meanwhile.
    """
    running = monitor.execute("query-status")["running"]
    if running:
        monitor.execute("stop")
    try:
        chosen = _read_port(monitor, _CRTC)
        origin = 0
        for register in _ORIGIN:
            monitor.human(f"o/b {_CRTC:#x} {register:#x}")
            origin = origin << 8 | _read_port(monitor, _CRTC + 1)
        monitor.human(f"o/b {_CRTC:#x} {chosen:#x}")
    finally:
        if running:
            monitor.execute("cont")
    return origin % (_TEXT_SIZE // 2)


def _read_port(monitor: Monitor, port: int) -> int:
    said = monitor.human(f"i/b {port:#x}")
    found = re.search(r"= (0x[0-9a-f]+)", said)
    if found is None:
        raise InfraError(f"QEMU's monitor does not read port {port:#x}: {said.strip()}")
    return int(found[1], 16)
