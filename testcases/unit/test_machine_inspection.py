"""What is read off QEMU's monitor, with answers as QEMU gives them; boots have the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import InfraError
from harness.machine import inspection

REGISTERS = """
EAX=00000000 EBX=00000000 ECX=00000000 EDX=00000000
ESI=00000000 EDI=00000000 EBP=00000000 ESP=00000000
EIP=c602ac33 EFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
CR0=80050033 CR2=ffffffff CR3=00000000 CR4=00000000
"""


class Monitor:
    """A monitor of a guest whose text screen begins at a cell of its memory."""

    def __init__(self, status: str = "running", origin: int = 0, memory: bytes = b"") -> None:
        self.status = status
        self.crtc = {0x0C: origin >> 8, 0x0D: origin & 0xFF}
        self.chosen = 0x0E
        self.memory = memory
        self.looked_while: set[str] = set()

    def execute(self, command: str, **arguments: Any) -> Any:
        match command:
            case "query-status":
                return {"status": self.status, "running": self.status == "running"}
            case "query-blockstats":
                return [{"stats": {"rd_bytes": 512, "wr_bytes": 1024}}]
            case "stop" | "cont":
                self.status = {"stop": "paused", "cont": "running"}[command]
            case "pmemsave":
                assert arguments["val"] == 0xB8000
                Path(arguments["filename"]).write_bytes(self.memory[: arguments["size"]])
        return {}

    def human(self, command_line: str) -> str:
        match command_line.split():
            case ["info", "registers"]:
                return REGISTERS
            case ["o/b", "0x3d4", register]:
                self.chosen = int(register, 16)
            case ["i/b", "0x3d4"]:
                return f"portb[0x03d4] = {self.chosen:#04x}\r\n"
            case ["i/b", "0x3d5"]:
                self.looked_while.add(self.status)
                return f"portb[0x03d5] = {self.crtc[self.chosen]:#04x}\r\n"
        return ""


def memory(**lines: str) -> bytes:
    """Text memory with these lines, by the number of their row."""
    cells = bytearray(b" \x07" * 0x4000)
    for row, text in lines.items():
        start = 160 * int(row.removeprefix("row"))
        cells[start : start + 2 * len(text)] = b"".join(bytes((ord(letter), 7)) for letter in text)
    return bytes(cells)


@pytest.mark.parametrize(
    ("origin", "shown"),
    [(0, ["first"]), (80 * 100, ["hundredth", "and its end"]), (80 * 190, ["last", 64 * " " + "first"])],
)
def test_the_screen_is_what_is_displayed(tmp_path: Path, origin: int, shown: list[str]) -> None:
    text = memory(row0="first", row25="below", row100="hundredth", row124="and its end", row200="last")
    monitor: Any = Monitor(origin=origin, memory=text)
    assert inspection.screen(monitor, tmp_path) == shown
    assert list(tmp_path.iterdir()) == []
    assert (monitor.status, monitor.chosen) == ("running", 0x0E), "the guest does not notice"
    assert monitor.looked_while == {"paused"}


def test_a_guest_that_stands_still_is_left_so(tmp_path: Path) -> None:
    monitor: Any = Monitor("paused", memory=memory(row3="panic"))
    assert inspection.screen(monitor, tmp_path) == ["panic"]
    assert monitor.status == "paused"


def test_a_sample() -> None:
    monitor: Any = Monitor()
    sample = inspection.sample(monitor, 0.5)
    assert sample is not None
    assert (sample.halted, sample.interrupts, sample.privilege, sample.paging) == (True, True, 0, True)
    assert (sample.at, sample.cpu_share, sample.read, sample.written) == (0xC602AC33, 0.5, 512, 1024)


def test_a_guest_that_kvm_gave_up() -> None:
    monitor: Any = Monitor("internal-error")
    with pytest.raises(InfraError, match="KVM could not go on") as caught:
        inspection.sample(monitor, 0.0)
    assert "qemu.stderr" in caught.value.hint
