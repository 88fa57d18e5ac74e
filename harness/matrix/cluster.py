"""Runs cells as tasks of a Dask cluster.

A task owns its `harness run`, and ends it when it is cancelled.

The directory of records has to be the same on all hosts, by the same path; it is how records and what runs
say come back. The cache may be shared or each host's own: its entries are named by content, and what one
lacks it builds, or takes from where the controller left it beside the records.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import msgspec

from harness.core import paths
from harness.core.errors import ConfigError, HarnessError, InfraError
from harness.core.outcome import Outcome
from harness.core.sizes import format_size
from harness.matrix import local
from harness.matrix.queue import Job, Result
from harness.store import Store, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from harness.matrix.cells import Cell

_PATIENCE = 15.0  # seconds for the scheduler to answer
_LOOK = 0.5  # seconds between looks at whether a task is still wanted
_FRESH = 3.0  # seconds for which what is known of the workers counts


class Artifacts(msgspec.Struct, frozen=True):
    """What a cell needs that workers with caches of their own may lack."""

    names: tuple[str, ...]  # entries of the store, such as "initramfs/0a1b…"
    lock: Path  # file with the packages that they are of; the entries lie beside it


class Remote(msgspec.Struct, frozen=True):
    """A cell that the cluster has; attributes as of `local.CellChild`."""

    job: Job
    future: Any
    log: Path
    began: float

    def says(self) -> str:
        """The last thing that it said, as far as its directory is shared."""
        return local.last_words(self.log)


class ClusterWorkers:
    """Runs cells as tasks of a cluster, no more than its workers have threads. A context manager.

    Args:
        address: The scheduler's, such as "tcp://10.0.0.1:8786".
        place: Where records are, on every host.
        jobs: No more than so many at once; None for as many as there are threads.
        artifacts: Says what a cell needs, where workers take what they lack into caches of their own; None
            where they build it.
    """

    def __init__(
        self,
        address: str,
        place: local.Place,
        jobs: int | None = None,
        *,
        artifacts: Callable[[Job], Artifacts | None] = lambda _: None,
    ) -> None:
        self._address = address
        self._place = place
        self._jobs = jobs
        self._artifacts = artifacts
        self._remotes: dict[str, Remote] = {}  # by key
        self._known: dict[str, Any] = {}
        self._when = 0.0

    def __enter__(self) -> Self:
        """Connect."""
        try:
            from distributed import Client
        except ImportError as error:
            hint = "install it with pip install 'bootstrap-harness[dask]'"
            raise ConfigError("--scheduler needs the Python package distributed", hint=hint) from error
        for name in ("distributed", "distributed.client"):  # each has a level of its own
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            self._client: Any = Client(self._address, timeout=_PATIENCE)
        except (OSError, TimeoutError) as error:
            hint = "look whether it runs, with `dask scheduler`, and whether this host may connect to it"
            raise InfraError(f"the scheduler {self._address} does not answer", hint=hint) from error
        except ValueError as error:
            hint = "write it as tcp://HOST:8786"
            raise ConfigError(f"{self._address} is no address of a scheduler: {error}", hint=hint) from error
        if not self._workers:
            self._client.close()
            hint = f"start some with `dask worker {self._address} --resources 'mem=8e9'`"
            raise InfraError(f"the scheduler {self._address} has no workers", hint=hint)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.cancel([remote.future for remote in self._remotes.values()], force=True)
        self._remotes.clear()
        self._client.close()

    @property
    def free(self) -> int:
        """Threads of workers that are free; none when so many run as were asked for."""
        threads = sum(int(worker["nthreads"]) for worker in self._workers.values())
        return min(threads, self._jobs or threads) - len(self._remotes)

    def places_for(self, job: Job) -> int:
        """A thread; memory and the like are the scheduler's to count."""
        wanted = needs(job.cell)
        announced = {name: dict(worker["resources"]) for name, worker in self._workers.items()}
        fits = (
            all(has.get(what, 0.0) >= much for what, much in wanted.items()) for has in announced.values()
        )
        if not any(fits):
            there = "; ".join(f"{name}: {_listed(has)}" for name, has in sorted(announced.items()))
            hint = f"workers announce what they have with --resources; there is {there or 'none'}"
            raise ConfigError(f"no worker has all that {job.cell.name} needs: {_listed(wanted)}", hint=hint)
        return 1

    @property
    def running(self) -> Sequence[Remote]:
        """What the cluster has, the oldest first."""
        return list(self._remotes.values())

    def start(self, job: Job) -> None:
        """Hand a cell to the cluster."""
        log = self._place.logs / f"{job.position:05}-{job.attempt}.log"
        key = f"{job.matrix}-{job.position}-{job.attempt}"
        words, artifacts = local.command(job, self._place), self._artifacts(job)
        if artifacts:
            words += ["--lock", str(artifacts.lock)]
        future = self._client.submit(
            carry, words, log, artifacts, key=key, pure=False, resources=needs(job.cell)
        )
        self._remotes[key] = Remote(job, future, log, time.monotonic())

    def wait(self, timeout: float) -> list[tuple[Job, Result]]:
        """Wait until a run ends, no longer than so many seconds, and return those that have."""
        from distributed import CancelledError, wait

        self._check_scheduler()
        if self._remotes:
            try:
                futures = [remote.future for remote in self._remotes.values()]
                wait(futures, timeout=timeout, return_when="FIRST_COMPLETED")
            except TimeoutError:
                return []
            except CancelledError:  # if not all, each says below whether it was
                self._check_scheduler()
        else:
            time.sleep(timeout)
        done = [key for key, remote in self._remotes.items() if remote.future.done()]
        return [(remote.job, _result(remote)) for remote in map(self._remotes.pop, done)]

    def _check_scheduler(self) -> None:
        if self._client.status != "running":
            raise InfraError(
                f"the scheduler {self._address} is gone, and the runs of its workers with it",
                hint="start both again, and go on with --resume; without --scheduler it goes on here",
            )

    @property
    def _workers(self) -> dict[str, Any]:
        if time.monotonic() - self._when > _FRESH:
            self._known = dict(self._client.scheduler_info(n_workers=-1)["workers"])
            self._when = time.monotonic()
        return self._known


