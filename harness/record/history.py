"""What earlier runs tell: durations, flakes, first bad runs."""

from __future__ import annotations

from contextlib import suppress
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.record import index
from harness.record.reading import read_run
from harness.stages.verdict import StageStatus

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

BISECTIONS = "bisect-"  # how the label `matrix` of their runs begins

_ENOUGH = 5  # the newest runs that count: machines and loads change
_SHOWN = 16  # durations of a cell, the newest
_BARS = "▁▂▃▄▅▆▇█"

# A user's decision to stop, wrong input, and what a person typed say nothing about a cell.
_JUDGED = f"NOT taken_over AND outcome NOT IN ('', '{Outcome.INTERRUPTED}', '{Outcome.CONFIG}')"


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs count; each field is a pattern as in file names (`debian-6.*`), None is any."""

    recipe: str | None = None
    kernel: str | None = None
    machine: str | None = None
    accelerator: str | None = None
    cell: str | None = None
    outcome: str | None = None

    def sql(self) -> tuple[str, list[str]]:
        """The condition, and its parameters."""
        chosen = [(name, value) for name, value in msgspec.structs.asdict(self).items() if value is not None]
        return " AND ".join(["1", *(f"{name} GLOB ?" for name, _ in chosen)]), [value for _, value in chosen]


class CellHistory(msgspec.Struct, frozen=True):
    """The runs of one cell."""

    cell: str  # its name
    runs: int  # how many runs came to a verdict that says something about it
    passed: int  # how many of them passed
    flaky: float  # part of the runs that did not pass although another run of the same inputs did, 0 to 1
    last: str  # outcome of the newest
    last_run: str  # its id
    first_bad: str  # the run since which none passed; "" while the newest passed
    last_good: str  # the newest run that passed; "" if none did
    seconds: float  # median host seconds of the newest runs that passed; 0 if none did
    durations: tuple[float, ...]  # host seconds of those, the newest last


class PastRun(msgspec.Struct, frozen=True):
    """A run in a line of the history; `seconds` of the host."""

    id: str
    cell: str
    state: str
    outcome: str
    stage: str
    seconds: float
    reason: str


def estimates(runs: Path, recipe: str, kernel: str, machine: str = "qemu") -> dict[str, float]:
    """Host seconds per stage: the median of the last good runs of the same kind; empty if there are none."""
    kind = "recipe = ? AND kernel = ? AND machine = ?"
    try:
        with index.opened(runs) as connection:
            return stage_seconds(connection, kind, (recipe, kernel, machine), _ENOUGH)
    except ConfigError:  # a newer index: an estimate is not worth ending a run for
        return {}


def stage_seconds(
    connection: sqlite3.Connection, condition: str, parameters: Sequence[str], limit: int
) -> dict[str, float]:
    """Median host seconds of each stage in the newest good runs of which a condition holds, in order."""
    # What passed there, and not in a run that it resumed.
    query = f"""
        SELECT name, wall FROM stage WHERE status = '{StageStatus.PASSED}' AND run IN (
            SELECT id FROM run WHERE {condition} AND outcome = 'PASS' AND NOT taken_over
            ORDER BY id DESC LIMIT ?) ORDER BY position"""  # noqa: S608 - conditions of our own
    found: dict[str, list[float]] = {}
    for name, wall in connection.execute(query, (*parameters, limit)):
        found.setdefault(name, []).append(wall)
    return {stage: median(walls) for stage, walls in found.items()}


def package_estimates(runs: Path, recipe: str) -> dict[str, float]:
    """Host seconds per package, by name and occurrence: the median of the last runs that built it."""
    query = "SELECT id FROM run WHERE recipe = ? AND NOT taken_over ORDER BY id DESC LIMIT ?"
    found: dict[str, list[float]] = {}
    try:
        with index.opened(runs) as connection:
            names = [row[0] for row in connection.execute(query, (recipe, _ENOUGH))]
    except ConfigError:  # a newer index: an estimate is not worth ending a run for
        return {}
    for name in names:
        with suppress(ConfigError):
            for package in read_run(runs / name).document.packages:
                if package.done:
                    found.setdefault(package.title, []).append(package.seconds)
    return {title: median(seconds) for title, seconds in found.items()}


def cell_seconds(runs: Path) -> dict[str, float]:
    """Host seconds that a run of each cell took: the median of its last good runs."""
    with index.opened(runs) as connection:
        names = connection.execute(
            "SELECT DISTINCT cell FROM run WHERE outcome = 'PASS' AND NOT taken_over"
        ).fetchall()
        return {cell: median(_durations(connection, cell)[-_ENOUGH:]) for (cell,) in names}


def cells(runs: Path, wanted: Filter) -> list[CellHistory]:
    """The history of each cell that has runs which pass the filter, by name."""
    where, parameters = wanted.sql()
    with index.opened(runs) as connection:
        counts = connection.execute(
            f"""SELECT cell, sum(n), sum(good), sum(iif(good > 0, n - good, 0)), sum(iif(good > 0, n, 0)),
                       max(last), max(last_good)
                FROM (SELECT cell, count(*) AS n, sum(outcome = 'PASS') AS good, max(id) AS last,
                             max(iif(outcome = 'PASS', id, '')) AS last_good
                      FROM run WHERE {_JUDGED} AND {where} GROUP BY cell, inputs)
                GROUP BY cell ORDER BY cell""",  # noqa: S608 - conditions of our own; values are parameters
            parameters,
        )
        return [
            CellHistory(
                cell=cell,
                runs=runs_of_it,
                passed=good,
                flaky=bad_beside_good / comparable if comparable else 0.0,
                last=_one(connection, "SELECT outcome FROM run WHERE id = ?", (last,)),
                last_run=last,
                first_bad=_one(
                    connection,
                    f"SELECT min(id) FROM run WHERE cell = ? AND id > ? AND {_JUDGED}",  # noqa: S608
                    (cell, last_good),
                ),
                last_good=last_good,
                seconds=median(durations[-_ENOUGH:]) if durations else 0.0,
                durations=durations,
            )
            for cell, runs_of_it, good, bad_beside_good, comparable, last, last_good in counts.fetchall()
            for durations in [_durations(connection, cell)]
        ]


def newest(runs: Path, wanted: Filter, limit: int) -> list[PastRun]:
    """The newest runs that pass the filter, the newest last."""
    where, parameters = wanted.sql()
    with index.opened(runs) as connection:
        rows = connection.execute(
            f"""SELECT id, cell, state, outcome, stage, seconds, reason FROM run
                WHERE {where} ORDER BY id DESC LIMIT ?""",  # noqa: S608
            (*parameters, limit),
        )
        return [PastRun(*row) for row in rows][::-1]


def runs_of_matrix(runs: Path, matrix: str) -> dict[tuple[str, int], PastRun]:
    """The runs of a matrix, by cell and attempt; of several, the newest."""
    query = """
        SELECT attempt, id, cell, state, outcome, stage, seconds, reason FROM run
        WHERE matrix = ? AND matrix <> '' ORDER BY id"""
    with index.opened(runs) as connection:
        rows = connection.execute(query, (matrix,))
        return {(row[2], row[0]): PastRun(*row[1:]) for row in rows}


def sparkline(values: Iterable[float]) -> str:
    """Numbers as bars in one line; from zero, so that equal heights mean equal durations."""
    numbers = list(values)
    top = max(numbers, default=0.0)
    steps = len(_BARS) - 1
    return "".join(_BARS[round(number / top * steps) if top > 0 else 0] for number in numbers)


def _durations(connection: sqlite3.Connection, cell: str) -> tuple[float, ...]:
    query = """
        SELECT seconds FROM run WHERE cell = ? AND outcome = 'PASS' AND NOT taken_over
        ORDER BY id DESC LIMIT ?"""
    return tuple(row[0] for row in connection.execute(query, (cell, _SHOWN)))[::-1]


def _one(connection: sqlite3.Connection, query: str, parameters: tuple[str, ...]) -> str:
    row = connection.execute(query, parameters).fetchone()
    return row[0] or "" if row else ""
