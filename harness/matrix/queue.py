"""The queue of a matrix, in SQLite.

It outlives the process that works it off: `--resume` finds there which cells were running.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import msgspec

from harness.core.errors import ConfigError, InfraError
from harness.core.outcome import Outcome
from harness.matrix.cells import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from harness.record.history import PastRun

_VERSION = 1
_SCHEMA = """
CREATE TABLE matrix (id TEXT PRIMARY KEY, name TEXT NOT NULL, started TEXT NOT NULL, ended TEXT NOT NULL);
CREATE TABLE job (
    matrix TEXT NOT NULL, position INTEGER NOT NULL,
    name TEXT NOT NULL, cell TEXT NOT NULL,      -- as JSON
    estimate REAL,                               -- seconds, if known
    state TEXT NOT NULL DEFAULT 'waiting',       -- waiting, running, done
    attempt INTEGER NOT NULL DEFAULT 0,          -- that is going on or was the last, from 1
    outcome TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', run TEXT NOT NULL DEFAULT '',
    seconds REAL NOT NULL DEFAULT 0, flaky INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (matrix, position)
) WITHOUT ROWID;
"""


class Result(msgspec.Struct, frozen=True):
    """What came of a cell's run."""

    outcome: Outcome  # how it ended
    reason: str = ""  # why, in one sentence; "" for PASS
    run: str = ""  # id of the record; "" if there is none
    seconds: float = 0.0  # host seconds that it took

    @classmethod
    def recorded(cls, run: PastRun) -> Self:
        """What came of a run that has ended, by its record."""
        outcome = Outcome(run.outcome)
        return cls(outcome, "" if outcome == Outcome.PASS else run.reason, run.id, run.seconds)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A cell in the queue."""

    matrix: str  # the matrix that it belongs to
    position: int  # its place in the file's order
    cell: Cell  # what is run
    estimate: float | None  # how long it probably takes, in seconds; None where nothing is known
    state: str  # "waiting", "running" or "done"
    attempt: int  # the attempt that is going on or was the last, from 1; 0 before the first
    result: Result | None  # what came of it; None before it is done
    flaky: bool  # whether it passed, but not at once

    @property
    def ending(self) -> str:
        """How it ended, in a word or two."""
        return f"{self.outcome or 'not run'}{', flaky' if self.flaky else ''}"

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, if it has."""
        return self.result.outcome if self.result else None


class Queue:
    """The queue of all matrices with one name. A context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        if version > _VERSION:
            self._connection.close()
            raise ConfigError(
                f"{path} was written by a newer version of the harness (format {version}, ours {_VERSION})",
                hint="update the harness, or give the matrix other records with --runs DIR",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def begin(self, name: str, cells: Iterable[Cell], estimates: Mapping[str, float]) -> str:
        """Let all cells wait, and return the id of the new matrix."""
        started = datetime.now(UTC)
        matrix = f"{name}-{started:%Y%m%d-%H%M%S}-{os.urandom(2).hex()}"
        rows = [
            (matrix, position, cell.name, msgspec.json.encode(cell).decode(), estimates.get(cell.name))
            for position, cell in enumerate(cells)
        ]
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "INSERT INTO matrix VALUES (?, ?, ?, '')",
                (matrix, name, started.isoformat(timespec="seconds")),
            )
            self._connection.executemany(
                "INSERT INTO job (matrix, position, name, cell, estimate) VALUES (?, ?, ?, ?, ?)", rows
            )
            self._connection.execute("COMMIT")
        return matrix

    def last(self) -> str | None:
        """The newest matrix; None if there was none."""
        rows = self._rows("SELECT id FROM matrix ORDER BY started DESC, id DESC LIMIT 1")
        return str(rows[0][0]) if rows else None

    def ended(self) -> list[str]:
        """The matrices that were worked off, the newest first."""
        rows = self._rows("SELECT id FROM matrix WHERE ended <> '' ORDER BY started DESC, id DESC")
        return [str(row[0]) for row in rows]

    def jobs(self, matrix: str) -> list[Job]:
        """All cells of a matrix, in the file's order."""
        query = """SELECT position, cell, estimate, state, attempt, outcome, reason, run, seconds, flaky
                   FROM job WHERE matrix = ? ORDER BY position"""
        return [
            Job(
                matrix=matrix,
                position=row[0],
                cell=msgspec.json.decode(row[1], type=Cell),
                estimate=row[2],
                state=row[3],
                attempt=row[4],
                result=Result(Outcome(row[5]), *row[6:9]) if row[5] else None,
                flaky=bool(row[9]),
            )
            for row in self._rows(query, matrix)
        ]

    def start(self, job: Job) -> Job:
        """Note that another attempt at a waiting cell begins."""
        self._change("state = 'running', attempt = attempt + 1", job)
        return msgspec.structs.replace(job, state="running", attempt=job.attempt + 1)

    def give_back(self, job: Job) -> Job:
        """Let a cell wait again whose attempt came to nothing: it does not count."""
        self._change("state = 'waiting', attempt = ?", job, max(0, job.attempt - 1))
        return msgspec.structs.replace(job, state="waiting", attempt=max(0, job.attempt - 1))

    def retry(self, job: Job) -> Job:
        """Let a cell wait for its next attempt."""
        self._change("state = 'waiting'", job)
        return msgspec.structs.replace(job, state="waiting")

    def finish(self, job: Job, result: Result) -> Job:
        """Note what came of a cell."""
        flaky = result.outcome == Outcome.PASS and job.attempt > 1
        self._change(
            "state = 'done', attempt = ?, outcome = ?, reason = ?, run = ?, seconds = ?, flaky = ?",
            job,
            job.attempt,
            str(result.outcome),
            result.reason,
            result.run,
            result.seconds,
            flaky,
        )
        return msgspec.structs.replace(job, state="done", result=result, flaky=flaky)

    def end(self, matrix: str) -> None:
        """Note that all of a matrix is done."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._rows("UPDATE matrix SET ended = ? WHERE id = ?", now, matrix)

    def _change(self, what: str, job: Job, *values: object) -> None:
        query = f"UPDATE job SET {what} WHERE matrix = ? AND position = ?"  # noqa: S608 - our own words
        self._rows(query, *values, job.matrix, job.position)

    def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._explained():
            return self._connection.execute(query, parameters).fetchall()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            hint = "free some space, and go on with --resume; or choose another place with --runs DIR"
            if getattr(error, "sqlite_errorcode", 0) in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
                hint = "remove it, and run without --resume; what the cells did is in their records"
            raise InfraError(f"cannot work with the queue {self._path}: {error}", hint=hint) from error
