"""Runs cells on this host, each a `harness run` process."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Self

import msgspec

from harness.core.errors import ConfigError, InfraError, explaining
from harness.core.outcome import Outcome
from harness.machine import admission
from harness.matrix.queue import Job, Result
from harness.store.locks import held_if_free

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


_GRACE = 30.0  # seconds for a run to stop its guest and finish its record
_OUTCOMES = {outcome.exit_code: outcome for outcome in Outcome}
_TAIL = 2000  # bytes of what a run said that are looked at


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where runs are done."""

    runs: Path  # directory of the records
    cache: Path | None  # the cache directory; None for that of the host that does the run
    logs: Path  # directory for what the processes say


class _Answer(msgspec.Struct, frozen=True):
    """What `harness run --json` prints, as far as it is needed: a record, or an error."""

    id: str = ""
    error: str = ""
    verdict: dict[str, object] | None = None


class Child:
    """A `harness run` in a process of its own, which is stopped on leaving. A context manager.

    It says to people in `log` what it does, and leaves its answer beside it.
    """

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self.log = log
        self.began = time.monotonic()
        with ExitStack() as stack:
            hint = "free some space, or choose another place with --runs DIR"
            with explaining(InfraError, f"cannot start a run with {log} for what it says", hint):
                said = stack.enter_context(log.open("wb"))
                answer = stack.enter_context(log.with_suffix(".json").open("wb"))
            why = "cannot start a run: setpriv, which ends it with us, does not start"
            hint = "install util-linux, and look whether its programs are on this process's PATH"
            with explaining(InfraError, why, hint):
                self.process = subprocess.Popen(
                    # It ends with us, however we end, and then stops its guest.
                    ["setpriv", "--pdeathsig", "TERM", "--", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=answer,
                    stderr=said,
                    start_new_session=True,  # Ctrl-C is for us
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ends(self, seconds: float) -> bool:
        """Whether the run ends within so many seconds."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, grace: float = _GRACE) -> None:
        """Stop the run if it still goes on, with its guest; the record says that it was stopped."""
        if self.process.poll() is None:
            self.process.terminate()
            if not self.ends(grace):
                self.process.kill()
                self.process.wait()

    def says(self) -> str:
        """The last thing that it said, such as the stage that ended."""
        return last_words(self.log)

    def result(self) -> Result:
        """What came of it, once it has ended."""
        took, status = round(time.monotonic() - self.began, 3), self.process.returncode
        if status < 0:
            name = signal.Signals(-status).name
            return Result(Outcome.INFRA, f"the process of the run was killed by {name}", "", took)
        outcome = _OUTCOMES.get(status, Outcome.BUG)
        try:
            answer = msgspec.json.decode(self.log.with_suffix(".json").read_bytes(), type=_Answer)
        except (OSError, msgspec.DecodeError):
            last = _tail(self.log).strip().rpartition("\n")[2]
            return Result(outcome or Outcome.BUG, f"status {status} without an answer: {last}", "", took)
        reason = str(answer.verdict["reason"]) if answer.verdict else answer.error
        return Result(outcome, "" if outcome == Outcome.PASS else reason, answer.id, took)


class CellChild(Child):
    """The run of a cell, which takes so many places of this host."""

    def __init__(self, job: Job, words: Sequence[str], log: Path, places: int) -> None:
        super().__init__(words, log)
        self.job, self.places = job, places


class LocalWorkers:
    """Runs cells in processes of this host, no more than it has places for. A context manager."""

    def __init__(self, place: Place, jobs: int | None = None) -> None:
        self._place = place
        self._places = admission.places()
        self._jobs = jobs
        self._children: dict[int, CellChild] = {}  # by pidfd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children.values():
            child.process.terminate()
        until = time.monotonic() + _GRACE
        for child in self._children.values():
            child.stop(max(0.0, until - time.monotonic()))
        for descriptor in self._children:
            os.close(descriptor)
        self._children.clear()

    @property
    def free(self) -> int | None:
        """Places that are free; None when so many run as were asked for."""
        if self._jobs is not None and len(self._children) >= self._jobs:
            return None
        return self._places - sum(child.places for child in self._children.values())

    def places_for(self, job: Job) -> int:
        """How many places a cell takes."""
        job.cell.kind.check_exists()
        return job.cell.places

    @property
    def running(self) -> list[CellChild]:
        """What goes on, the oldest first."""
        return list(self._children.values())

    def start(self, job: Job) -> None:
        """Begin a cell's run."""
        log = self._place.logs / f"{job.position:05}-{job.attempt}.log"
        child = CellChild(job, command(job, self._place), log, self.places_for(job))
        self._children[os.pidfd_open(child.process.pid)] = child

    def wait(self, timeout: float) -> list[tuple[Job, Result]]:
        """Wait until a run ends, no longer than so many seconds, and return those that have."""
        ready, _, _ = select.select(list(self._children), [], [], timeout)
        ended = []
        for descriptor in ready:
            child = self._children.pop(descriptor)
            os.close(descriptor)
            child.process.wait()
            ended.append((child.job, child.result()))
        return ended


@contextmanager
def alone(home: Path, what: str) -> Iterator[None]:
    """Keep other processes from doing the same with the same records."""
    with held_if_free(home / "lock") as is_alone:
        if not is_alone:
            hint = "wait for it, or choose another directory with --runs DIR"
            raise ConfigError(f"{what} is being run by another process, with the same records", hint=hint)
        yield


@contextmanager
def tidied(place: Path) -> Iterator[None]:
    """Leave no such directory behind: what is in it is made again in a moment."""
    try:
        yield
    finally:
        shutil.rmtree(place, ignore_errors=True)


def command(job: Job, place: Place, labels: Mapping[str, str] | None = None) -> list[str]:
    """The `harness run` that does a cell."""
    cell = job.cell
    given = {"matrix": job.matrix, "cell": cell.name, "attempt": str(job.attempt), **(labels or {})}
    options = {
        "--machine": cell.machine,
        "--kernel": cell.kernel,
        "--accelerator": cell.accelerator,
        "--memory": str(cell.memory or ""),
        "--medium": cell.medium,
        "--firmware": cell.firmware,
        "--patience": str(cell.patience),
    }
    words = [word for option, value in options.items() if value for word in (option, value)]
    return run_words(cell.checkout.words if cell.checkout else [cell.recipe], words, place, given)


def run_words(
    what: Sequence[str], options: Sequence[str], place: Place, labels: Mapping[str, str]
) -> list[str]:
    """A `harness run` whose answer is for programs; `what` begins with the recipe."""
    words = [*options, "--runs", str(place.runs)]
    words += ["--cache", str(place.cache)] if place.cache else []
    words += [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    return [sys.executable, "-m", "harness", "run", *what, *words, "--json"]


def last_words(log: Path) -> str:
    """The last line that a run said, such as the stage that ended; "" where there is none yet."""
    return " ".join(_tail(log).strip().rpartition("\n")[2].split())


def _tail(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return file.read().decode("utf-8", "replace")
    return ""
