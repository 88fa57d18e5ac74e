"""Removes records that take more space than they may."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import InfraError, explaining
from harness.core.files import remove
from harness.core.outcome import Outcome
from harness.record import index
from harness.record.history import BISECTIONS
from harness.record.reading import RunState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = 512  # bytes; the unit of st_blocks


class Pruned(msgspec.Struct, frozen=True):
    """What was, or would be, removed."""

    gone: tuple[str, ...]  # ids of the records, in the order in which they go
    freed: int  # bytes on disk that they take
    kept: int  # bytes on disk that the others take


def prune(runs: Path, quota: int, *, dry: bool = False) -> Pruned:
    """Remove records until the others take no more than `quota` bytes of disk space, or none may go.

    The oldest that passed go first, then the oldest of the others. What goes on is kept, and so are the
    newest run and the newest good run of each cell: what comes next is compared with them. With runs of
    bisections nothing is.
    """
    order, others = _in_order(runs)
    sizes = {
        name: sum(entry.stat(follow_symlinks=False).st_blocks for entry in _entries(runs / name)) * _BLOCK
        for name in (*order, *others)
    }
    left = sum(sizes.values())
    gone: list[str] = []
    for name in order:
        if left <= quota:
            break
        if not dry:
            hint = "look at its owner and permissions"
            with explaining(InfraError, f"cannot remove {runs / name}", hint):
                remove(runs / name)
        gone.append(name)
        left -= sizes[name]
    return Pruned(tuple(gone), sum(sizes[name] for name in gone), left)


def _in_order(runs: Path) -> tuple[list[str], list[str]]:
    """Records that may go, the first one first, and those that may not."""
    passed, others, kept = [], [], []
    seen: set[str] = set()
    good: set[str] = set()
    with index.opened(runs) as connection:
        query = "SELECT id, cell, outcome, state, matrix FROM run ORDER BY id DESC"
        rows = connection.execute(query).fetchall()
    for name, cell, outcome, state, matrix in rows:
        newest, newest_good = cell not in seen, outcome == Outcome.PASS and cell not in good
        seen.add(cell)
        if newest_good:
            good.add(cell)
        compared = (newest or newest_good) and not matrix.startswith(BISECTIONS)
        if state == RunState.RUNNING or compared:
            kept.append(name)
        elif outcome == Outcome.PASS:
            passed.append(name)
        else:
            others.append(name)
    return [*reversed(passed), *reversed(others)], kept


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(directory / entry.name)
