"""Works off the queue of a matrix.

The most expensive cell begins first, INFRA is tried twice, and a controller that is killed loses nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.matrix.backlog import Backlog, Task
from harness.matrix.queue import Job, Queue, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.record.history import PastRun

_ATTEMPTS = 2  # at most; only INFRA is worth the second
_MOMENT = 1.0  # seconds between looks at what goes on

# What says most against what was tested comes first; INFRA says nothing about it.
_WORST = (
    Outcome.BUG,
    Outcome.FAIL,
    Outcome.PANIC,
    Outcome.HANG,
    Outcome.TIMEOUT,
    Outcome.CONFIG,
    Outcome.INFRA,
    Outcome.INTERRUPTED,
    Outcome.PASS,
)


class Workers(Protocol):
    """Where runs are done."""

    @property
    def free(self) -> int | None:
        """Places that are free now; None while no more runs may begin."""

    def places_for(self, job: Job) -> int:
        """How many places a cell takes."""

    def start(self, job: Job) -> None:
        """Begin a cell's run."""

    def wait(self, timeout: float) -> list[tuple[Job, Result]]:
        """Wait until a run ends, no longer than so many seconds, and return those that have."""


class Audience(Protocol):
    """Told of what happens."""

    def began(self, job: Job) -> None:
        """A cell's run began."""

    def ended(self, job: Job, result: Result, *, again: bool) -> None:
        """It ended; `again` when there will be another attempt."""

    def moment(self) -> None:
        """Some time went by."""


def adopt(queue: Queue, jobs: Iterable[Job], recorded: Mapping[tuple[str, int], PastRun]) -> list[Job]:
    """What a controller that died left: cells that were running wait again, unless they came to an end."""
    settled = []
    for job in jobs:
        if job.state != "running":
            settled.append(job)
            continue
        run = recorded.get((job.cell.name, job.attempt))
        if run is not None and run.outcome and run.outcome != Outcome.INTERRUPTED:
            settled.append(_settle(queue, job, Result.recorded(run)))
        else:
            settled.append(queue.give_back(job))
    return settled


def carry_out(
    queue: Queue,
    jobs: Iterable[Job],
    workers: Workers,
    audience: Audience,
    ready: Callable[[Job], None] = lambda _: None,
) -> None:
    """Run all cells that wait, and note what came of each."""
    backlog: Backlog[Job] = Backlog([])
    for job in jobs:
        if job.state == "waiting":
            try:
                possible = _task(job, workers)  # nothing is built for what no worker can run
                ready(job)
                backlog.add(possible)
            except HarnessError as error:
                _give_up(queue, job, error, audience)
    running: dict[int, Task[Job]] = {}
    while len(backlog) or running:
        while (free := workers.free) is not None:
            task = backlog.take(free, {task.alone for task in running.values()} - {""})
            if task is None:
                break
            job = queue.start(task.what)
            workers.start(job)
            running[job.position] = task
            audience.began(job)
        for job, result in workers.wait(_MOMENT):
            del running[job.position]
            settled = _settle(queue, job, result)
            again = settled.state == "waiting"
            audience.ended(settled, result, again=again)
            if again:
                try:
                    backlog.add(_task(settled, workers))  # the worker that had what it needs may be gone
                except HarnessError as error:
                    _give_up(queue, settled, error, audience)
        audience.moment()


def expected(estimates: Mapping[str, float], cells: Mapping[str, str]) -> dict[str, float]:
    """What each cell probably takes, in seconds: by its own history, else as the longest of its recipe.

    What nothing is known of should begin early: it may be the longest.
    """
    longest: dict[str, float] = {}
    for name, seconds in estimates.items():
        recipe = name.partition("/")[0]
        longest[recipe] = max(longest.get(recipe, 0.0), seconds)
    top = max(longest.values(), default=0.0)
    return {name: estimates.get(name, longest.get(recipe, top)) for name, recipe in cells.items()}


def worst(jobs: Iterable[Job]) -> Outcome:
    """The worst outcome of those cells that may not fail."""
    ends = {job.outcome for job in jobs if job.outcome and not job.cell.allowed}
    return next((outcome for outcome in _WORST if outcome in ends), Outcome.PASS)


def _task(job: Job, workers: Workers) -> Task[Job]:
    return Task(job, job.estimate or 0.0, workers.places_for(job), job.cell.kind.alone)


def _give_up(queue: Queue, job: Job, error: HarnessError, audience: Audience) -> None:
    result = Result(error.outcome, error.message)
    audience.ended(queue.finish(job if job.attempt else queue.start(job), result), result, again=False)


def _settle(queue: Queue, job: Job, result: Result) -> Job:
    if result.outcome == Outcome.INFRA and job.attempt < _ATTEMPTS:
        return queue.retry(job)
    return queue.finish(job, result)
