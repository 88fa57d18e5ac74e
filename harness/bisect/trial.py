"""Tries a candidate with as many runs as it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from harness.bisect.search import Grade
from harness.core import paths
from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.matrix import local
from harness.matrix.queue import Result
from harness.record.history import runs_of_matrix
from harness.record.reading import read_run
from harness.run import checkpoints
from harness.stages.verdict import StageStatus
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ATTEMPTS = 2  # for what the host failed
_UNTRIED = {Outcome.CONFIG, Outcome.INFRA, Outcome.INTERRUPTED, Outcome.BUG}
_LOOK = 0.5  # seconds between looks at what a run says


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a run a bad one, and how many of them are believed."""

    # only this outcome is bad, and other failures say nothing; None: all that is not PASS is bad
    outcome: Outcome | None = None
    stage: str = ""  # a run is good when it came as far as this stage, however it ended; "" for its end
    repeat: int = 2  # so many runs that agree are believed where one is not enough
    # what a candidate is that does both: "good", as when the host disturbs runs now and then, where one good
    # run is enough; "bad", as when the fault is one that does not always show
    flaky: Literal["good", "bad"] = "good"

    def grade(self, result: Result, runs: Path) -> Grade:
        """What one run says."""
        if result.outcome in _UNTRIED:
            return Grade.SKIPPED
        if self.stage:
            return Grade.GOOD if _came_to(runs / result.run, self.stage) else Grade.BAD
        if result.outcome == Outcome.PASS:
            return Grade.GOOD
        return Grade.BAD if self.outcome in {None, result.outcome} else Grade.SKIPPED


class Finding(msgspec.Struct, frozen=True):
    """What was found out about a candidate."""

    name: str  # its name
    grade: Grade  # whether it is good
    results: tuple[Result, ...]  # what came of its runs, in order
    telling: Result  # the one that decided
    flaky: bool = False  # whether some were good and some bad


class Audience(Protocol):
    """What is told of a bisection's progress."""

    def step(self, title: str, suspects: int) -> None:
        """A candidate is tried; so many are under suspicion besides the one that is known to be bad."""

    def began(self, candidate: str, attempt: int, log: Path) -> None:
        """A run began; what it says is in that file."""

    def moment(self) -> None:
        """Some time went by in it."""

    def ended(self, candidate: str, result: Result, grade: Grade, *, known: bool) -> None:
        """It ended; `known`: it did so before we were called."""


class Trials(msgspec.Struct, frozen=True, kw_only=True):
    """How candidates are tried."""

    id: str  # of the bisection; its runs have it as their label `matrix`
    recipe: str  # what is run
    place: local.Place  # where records and logs are
    options: tuple[str, ...]  # further options of each `harness run`
    criterion: Criterion  # what is bad
    checkpoint: str  # stage from which a further run goes on where its images are the same; "" for none
    # gets a candidate ready, and returns the options of `harness run` that are its own
    prepare: Callable[[str], Sequence[str]]
    audience: Audience  # told of what happens

    def find(self, candidate: str) -> Finding:
        """Run a candidate until it is clear what it is; runs with a record are not done again."""
        doubted = Grade.GOOD if self.criterion.flaky == "bad" else Grade.BAD
        recorded = runs_of_matrix(self.place.runs, self.id)
        own: Sequence[str] | None = None
        results: list[Result] = []
        grades: list[Grade] = []
        while True:
            attempt = len(results) + 1
            past = recorded.get((self.cell(candidate), attempt))
            known = past is not None and past.outcome not in {"", Outcome.INTERRUPTED}
            if past is not None and known:
                result = Result.recorded(past)
            else:
                try:
                    own = self.prepare(candidate) if own is None else own
                except ConfigError as error:
                    result = Result(Outcome.CONFIG, error.message)
                else:
                    result = self._run(candidate, attempt, own)
            grade = self.criterion.grade(result, self.place.runs)
            results.append(result)
            grades.append(grade)
            self.audience.ended(candidate, result, grade, known=known)
            if grade == Grade.SKIPPED:
                failed = sum(one.outcome == Outcome.INFRA for one in results)
                if result.outcome == Outcome.INFRA and failed < _ATTEMPTS:
                    continue
                return Finding(candidate, grade, tuple(results), result)
            if grade != doubted:  # one is enough
                return Finding(candidate, grade, tuple(results), result, flaky=doubted in grades)
            if grades.count(doubted) >= self.criterion.repeat:
                return Finding(candidate, grade, tuple(results), result)

    def cell(self, candidate: str) -> str:
        """What history calls its runs: apart from runs outside of bisections."""
        recipe = Path(self.recipe).stem if self.recipe.endswith(".toml") else self.recipe
        return f"{recipe}/bisect/{candidate}"

    def _run(self, candidate: str, attempt: int, own: Sequence[str]) -> Result:
        log = self.place.logs / f"{candidate}-{attempt}.log"
        self.audience.began(candidate, attempt, log)
        result = Result(Outcome.CONFIG)
        if self.checkpoint and self._saved():
            result = self._process(candidate, attempt, [*own, "--from", self.checkpoint], log)
        # No checkpoint of these very images: then the run makes one.
        if result.outcome == Outcome.CONFIG:
            saving = ["--checkpoint", self.checkpoint] if self.checkpoint else []
            result = self._process(candidate, attempt, [*own, *saving], log)
        if not result.run:  # an error's answer does not say where the record is
            past = runs_of_matrix(self.place.runs, self.id).get((self.cell(candidate), attempt))
            result = Result(result.outcome, result.reason, past.id if past else "", result.seconds)
        return result

    def _saved(self) -> bool:
        stages = {
            one.state.boundary.stage
            for one in checkpoints.saved(Store(self.place.cache or paths.cache_root()))
        }
        return self.checkpoint in stages

    def _process(self, candidate: str, attempt: int, own: Sequence[str], log: Path) -> Result:
        labels = {"matrix": self.id, "cell": self.cell(candidate), "attempt": str(attempt)}
        words = local.run_words([self.recipe], [*own, *self.options], self.place, labels)
        with local.Child(words, log) as child:
            while not child.ends(_LOOK):
                self.audience.moment()
        return child.result()


def _came_to(directory: Path, stage: str) -> bool:
    """Whether a run began a stage; where it was there all the same, as in one that was resumed, it did."""
    reading = read_run(directory)
    known = {one.name: one.status for one in reading.document.stages}
    if known.get(stage) == StageStatus.NOT_APPLICABLE:
        hint = "name another stage: --reach decides by it"
        raise ConfigError(f"the run {directory.name} has nothing to do at {stage}", hint=hint)
    if stage not in known:
        hint = f"it has: {', '.join(known)}"
        raise ConfigError(f"the run {directory.name} has no stage {stage!r}", hint=hint)
    return known[stage] != StageStatus.NOT_REACHED
