"""What QEMU's monitor shows of a guest: its boot processor, its disks, its text screen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.errors import InfraError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.machine.protocol import ProcessorSample
    from harness.machine.qmp import Monitor

_TEXT_SCREEN = 0xB8000  # VGA text memory: 80x25 cells of character and attribute
_COLUMNS, _ROWS = 80, 25
_INTERRUPTS = 1 << 9  # IF in EFLAGS (Intel SDM volume 1, 3.4.3)
_PAGING = 1 << 31  # PG in CR0 (Intel SDM volume 3, 2.5)


def sample(monitor: Monitor, cpu_share: float) -> ProcessorSample | None:
    """Registers of the boot processor, and what the disks have done; None when QEMU does not tell."""
    from harness.machine.protocol import ProcessorSample

    try:
        registers = monitor.human("info registers")
        disks = monitor.execute("query-blockstats")
    except InfraError:
        return None
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
        monitor.execute("pmemsave", val=_TEXT_SCREEN, size=_COLUMNS * _ROWS * 2, filename=str(dump))
        cells = dump.read_bytes()[::2]
    except (InfraError, OSError):
        return []
    finally:
        dump.unlink(missing_ok=True)
    text = cells.decode("cp437").replace("\0", " ")
    lines = (text[start : start + _COLUMNS].rstrip() for start in range(0, len(text), _COLUMNS))
    return [line for line in lines if line]
