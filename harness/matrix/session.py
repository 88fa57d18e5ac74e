"""Runs a matrix, or goes on with one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from harness.core import paths
from harness.core.errors import ConfigError, HarnessError, InfraError, Interrupted
from harness.image.build import BuildOptions, build
from harness.machine import accelerator
from harness.matrix.cells import Cell, Matrix, asked, load_matrix, replace_cell
from harness.matrix.cluster import Artifacts, ClusterWorkers
from harness.matrix.controller import Audience, adopt, carry_out, expected
from harness.matrix.local import LocalWorkers, Place, alone, tidied
from harness.matrix.queue import Job, Queue
from harness.matrix.selection import select
from harness.recipe import load_recipe
from harness.record.history import PastRun, cell_seconds, runs_of_matrix
from harness.run.prepare import to_build
from harness.run.request import RunRequest
from harness.store import Store, transfer
from harness.store.uses import watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.core.progress import Progress

    Watching = Callable[[LocalWorkers | ClusterWorkers, int, int], Audience]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a matrix is run."""

    runs: Path  # directory of the records; the queue lies there, too
    cache: Path  # the cache directory
    expression: str = ""  # which cells; "" for all
    jobs: int | None = None  # no more than so many runs at once; None for as many as the host has places for
    resume: bool = False  # whether to go on with the newest matrix of this name
    scheduler: str = ""  # address of a Dask scheduler whose workers do the runs; "" for this host
    send: bool = False  # whether those workers take what they boot from here, into caches of their own


class Change(msgspec.Struct, frozen=True):
    """A cell that ended otherwise than the last time; `before` is "" for a new one."""

    cell: str
    before: str
    now: str
    reason: str


class Planned(msgspec.Struct, frozen=True):
    """What would be run."""

    matrix: Matrix  # the file
    cells: tuple[Cell, ...]  # its cells that are wanted; "auto" has become the accelerator that works here
    seconds: dict[str, float]  # what each of them probably takes
    known: frozenset[str]  # cells with a history of their own


def plan(path: Path, options: Options) -> Planned:
    """Read a matrix, choose its cells, and look up what they probably take."""
    matrix = load_matrix(path, datetime.now(UTC).date())
    cells = matrix.cells
    if any(cell.accelerator == "auto" for cell in cells):
        best = accelerator.choose("auto", Store(options.cache))
        cells = tuple(
            replace_cell(cell, accelerator=str(best)) if cell.accelerator == "auto" else cell
            for cell in cells
        )
    cells = tuple({cell.name: cell for cell in cells}.values())  # "auto" may be what another one says
    if options.expression:
        cells = select(cells, options.expression)
    known = cell_seconds(options.runs)
    names = {cell.name: cell.value("recipe") for cell in cells}
    return Planned(matrix, cells, expected(known, names), frozenset(known.keys() & names.keys()))


def run(path: Path, options: Options, progress: Progress, watching: Watching) -> tuple[str, list[Job]]:
    """Run a matrix, or what is left of one: its id, and all its cells with what came of them."""
    home = options.runs / ".matrix" / path.stem
    hint = "choose another directory with --runs DIR"
    paths.writable_directory(home, "matrix", hint)
    with alone(home, f"the matrix {path.stem}"), Queue(home / "queue.db") as queue:
        if options.resume:
            matrix, jobs = _resumed(queue, path, options)
        else:
            planned = plan(path, options)
            matrix = queue.begin(path.stem, planned.cells, planned.seconds)
            jobs = queue.jobs(matrix)
        logs = home / matrix
        paths.writable_directory(logs, "matrix", hint)
        artifacts = logs / "artifacts"
        shared = Shared(options.cache, options.runs, progress, artifacts if options.send else None)
        with tidied(artifacts), _workers(logs, options, shared) as workers:
            done = sum(job.state == "done" for job in jobs)
            try:
                carry_out(queue, jobs, workers, watching(workers, len(jobs), done), shared.build)
            except Interrupted as error:
                hint = "`harness matrix run` with --resume goes on where it stopped"
                raise Interrupted(f"{matrix}: {error.message}", hint=hint) from error
        queue.end(matrix)
        recorded = runs_of_matrix(options.runs, matrix)
        return matrix, [_with_record(job, recorded) for job in queue.jobs(matrix)]


def _workers(logs: Path, options: Options, shared: Shared) -> LocalWorkers | ClusterWorkers:
    cache = None if options.send else options.cache
    place = Place(runs=options.runs, cache=cache, logs=logs)
    if not options.scheduler:
        return LocalWorkers(place, options.jobs)
    return ClusterWorkers(options.scheduler, place, options.jobs, artifacts=shared.needed)


