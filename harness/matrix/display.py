"""Shows a matrix in the terminal: cells that run, cells that ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from harness.core.outcome import Outcome
from harness.report.text import LiveLines, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from harness.matrix.cluster import ClusterWorkers
    from harness.matrix.local import LocalWorkers
    from harness.matrix.queue import Job, Result
    from harness.matrix.session import Planned

_LETTERS = {Outcome.PASS: "✓", Outcome.INFRA: "!", Outcome.INTERRUPTED: "!"}


class MatrixDisplay(LiveLines):
    """Shows a matrix while it runs. An `Audience`."""

    def __init__(
        self, console: Console, workers: LocalWorkers | ClusterWorkers, total: int, done: int = 0
    ) -> None:
        super().__init__(console)
        self._workers = workers
        self._total = total
        self._done = done

    def began(self, job: Job) -> None:
        """A cell's run began."""
        if not self.is_live:
            again = f" (attempt {job.attempt})" if job.attempt > 1 else ""
            self.say(Text(f"▸ {job.cell.name}{again}", "dim"))

    def ended(self, job: Job, result: Result, *, again: bool) -> None:
        """It ended; `again` when there will be another attempt."""
        if not again:
            self._done += 1
        line = Text.assemble(
            _outcome(job, result), f"  {job.cell.name}  ", (f"{result.seconds:.1f} s", "dim")
        )
        line.append(f"  [{self._done}/{self._total}]", "dim")
        if again:
            line.append("  the host failed; it is run once more", "yellow")
        if result.reason:
            line.append(f"\n    {result.reason}")
        self.say(line)

    def moment(self) -> None:
        """Some time went by."""
        if not self.is_live:
            return
        going = Table(box=None, pad_edge=False, show_header=False)
        now = time.monotonic()
        for child in self._workers.running:
            estimate = child.job.estimate
            passed = f"{now - child.began:.0f} s"
            times = f"{passed} of about {estimate:.0f} s" if estimate else passed
            going.add_row("▸", Text(child.job.cell.name), Text(times, "dim"), Text(child.says(), "dim"))
        self.show(going)


def plan_table(planned: Planned) -> Table:
    """The cells of a plan, in the order in which they would begin."""
    cells = table("cell", ">about s", ">memory", "may fail, because")
    for cell in sorted(planned.cells, key=lambda cell: -planned.seconds[cell.name]):
        seconds = planned.seconds[cell.name]
        mark = "" if cell.name in planned.known else " ?"
        cells.add_row(
            Text(cell.name),
            f"{seconds:.0f}{mark}" if seconds else "?",
            f"{cell.memory >> 20}M" if cell.memory else "",
            Text(cell.allowed),
        )
    return cells


def result_table(jobs: Iterable[Job]) -> Table:
    """All cells of a matrix, and what came of them."""
    cells = table("", "cell", ">seconds", "run", "why")
    for job in jobs:
        result = job.result
        if result is None:
            cells.add_row(Text("·  not run", "dim"), Text(job.cell.name), "", "", "")
            continue
        why = result.reason
        if result.outcome != Outcome.PASS and job.cell.allowed:
            why = f"{why} (may fail: {job.cell.allowed})"
        elif result.outcome == Outcome.PASS and job.cell.allowed:
            why = f"it passed, and may stop being allowed to fail: {job.cell.allowed}"
        cells.add_row(
            _outcome(job, result), Text(job.cell.name), f"{result.seconds:.1f}", Text(result.run), Text(why)
        )
    return cells


def _outcome(job: Job, result: Result) -> Text:
    letter = _LETTERS.get(result.outcome, "✗")
    if result.outcome == Outcome.PASS:
        passed = job.attempt > 1
        return Text(
            f"{'~' if passed else letter}  PASS{', flaky' if passed else ''}", "yellow" if passed else "green"
        )
    return Text(f"{letter}  {result.outcome}", "yellow" if job.cell.allowed else "red")
