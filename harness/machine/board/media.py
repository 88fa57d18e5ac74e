"""Writes a board's stick or disk if it is attached here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError, InfraError
from harness.flash import discovery, guard, session
from harness.flash.source import opened
from harness.machine.board.power import run

if TYPE_CHECKING:
    from pathlib import Path

    from harness.core.progress import Progress
    from harness.flash.device import Device
    from harness.flash.discovery import Sources
    from harness.machine.board.document import Board, BoardMedium

_LOOK = 0.5  # seconds between looks for a stick that a multiplexer has just connected


def attached(medium: BoardMedium, sources: Sources = discovery.REAL) -> Device | None:
    """The disk of this host with a medium's serial number; None if there is none."""
    found = [device for device in discovery.disks(sources) if device.token == medium.serial]
    if found[1:]:
        raise ConfigError(
            f"{' and '.join(device.path for device in found)} have the same serial number {medium.serial}",
            hint="unplug the one that is not meant",
        )
    return found[0] if found else None


def flash(
    board: Board,
    medium: BoardMedium,
    image: Path,
    what: str,
    progress: Progress,
    *,
    sources: Sources = discovery.REAL,
) -> bool:
    """Write an image to a board's stick or disk if it is attached here, and connect it to the board.

    The board is leased and without power. Gives whether the medium was there, and is written and read back.
    """
    limit = board.document.power.limit
    if medium.to_host:
        run(medium.to_host, limit, f"command that connects the {what} of board {board.name} to this host")
    device = _await(medium, sources)
    if device is None and medium.to_host:
        raise InfraError(
            f"the {what} of board {board.name} did not appear within {medium.settle:.0f} s: "
            f"no disk has the serial number {medium.serial}",
            hint="`harness flash --list` shows the disks that there are, with their serial numbers",
        )
    if device is not None:
        with opened(image) as source:
            found = session.look(device.path, source.size, force=medium.force, sources=sources)
            guard.check_same(device, found)
            session.confirm(found, medium.serial, lambda: "")
            session.write(found, source, progress, force=medium.force, elsewhere="zero", sources=sources)
    if medium.to_board:
        run(medium.to_board, limit, f"command that connects the {what} of board {board.name} to the board")
    return device is not None


def _await(medium: BoardMedium, sources: Sources) -> Device | None:
    deadline = time.monotonic() + (medium.settle if medium.to_host else 0.0)
    while (device := attached(medium, sources)) is None and time.monotonic() < deadline:
        time.sleep(_LOOK)
    return device