def changes(path: Path, runs: Path) -> list[Change]:
    """What ended otherwise in the newest finished run of a matrix than in the one before.

    Cells that are new count when they did not pass, cells that are gone do not.
    """
    home = runs / ".matrix" / path.stem
    ended = []
    if home.is_dir():
        with Queue(home / "queue.db") as queue:
            ended = [queue.jobs(matrix) for matrix in queue.ended()[:2]]
    if not ended:
        hint = "run it, or say with --runs DIR where it was run"
        raise ConfigError(f"{path.stem} was never run to its end in {runs}", hint=hint)
    before = {job.cell.name: job.ending for job in ended[1]} if len(ended) > 1 else {}
    found = (
        Change(
            job.cell.name, before.get(job.cell.name, ""), job.ending, job.result.reason if job.result else ""
        )
        for job in ended[0]
    )
    return [change for change in found if change.now != (change.before or "PASS")]


def _with_record(job: Job, recorded: Mapping[tuple[str, int], PastRun]) -> Job:
    """A run that ended with an error does not say where its record is."""
    run = recorded.get((job.cell.name, job.attempt))
    if job.result is None or job.result.run or run is None:
        return job
    return msgspec.structs.replace(job, result=msgspec.structs.replace(job.result, run=run.id))


def _resumed(queue: Queue, path: Path, options: Options) -> tuple[str, list[Job]]:
    if options.expression:
        message = "--resume goes on with the cells that were chosen then, and --select cannot change them"
        raise ConfigError(message, hint="leave one of the two away")
    matrix = queue.last()
    if matrix is None:
        hint = "run it without --resume, or say with --runs DIR where it was run"
        raise ConfigError(f"there is no run of {path.stem} in {options.runs} to go on with", hint=hint)
    return matrix, adopt(queue, queue.jobs(matrix), runs_of_matrix(options.runs, matrix))


class Shared(msgspec.Struct):
    """What several cells boot: built once, before the first of them runs."""

    cache: Path  # the cache directory
    runs: Path  # directory of the records
    progress: Progress  # where building is shown
    # directory for what workers take, with the packages that went in; None where they have the same cache
    artifacts: Path | None = None
    _built: dict[tuple[object, ...], HarnessError | None] = msgspec.field(default_factory=dict)
    _needed: dict[tuple[object, ...], Artifacts] = msgspec.field(default_factory=dict)

    def build(self, job: Job) -> None:
        """Build what a cell boots, unless that was done, or tried, for another one."""
        cell = job.cell
        if cell.checkout:  # its run prepares it: what is equal is built once all the same
            return
        key = _key(cell)
        if key not in self._built:
            self._built[key] = self._try(cell)
        error = self._built[key]
        if error is not None:
            raise error

    def needed(self, job: Job) -> Artifacts | None:
        """What a cell boots, as entries of the store; None where its run builds that."""
        return self._needed.get(_key(job.cell))

    def _try(self, cell: Cell) -> HarnessError | None:
        for last in (False, True):
            try:
                self._build(cell)
            except InfraError as error:
                if last:
                    return error
            except HarnessError as error:
                return error
            except Exception as error:
                what = f"a mistake of ours: {type(error).__name__}: {error}"
                return HarnessError(what, hint="please report it")
            else:
                return None
        return None

    def _build(self, cell: Cell) -> None:
        request = asked(cell, RunRequest(runs=self.runs, build=BuildOptions(cache=self.cache)))
        recipe = load_recipe(cell.recipe)
        options = to_build(request, recipe)
        built = build(recipe, options, self.progress)
        if self.artifacts is not None:
            self.artifacts.mkdir(exist_ok=True)
            lock = self.artifacts / f"{len(self._needed):05}.lock.json"
            lock.write_text(built.lock.to_json(), encoding="utf-8")
            with watched() as names:  # what it takes when all is there, with just these packages
                build(recipe, msgspec.structs.replace(options, lock=lock), self.progress)
            for name in sorted(names):
                transfer.pack(Store(self.cache), name, self.artifacts)
            self._needed[_key(cell)] = Artifacts(tuple(sorted(names)), lock)


def _key(cell: Cell) -> tuple[object, ...]:
    """Equal for cells that boot the same."""
    return cell.recipe, cell.kernel, cell.kind, cell.medium != "direct"
