"""What the pages tell about all runs, from the index of records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.outcome import Outcome
from harness.record import index
from harness.record.history import CellHistory, Filter, PastRun, cells, stage_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable


_EARLIER = 20  # good runs that a run is compared with

# A letter for each end, so that pages can be read without colours; whether it is good, bad, the host's or
# neither; and what it means.
LETTERS = {
    "PASS": ("P", "good", "passed"),
    "FAIL": ("F", "bad", "failed"),
    "PANIC": ("K", "bad", "kernel panic"),
    "HANG": ("H", "bad", "the guest hung"),
    "TIMEOUT": ("T", "bad", "a budget ran out"),
    "INFRA": ("I", "host", "the host failed"),
    "CONFIG": ("C", "host", "wrong input"),
    "BUG": ("B", "host", "a mistake of the harness"),
    "INTERRUPTED": ("X", "none", "stopped by the user"),
    "killed": ("G", "none", "its harness is gone"),
    "running": ("R", "going", "goes on"),
}


class Run(PastRun, frozen=True):
    """A run in a line of the report."""

    recipe: str
    kernel: str
    taken_over: int  # 0 or 1: SQLite has nothing else
    matrix: str

    @property
    def ending(self) -> str:
        """The outcome, or the state of a run without one."""
        return self.outcome or self.state

    @property
    def letter(self) -> str:
        """The ending as a letter."""
        return LETTERS.get(self.ending, ("?", ""))[0]

    @property
    def tone(self) -> str:
        """Whether that is good, bad, the host's, going on, or none of these."""
        return LETTERS.get(self.ending, ("", "none"))[1]


class Cell(msgspec.Struct, frozen=True):
    """A cell with all its runs, the oldest first; `column` is its name without recipe and kernel."""

    name: str
    recipe: str
    kernel: str
    column: str
    runs: tuple[Run, ...]
    history: CellHistory | None

    @property
    def last(self) -> Run:
        """The newest run, of those with a verdict about the cell if there is one."""
        unjudged = {"", Outcome.INTERRUPTED, Outcome.CONFIG}
        judges = (run for run in reversed(self.runs) if run.outcome not in unjudged and not run.taken_over)
        return next(judges, self.runs[-1])

    @property
    def going(self) -> bool:
        """Whether a run of it goes on."""
        return any(run.state == "running" for run in self.runs)


def all_runs(runs: Path) -> list[Run]:
    """All runs, the oldest first."""
    query = f"SELECT {', '.join(Run.__struct_fields__)} FROM run ORDER BY id"  # noqa: S608 - our own words
    with index.opened(runs) as connection:
        return [Run(*row) for row in connection.execute(query)]


def by_cell(runs: Path, found: Iterable[Run]) -> list[Cell]:
    """Runs by cell, the cells by name."""
    histories = {history.cell: history for history in cells(runs, Filter())}
    grouped: dict[str, list[Run]] = {}
    for run in found:
        grouped.setdefault(run.cell, []).append(run)
    return [
        Cell(
            name,
            those[-1].recipe,
            Path(those[-1].kernel).name,
            _column(those[-1]),
            tuple(those),
            histories.get(name),
        )
        for name, those in sorted(grouped.items())
    ]


def usual_stages(runs: Path, run: Run) -> dict[str, float]:
    """Median host seconds of each stage in good runs of the same cell before this one."""
    with index.opened(runs) as connection:
        return stage_seconds(connection, "cell = ? AND id < ?", (run.cell, run.id), _EARLIER)


def _column(run: Run) -> str:
    rest = run.cell.removeprefix(run.recipe + "/")
    return rest.removeprefix(Path(run.kernel).name + "/") if run.kernel else rest
