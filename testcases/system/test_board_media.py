"""A board's stick is written when it is attached here, and no other disk ever is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.core.errors import ConfigError, InfraError
from harness.core.progress import Quiet
from harness.flash import session
from harness.machine.board import media
from harness.machine.board.document import load_board
from testcases.support.disks import World
from testcases.support.ptys import describe

if TYPE_CHECKING:
    from pathlib import Path

    from harness.flash.discovery import Sources
    from harness.machine.board.document import Board

SERIAL = "001A92053B6A"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "stick.img"
    path.write_bytes(b"\xfa" * 510 + b"\x55\xaa" + b"hex0" * 4096)
    return path


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the disks that would have been written to."""
    paths: list[str] = []

    def write(device: Any, *_: object, **__: object) -> None:
        paths.append(device.path)

    monkeypatch.setattr(session, "write", write)
    return paths


def board_of(tmp_path: Path, **medium: str) -> Board:
    keys = {"serial": f'"{SERIAL}"', "settle": "0.3", **medium}
    text = "".join(f"{key} = {value}\n" for key, value in keys.items())
    path = describe(tmp_path / "lab", "/dev/ttyS0")
    path.write_text(f"{path.read_text()}\n[medium]\n{text}")
    return load_board(path)


def flash(board: Board, image: Path, sources: Sources) -> bool:
    assert board.document.medium
    return media.flash(board, board.document.medium, image, "medium", Quiet(), sources=sources)


def test_the_stick_is_found_by_its_serial_number(
    world: World, tmp_path: Path, image: Path, written: list[str]
) -> None:
    world.stick()
    order = tmp_path / "order"
    words = {f"to-{where}": f'["sh", "-c", "echo {where} >>{order}"]' for where in ("host", "board")}
    assert flash(board_of(tmp_path, **words), image, world.sources)
    assert written == ["/dev/sdb"]
    assert order.read_text().split() == ["host", "board"]


def test_without_it_nothing_is_written(world: World, tmp_path: Path, image: Path, written: list[str]) -> None:
    world.stick(serial="ANOTHER-ONE")
    assert not flash(board_of(tmp_path), image, world.sources)
    with pytest.raises(InfraError, match=f"did not appear.*{SERIAL}"):
        flash(board_of(tmp_path, **{"to-host": '["true"]'}), image, world.sources)
    assert written == []


def test_a_stick_in_use_is_refused(world: World, tmp_path: Path, image: Path, written: list[str]) -> None:
    world.stick()
    world.mounts.append("30 1 8:16 / /mnt rw,relatime - vfat /dev/sdb rw")
    with pytest.raises(ConfigError, match="mounted at /mnt"):
        flash(board_of(tmp_path), image, world.sources)
    assert written == []


def test_a_multiplexer_that_fails_is_said(
    world: World, tmp_path: Path, image: Path, written: list[str]
) -> None:
    world.stick()
    with pytest.raises(InfraError, match="the medium of board bench to this host failed"):
        flash(board_of(tmp_path, **{"to-host": '["false"]'}), image, world.sources)
    assert written == []
