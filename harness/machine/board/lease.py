"""Leases of boards: a locked file that names the holder."""

from __future__ import annotations

import getpass
import os
import socket
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError, InfraError
from harness.machine.board import labgrid
from harness.store.locks import held_if_free

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.machine.board.document import Board


class Holder(msgspec.Struct, frozen=True):
    """Who has a board, what for, and since when (UTC)."""

    user: str
    host: str
    pid: int
    purpose: str
    since: str

    def __str__(self) -> str:
        return f"{self.user}@{self.host}, process {self.pid}, since {self.since}: {self.purpose}"


@contextmanager
def leased(board: Board, purpose: str) -> Iterator[None]:
    """Lease a board; every end of this process frees it.

    Raises:
        ConfigError: The lease cannot be written, or labgrid knows no such place.
        InfraError: Another user has the board, or labgrid cannot be reached.
    """
    place = board.document.labgrid
    try:
        board.lease.parent.mkdir(parents=True, exist_ok=True)
        with held_if_free(board.lease) as free:
            if not free:
                raise InfraError(
                    f"board {board.name} is in use by {_read(board) or 'another user'}",
                    hint="wait, or ask them; `harness board list` shows who has which board",
                )
            since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            holder = Holder(getpass.getuser(), socket.gethostname(), os.getpid(), purpose, since)
            # In place: the lock is on this very file.
            board.lease.write_bytes(msgspec.json.encode(holder) + b"\n")
            try:
                with labgrid.acquired(place) if place else nullcontext():
                    yield
            finally:
                board.lease.write_bytes(b"")
    except PermissionError as error:
        hint = "all who share the board need to write to this directory and file"
        raise ConfigError(f"cannot write the lease {error.filename}: {error.strerror}", hint=hint) from error


def holder_of(board: Board) -> Holder | None:
    """The present holder of a board; None if it is free.

    A holder that died leaves the file, and not the lock.
    """
    if not board.lease.exists():
        return None
    try:
        with held_if_free(board.lease) as free:
            return None if free else _read(board)
    except PermissionError:
        return _read(board)


def _read(board: Board) -> Holder | None:
    try:
        return msgspec.json.decode(board.lease.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None
