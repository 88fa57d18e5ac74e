"""Entries of a store on their way to another one, whole and damaged."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import InfraError
from harness.store import Store, seal, transfer
from harness.store.uses import watched

if TYPE_CHECKING:
    from pathlib import Path

INPUTS = {"of": "a test"}
LARGE = os.urandom((8 << 20) + 77)


@pytest.fixture
def here(tmp_path: Path) -> Store:
    return Store(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Store:
    return Store(tmp_path / "there")


@pytest.fixture
def name(here: Store) -> str:
    def build(directory: Path) -> None:
        (directory / "large").write_bytes(LARGE)
        below = directory / "below/deeper"
        below.mkdir(parents=True)
        (below / "program").write_text("#!/bin/sh\n")
        (below / "program").chmod(0o755)
        (below / "read only").write_text("x")
        (below / "read only").chmod(0o444)
        os.link(below / "program", below / "the same")
        (below / "link").symlink_to("/nowhere")
        (directory / "empty").mkdir()

    with watched() as names:
        here.get("initramfs", INPUTS, build)
    [found] = names
    return found


def send(here: Store, there: Store, name: str, place: Path) -> None:
    place.mkdir(exist_ok=True)
    transfer.pack(here, name, place)
    transfer.accept(there, name, place)


def test_an_entry_arrives_as_it_was(here: Store, there: Store, name: str, tmp_path: Path) -> None:
    send(here, there, name, tmp_path / "shared")
    entry = there.place("initramfs", INPUTS)
    assert seal.damage(entry) == []
    assert there.has("initramfs", INPUTS)
    assert (entry / "large").read_bytes() == LARGE
    assert (entry / "below/deeper/program").stat().st_mode & 0o777 == 0o755
    assert (entry / "below/deeper/the same").stat().st_nlink == 2
    assert (entry / "below/deeper/link").readlink().as_posix() == "/nowhere"
    assert (entry / "empty").is_dir()


def test_what_the_store_has_is_not_taken_again(here: Store, there: Store, name: str, tmp_path: Path) -> None:
    send(here, there, name, tmp_path / "shared")
    [archive] = (tmp_path / "shared").iterdir()
    archive.unlink()
    transfer.accept(there, name, tmp_path / "shared")
    with pytest.raises(InfraError, match=r"cannot take .*\.tar into the cache .*No such file"):
        transfer.accept(Store(tmp_path / "another"), name, tmp_path / "shared")


@pytest.mark.parametrize(
    ("cut", "damage", "problem"),
    [
        (len(LARGE) // 2, b"", r"cannot take .*Unexpected EOF in archive$"),
        (len(LARGE) // 2, b"damage", "came damaged from another store: large"),
        (0, b"damage", r"cannot take .*\.tar into the cache"),
    ],
)
def test_a_damaged_archive_does_not_get_into_the_store(
    here: Store, there: Store, name: str, tmp_path: Path, *, cut: int, damage: bytes, problem: str
) -> None:
    transfer.pack(here, name, tmp_path)
    [archive] = tmp_path.glob("*.tar")
    content = archive.read_bytes()
    archive.write_bytes(content[:cut] + damage + (content[cut + len(damage) :] if damage else b""))
    with pytest.raises(InfraError, match=problem):
        transfer.accept(there, name, tmp_path)
    assert not there.has("initramfs", INPUTS)
    archive.unlink()
    send(here, there, name, tmp_path)
    assert there.has("initramfs", INPUTS)


def test_an_entry_that_is_not_as_it_was_sealed_does_not_get_into_the_store(
    here: Store, there: Store, name: str, tmp_path: Path
) -> None:
    program = here.place("initramfs", INPUTS) / "below/deeper/program"
    program.write_text("#!/bin/no\n")
    with pytest.raises(InfraError, match=r"came damaged from another store: below/deeper/program"):
        send(here, there, name, tmp_path / "shared")
    assert not there.has("initramfs", INPUTS)
    assert list((there.entries / "initramfs").iterdir()) == []


def test_an_entry_that_is_gone_is_said(here: Store, tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="vanished"):
        transfer.pack(here, "initramfs/0123", tmp_path)


def test_holes_of_a_disk_are_neither_sent_nor_filled(here: Store, there: Store, tmp_path: Path) -> None:
    size = 8 << 30

    def build(directory: Path) -> None:
        with (directory / "disk.img").open("wb") as file:
            file.truncate(size)
            file.seek(5 << 30)
            file.write(b"content")

    with watched() as names:
        here.get("disk", INPUTS, build)
    [name] = names
    send(here, there, name, tmp_path / "shared")
    [archive] = (tmp_path / "shared").iterdir()
    assert archive.stat().st_size < 1 << 20
    entry = there.place("disk", INPUTS)
    assert seal.damage(entry) == []
    status = (entry / "disk.img").stat()
    assert (status.st_size, status.st_blocks * 512 < 1 << 20) == (size, True)
