"""Sends what cells boot to workers with stores of their own.

A task that lacks something says so and ends; the controller sends it to the task's worker, and submits the
task again. So nothing is kept in the memory of the cluster, and a worker that came late is no special case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from harness.core import paths
from harness.core.errors import InfraError
from harness.store import Store, transfer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Cargo(msgspec.Struct, frozen=True):
    """What a cell needs that workers may lack."""

    names: tuple[str, ...]  # entries of the store, such as "initramfs/0a1b…"
    lock: Path  # file with the packages that they are of, in a directory that all hosts share


class Lacking(msgspec.Struct, frozen=True):
    """What a task answers that cannot begin."""

    worker: str  # address of the worker that lacks something
    names: tuple[str, ...]  # entries of the store that it lacks
    why: str = ""  # what was wrong with those that came, if any


def send(client: Any, store: Store, lacking: Lacking) -> None:
    """Send a worker what it lacks. If it dies meanwhile, or cannot keep it, its next task finds that out."""
    for name in lacking.names:
        path, label = transfer.pack(store, name)
        try:
            for place, piece in transfer.pieces(path):
                client.run(_put, name, place, piece, workers=[lacking.worker])
            client.run(_put_label, name, label, workers=[lacking.worker])
        except (OSError, KeyError, TimeoutError):  # those of the worker come as what they were there
            return


def unload(worker: str, names: Sequence[str]) -> Lacking | None:
    """On a worker: take what has come into its own store; None when all is there."""
    store = _own_store()
    missing, why = [], ""
    for name in names:
        try:
            there = transfer.accept(store, name)
        except InfraError as error:
            there, why = False, error.message
        if not there:
            missing.append(name)
    return Lacking(worker, tuple(missing), why) if missing else None


def _put(name: str, place: int, piece: bytes) -> None:
    transfer.put(_own_store(), name, place, piece)


def _put_label(name: str, label: transfer.Label) -> None:
    transfer.put_label(_own_store(), name, label)


def _own_store() -> Store:
    """The store of the process that asks: on a worker, that of its host."""
    return Store(paths.cache_root())
