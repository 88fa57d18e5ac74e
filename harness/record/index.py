"""The index of run records, in SQLite.

The records in `runs/` stay the truth. The index lies in `runs/.index/history.db`, in a directory of its
own, so that the time stamp of `runs/` changes with the records only. A run is written there when it has
ended; the next query takes in what is missing. What cannot be written costs time and no records: without a
disk to write to the index is made in memory.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.machine.kinds.options import TAKES
from harness.machine.protocol import MachineRecord
from harness.record.reading import Reading, RunState, read_run
from harness.store.locks import held

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.record.record import RunDocument

PLACE = Path(".index", "history.db")

_VERSION = 2
_PATIENCE = 10.0  # seconds to wait for another writer
_BATCH = 500  # records per transaction, so that others do not wait long
_RECENT = 5  # seconds; time stamps are coarse, so what changed so recently is looked at again

_SCHEMA = """
CREATE TABLE run (
    id TEXT PRIMARY KEY,
    recipe TEXT NOT NULL, kernel TEXT NOT NULL, machine TEXT NOT NULL, accelerator TEXT NOT NULL,
    memory INTEGER NOT NULL,          -- bytes; 0 where the machine never came up
    cell TEXT NOT NULL,               -- all of these in one name
    inputs TEXT NOT NULL,             -- hash of all that went in: equal inputs should end equally
    state TEXT NOT NULL, outcome TEXT NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL,
    seconds REAL NOT NULL,            -- host seconds of all stages
    matrix TEXT NOT NULL,             -- id of the matrix that ran it; "" for a run by hand
    attempt INTEGER NOT NULL,         -- from 1; 0 for a run by hand
    taken_over INTEGER NOT NULL       -- whether a person typed: neither its end nor its length is the cell's
) WITHOUT ROWID;
CREATE INDEX run_of_cell ON run (cell, outcome, inputs, taken_over, seconds);
CREATE INDEX run_in_time ON run (cell, id, outcome, taken_over, seconds);
CREATE INDEX run_of_kind ON run (recipe, kernel, outcome, taken_over);
CREATE INDEX run_of_matrix ON run (matrix, cell) WHERE matrix <> '';
CREATE INDEX run_by_state ON run (state) WHERE state = 'running';
CREATE TABLE stage (
    run TEXT NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL,
    wall REAL NOT NULL, cpu REAL NOT NULL,
    PRIMARY KEY (run, position)
) WITHOUT ROWID;
CREATE TABLE unreadable (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE seen (runs INTEGER NOT NULL);  -- time stamp of the directory when all in it was known, in ns
"""


@contextmanager
def opened(runs: Path) -> Iterator[sqlite3.Connection]:
    """The index of a directory of records, with all of them in it."""
    connection = _connected(runs)
    try:
        yield connection
    finally:
        connection.close()


def remember(directory: Path) -> None:
    """Take a record into the index beside it; what keeps us from it is no harm, as the record is there."""
    with suppress(ConfigError, OSError, sqlite3.Error):
        connection = _on_disk(directory.parent)
        try:
            _take(connection, [directory])
        finally:
            connection.close()


def rebuild(runs: Path) -> int:
    """Make the index anew from the records, and return how many it has."""
    with suppress(OSError):
        _forget(runs / PLACE)
    with opened(runs) as connection:
        count: int = connection.execute("SELECT count(*) FROM run").fetchone()[0]
        return count


def cell_name(
    *, recipe: str, kernel: str, machine: str, accelerator: str, memory: int, medium: str, firmware: str
) -> str:
    """One name for what is run on what, such as "relay/debian-6.1-i686/qemu-tcg/1024M".

    Args:
        recipe: Its name.
        kernel: The seed kernel, by name or path; "" where the machine has none of its own.
        machine: Its kind; a board with its name, as "board:NAME".
        accelerator: "kvm", "tcg", "auto" where it is not known yet, or "" where there is none.
        memory: Bytes; 0 where it is not known, or not ours to choose.
        medium: What is booted; "direct" is not mentioned.
        firmware: What runs before; "bios" is not mentioned.
    """
    kind = f"{machine}-{accelerator}" if accelerator else machine
    size = f"{memory >> 20}M" if memory else ""
    others = (medium if medium != "direct" else "", firmware if firmware != "bios" else "")
    return "/".join(filter(None, (recipe, Path(kernel).name, kind, size, *others)))


def _connected(runs: Path) -> sqlite3.Connection:
    if runs.is_dir():
        for attempt in (1, 2):
            try:
                connection = _on_disk(runs)
                try:
                    _sync(connection, runs)
                except BaseException:
                    connection.close()
                    raise
            except (OSError, sqlite3.OperationalError):
                break  # a full disk, or one that cannot be written to
            except sqlite3.DatabaseError:
                if attempt == 2:
                    break
                _forget(runs / PLACE)  # damaged; it can be made again
            else:
                return connection
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _prepare(connection, runs / PLACE)
    if runs.is_dir():
        _sync(connection, runs)
    return connection


def _on_disk(runs: Path) -> sqlite3.Connection:
    path = runs / PLACE
    path.parent.mkdir(exist_ok=True)
    with held(path.with_name("lock")):  # who makes it, or changes its mode, is alone
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > _VERSION:
        raise ConfigError(
            f"{path} was written by a newer version of the harness (format {version}, ours is {_VERSION})",
            hint="update the harness; or remove the file, which is made again from the records",
        )
    if version < _VERSION:  # nothing of an older one is kept: the records have it all
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        dropped = "".join(f"DROP TABLE {name};" for (name,) in tables)
        connection.executescript(
            f"BEGIN IMMEDIATE; {dropped} {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;"
        )


def _forget(path: Path) -> None:
    with held(path.with_name("lock")):
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(connection: sqlite3.Connection, runs: Path) -> None:
    """Take in what came since the last time, and what went on; drop what is gone."""
    stamp = runs.stat().st_mtime_ns
    seen = connection.execute("SELECT runs FROM seen").fetchone()
    going_on = {row[0] for row in connection.execute("SELECT id FROM run WHERE state = 'running'")}
    if seen == (stamp,):
        _take(connection, (runs / name for name in sorted(going_on)))
        return
    there = {name for name in os.listdir(runs) if name[0] != "."}  # noqa: PTH208 - 10 times as fast
    known = {row[0] for row in connection.execute("SELECT id FROM run UNION ALL SELECT id FROM unreadable")}
    complete = _take(connection, (runs / name for name in sorted(there - known | going_on)))
    if gone := [(name,) for name in known - there]:
        with _transaction(connection):
            for table, key in (("run", "id"), ("stage", "run"), ("unreadable", "id")):
                connection.executemany(f"DELETE FROM {table} WHERE {key} = ?", gone)  # noqa: S608
    if complete and time.time_ns() - stamp > _RECENT * 1_000_000_000:
        with _transaction(connection):
            connection.execute("DELETE FROM seen")
            connection.execute("INSERT INTO seen VALUES (?)", (stamp,))


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _take(connection: sqlite3.Connection, directories: Iterable[Path]) -> bool:
    """Read records into the index; whether none was still without its first `run.json`."""
    complete = True
    remaining = iter(directories)
    while some := list(islice(remaining, _BATCH)):
        readings: list[Reading] = []
        unreadable: list[tuple[str]] = []
        for directory in some:
            try:
                readings.append(read_run(directory))
            except ConfigError:
                if (directory / "run.json").exists() or not directory.is_dir():
                    unreadable.append((directory.name,))
                else:
                    complete = False
        if not readings and not unreadable:
            continue
        with _transaction(connection):
            connection.executemany("INSERT OR REPLACE INTO unreadable VALUES (?)", unreadable)
            connection.executemany(
                "DELETE FROM stage WHERE run = ?", ((reading.directory.name,) for reading in readings)
            )
            marks = ", ".join("?" * 16)
            connection.executemany(f"INSERT OR REPLACE INTO run VALUES ({marks})", map(_row, readings))  # noqa: S608
            rows = chain.from_iterable(map(_stages, readings))
            connection.executemany("INSERT OR REPLACE INTO stage VALUES (?, ?, ?, ?, ?, ?)", rows)
    return complete


def _row(reading: Reading) -> tuple[str | int | float, ...]:
    document, machine = reading.document, reading.document.machine
    seed = next((kernel.name for kernel in document.kernels if kernel.role == "seed"), "")
    verdict = document.verdict
    kind, accelerator, memory = (
        (machine.kind, machine.accelerator, machine.memory) if machine else ("", "", 0)
    )
    return (
        reading.directory.name,
        document.recipe,
        seed,
        kind,
        accelerator,
        memory,
        document.labels.get("cell") or _cell(document.recipe, seed, machine),
        _inputs(document),
        str(reading.state),
        str(verdict.outcome) if verdict else "",
        verdict.stage if verdict else _last_stage(reading),
        verdict.reason if verdict else "",
        sum(stage.wall for stage in document.stages),
        document.labels.get("matrix", ""),
        int(attempt) if (attempt := document.labels.get("attempt", "")).isdecimal() else 0,
        document.taken_over is not None,
    )


def _cell(recipe: str, seed: str, machine: MachineRecord | None) -> str:
    if machine is None:
        machine = MachineRecord("", "", "", 0, "", "")
    takes = TAKES.get(machine.kind, ())  # what a run cannot choose names no cell
    return cell_name(
        recipe=recipe,
        kernel=seed,
        machine=f"{machine.kind}:{machine.board}" if machine.board else machine.kind,
        accelerator=machine.accelerator if "--accelerator" in takes else "",
        memory=machine.memory if "--memory" in takes else 0,
        medium=machine.medium if "--medium" in takes else "direct",
        firmware=machine.firmware if "--firmware" in takes else "bios",
    )


def _last_stage(reading: Reading) -> str:
    """Where a run without a verdict is or was; "" while it goes on, and where nothing tells."""
    if reading.state == RunState.KILLED:
        with suppress(ConfigError, msgspec.DecodeError):
            return reading.stage
    return ""


def _inputs(document: RunDocument) -> str:
    """A hash of what went in: recipe, plan, kernels, images, and how the machine was asked to boot them."""
    parts = [document.recipe_sha256, document.plan_sha256]
    if document.machine:
        parts += [document.machine.command_line, document.machine.cpu, document.machine.qemu]
    parts += sorted(f"{kernel.role} {kernel.sha256}" for kernel in document.kernels)
    parts += sorted(f"{image.name} {image.digest or image.sha256}" for image in document.images)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _stages(reading: Reading) -> Iterator[tuple[str | int | float, ...]]:
    for position, stage in enumerate(reading.document.stages):
        yield reading.directory.name, position, stage.name, str(stage.status), stage.wall, stage.cpu
