"""Entries of a store on their way to another one, whole and damaged."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import InfraError
from harness.store import Store, seal, transfer
from harness.store.uses import watched

if TYPE_CHECKING:
    from pathlib import Path

INPUTS = {"of": "a test"}
LARGE = os.urandom(2 * transfer.PIECE + 77)


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


def send(here: Store, there: Store, name: str, order: random.Random | None = None) -> None:
    path, label = transfer.pack(here, name)
    pieces = list(transfer.pieces(path))
    if order:
        pieces = order.choices(pieces, k=len(pieces)) + order.sample(pieces, len(pieces))
    for place, piece in pieces:
        transfer.put(there, name, place, piece)
    transfer.put_label(there, name, label)


def test_an_entry_arrives_as_it_was_in_any_order(here: Store, there: Store, name: str) -> None:
    assert not transfer.accept(there, name)
    send(here, there, name, random.Random(1))  # noqa: S311 - the same each time
    assert transfer.accept(there, name)
    entry = there.place("initramfs", INPUTS)
    assert seal.damage(entry) == []
    assert there.has("initramfs", INPUTS)
    assert (entry / "large").read_bytes() == LARGE
    assert (entry / "below/deeper/program").stat().st_mode & 0o777 == 0o755
    assert (entry / "below/deeper/the same").stat().st_nlink == 2
    assert (entry / "below/deeper/link").readlink().as_posix() == "/nowhere"
    assert (entry / "empty").is_dir()
    assert list((there.cache / "incoming").iterdir()) == []


def test_what_is_not_complete_is_waited_for(here: Store, there: Store, name: str) -> None:
    path, _ = transfer.pack(here, name)
    for place, piece in transfer.pieces(path):
        transfer.put(there, name, place, piece)
    assert not transfer.accept(there, name)
    send(here, there, name)
    assert transfer.accept(there, name)


@pytest.mark.parametrize("place", [0, transfer.PIECE + 1, 10 * transfer.PIECE])
def test_a_damaged_parcel_is_thrown_away_and_sent_again(
    here: Store, there: Store, name: str, place: int
) -> None:
    send(here, there, name)
    transfer.put(there, name, place, b"damage")
    with pytest.raises(InfraError, match=r"arrived with .* not .* bytes"):
        transfer.accept(there, name)
    assert not transfer.accept(there, name)
    assert list((there.cache / "incoming").iterdir()) == []
    send(here, there, name)
    assert transfer.accept(there, name)


def test_an_entry_that_is_not_as_it_was_sealed_does_not_get_into_the_store(
    here: Store, there: Store, name: str
) -> None:
    program = here.place("initramfs", INPUTS) / "below/deeper/program"
    program.write_text("#!/bin/no\n")
    send(here, there, name)
    with pytest.raises(InfraError, match=r"came damaged from another store: below/deeper/program"):
        transfer.accept(there, name)
    assert not there.has("initramfs", INPUTS)
    assert list((there.entries / "initramfs").iterdir()) == []


def test_an_entry_that_is_gone_is_said(here: Store) -> None:
    with pytest.raises(InfraError, match="vanished"):
        transfer.pack(here, "initramfs/0123")


def test_holes_of_a_disk_are_neither_sent_nor_filled(here: Store, there: Store) -> None:
    size = 8 << 30

    def build(directory: Path) -> None:
        with (directory / "disk.img").open("wb") as file:
            file.truncate(size)
            file.seek(5 << 30)
            file.write(b"content")

    with watched() as names:
        here.get("disk", INPUTS, build)
    [name] = names
    assert transfer.pack(here, name)[0].stat().st_size < 1 << 20
    send(here, there, name)
    assert transfer.accept(there, name)
    entry = there.place("disk", INPUTS)
    assert seal.damage(entry) == []
    status = (entry / "disk.img").stat()
    assert (status.st_size, status.st_blocks * 512 < 1 << 20) == (size, True)
