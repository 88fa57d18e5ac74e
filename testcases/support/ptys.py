"""Pseudo terminals as serial ports whose adapters come and go, and boards behind them."""

from __future__ import annotations

import os
import pty
import tty
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BOARD = """
summary = "a pseudo terminal"
{more}
[serial]
port = "{port}"
{serial}
[power]
{power}
"""


class Adapter:
    """A serial port with a name that survives re-plugging, and the far end of its cable."""

    def __init__(self, name: Path) -> None:
        self.name = name
        self.far = -1
        self.plug()

    def plug(self) -> None:
        self.far, slave = pty.openpty()
        tty.setraw(slave)
        self.name.symlink_to(os.ttyname(slave))
        os.close(slave)

    def unplug(self) -> None:
        self.name.unlink()
        os.close(self.far)
        self.far = -1

    def say(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.far, data) :]

    def hear(self, limit: int = 4096) -> bytes:
        return os.read(self.far, limit)

    def close(self) -> None:
        if self.far >= 0:
            self.unplug()


def describe(
    lab: Path,
    port: str,
    *,
    name: str = "bench",
    more: str = "",
    serial: str = "",
    power: str = 'cycle = ["true"]',
) -> Path:
    """Write a board's file."""
    lab.mkdir(exist_ok=True)
    path = lab / f"{name}.toml"
    path.write_text(BOARD.format(port=port, more=more, serial=serial, power=power))
    return path