def needs(cell: Cell) -> dict[str, float]:
    """The resources that a cell takes of a worker, by the names that workers announce; memory in bytes."""
    found = {"mem": float(cell.memory)} if cell.memory else {}
    if cell.accelerator == "kvm":
        found["kvm"] = 1.0
    return found | cell.kind.resources


def carry(words: Sequence[str], log: Path, artifacts: Artifacts | None = None) -> Result:
    """On a worker: do a cell's run, and stop it when it is cancelled.

    The words are those of the controller, with its Python; the log is in a directory that all hosts share.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    if not log.parent.is_dir():
        return Result(
            Outcome.INFRA,
            f"worker {worker.name} does not see {log.parent}: the directory of records has to be shared",
        )
    try:
        if artifacts:
            store = Store(paths.cache_root())
            for name in artifacts.names:
                transfer.accept(store, name, artifacts.lock.parent)
    except HarnessError as error:
        reason = f"artifacts do not get to the worker {worker.address}: {error.message}"
        return Result(Outcome.INFRA, reason)
    with local.Child([sys.executable, *words[1:]], log) as child:
        while not child.ends(_LOOK):
            task = worker.state.tasks.get(key)
            if task is None or task.state not in {"executing", "long-running"}:
                return Result(Outcome.INTERRUPTED, "the task was cancelled")
    return child.result()


def _result(remote: Remote) -> Result:
    took = round(time.monotonic() - remote.began, 3)
    if remote.future.cancelled():
        return Result(Outcome.INFRA, "the cluster cancelled the run", "", took)
    error = remote.future.exception()
    if isinstance(error, HarnessError):
        return Result(error.outcome, error.message, "", took)
    if error is not None:
        return Result(Outcome.INFRA, f"the cluster lost the run: {type(error).__name__}: {error}", "", took)
    result = remote.future.result()
    if not isinstance(result, Result):
        return Result(Outcome.BUG, f"a worker answered {result!r}", "", took)
    return result


def _listed(resources: Mapping[str, float]) -> str:
    words = [
        f"{name}={format_size(amount) if name == 'mem' else f'{amount:g}'}"
        for name, amount in sorted(resources.items())
    ]
    return ", ".join(words) or "nothing announced"
