"""A bisection from its ends to the culprit, resumable from its records."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from harness.bisect import kernels
from harness.bisect.commits import Commits
from harness.bisect.search import Grade, Line, Suspects, search
from harness.bisect.trial import Audience, Criterion, Finding, Trials
from harness.core import paths
from harness.core.errors import ConfigError, HarnessError, Interrupted
from harness.matrix.local import Place, alone, tidied
from harness.recipe import load_recipe
from harness.record.history import BISECTIONS
from harness.stages.plan_file import load_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.sources.debian import DebianSource


class BisectRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched, and how."""

    recipe: str  # what is run
    good: str  # one that is good, as a person names it
    bad: str  # a later one that is bad
    runs: Path  # directory of the records
    cache: Path  # the cache directory
    lines: tuple[str, ...] = ()  # kernel lines, or patterns for them; none where commits are searched
    role: str = "seed"  # of the kernels: "seed" or "second"
    tree: Path | None = None  # a checkout whose commits are searched
    first_parent: bool = False  # whether what merges brought is not gone into
    criterion: Criterion = msgspec.field(default_factory=Criterion)  # what is bad
    checkpoint: str = ""  # stage from which a further run of the same images goes on; "" for none
    options: tuple[str, ...] = ()  # further options of each `harness run`
    resume: bool = False  # whether to go on with the last one of the same words

    @property
    def key(self) -> str:
        """The same for the same question."""
        kind = (self.lines, self.role, str(self.tree), self.first_parent)
        parts = (self.recipe, self.good, self.bad, kind, self.criterion, self.checkpoint, self.options)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


class Ended(msgspec.Struct, frozen=True):
    """What a bisection came to."""

    id: str  # the label `matrix` of its runs
    culprits: tuple[str, ...]  # the first bad candidate; several where those before it could not be tried
    titles: dict[str, str]  # each candidate that was tried, and each culprit, in words
    good: Finding  # what was found out about the last good candidate before them
    bad: Finding  # the same of the first bad one
    tried: tuple[Finding, ...]  # the same of all, in the order in which they were tried


class Candidates(msgspec.Struct, frozen=True):
    """What is gone through: kernels or commits."""

    suspects: Suspects  # how they follow on each other
    good: str  # the end that is said to be good
    bad: str  # the end that is said to be bad
    title: Callable[[str], str]  # a candidate in words
    prepare: Callable[[str], Sequence[str]]  # gets one ready; with which options of `harness run` it is run
    nearest: Callable[[Sequence[str], str], str]  # the last good one before a bad one


def run(wanted: BisectRequest, debian: DebianSource, audience: Audience) -> Ended:
    """Find the first bad kernel or commit."""
    _check_stages(wanted)
    home = wanted.runs / ".bisect" / wanted.key
    paths.writable_directory(home, "bisection", "choose another directory with --runs DIR")
    with alone(home, "the same bisection"), tidied(home / "tree"):
        candidates = (
            _commits(wanted, wanted.tree, home / "tree") if wanted.tree else _kernels(wanted, debian, home)
        )
        name = _begun(home, resume=wanted.resume)
        logs = home / name
        logs.mkdir(exist_ok=True)
        trials = Trials(
            id=name,
            recipe=wanted.recipe,
            place=Place(runs=wanted.runs, cache=wanted.cache, logs=logs),
            options=wanted.options,
            criterion=wanted.criterion,
            checkpoint=wanted.checkpoint,
            prepare=candidates.prepare,
            audience=audience,
        )
        try:
            return _searched(name, candidates, trials, audience)
        except Interrupted as error:
            hint = "the same command with --resume goes on where it stopped"
            raise Interrupted(f"{name}: {error.message}", hint=hint) from error


def _check_stages(wanted: BisectRequest) -> None:
    """Find out before the first run that none has such a stage; of a commit, only its own run tells."""
    if wanted.tree is not None:
        return
    plan = load_plan(load_recipe(wanted.recipe).plan)
    there = [stage.name for stage in plan.stages]
    for option, stage in (("--reach", wanted.criterion.stage), ("--checkpoint", wanted.checkpoint)):
        if stage and stage not in there:
            message = f"{option}: the plan {plan.name} of {wanted.recipe} has no stage {stage!r}"
            raise ConfigError(message, hint=f"it has: {', '.join(there)}")


def _searched(name: str, candidates: Candidates, trials: Trials, audience: Audience) -> Ended:
    tried: dict[str, Finding] = {}

    def grade(candidate: str, under: int) -> Grade:
        audience.step(candidates.title(candidate), under)
        tried[candidate] = trials.find(candidate)
        return tried[candidate].grade

    between = len(candidates.suspects.between([candidates.good], candidates.bad))
    for end, wanted in ((candidates.bad, Grade.BAD), (candidates.good, Grade.GOOD)):
        if grade(end, between) != wanted:
            raise _not_so(candidates.title(end), wanted, tried[end])
    culprits, good = search(candidates.suspects, grade, candidates.good, candidates.bad)
    first_bad = culprits[-1]
    return Ended(
        id=name,
        culprits=culprits,
        titles={one: candidates.title(one) for one in (*tried, *culprits)},
        good=tried[candidates.nearest(good, first_bad)],
        bad=tried[first_bad],
        tried=tuple(tried.values()),
    )


def _commits(wanted: BisectRequest, tree: Path, place: Path) -> Candidates:
    commits = Commits(tree.absolute(), wanted.first_parent)
    good, bad = commits.commit(wanted.good, "--good"), commits.commit(wanted.bad, "--bad")
    commits.check(good, bad)

    def prepare(name: str) -> Sequence[str]:
        if missing := commits.check_out(name, place):
            raise ConfigError(
                f"{commits.tree} has not the commits of submodules: {', '.join(missing)}",
                hint="fetch them there with `git submodule update --init --recursive` at that commit",
            )
        return "--tree", str(place)

    return Candidates(commits, good, bad, commits.title, prepare, commits.nearest)


def _kernels(wanted: BisectRequest, debian: DebianSource, home: Path) -> Candidates:
    there = kernels.releases(wanted.lines, debian)
    first, last = kernels.meant(wanted.good, there, "--good"), kernels.meant(wanted.bad, there, "--bad")
    if there.index(first) >= there.index(last):
        message = f"the good kernel {first.name} is not older than the bad one, {last.name}"
        raise ConfigError(message, hint="the good one has to be the older; are the two exchanged?")
    releases = {release.name: release for release in there}
    names = tuple(releases)
    return Candidates(
        suspects=Line(names),
        good=first.name,
        bad=last.name,
        title=lambda name: name if name == releases[name].line else f"{name} ({releases[name].line})",
        prepare=lambda name: kernels.options_for(releases[name], wanted.role, home),
        nearest=lambda good, _bad: max(good, key=names.index),
    )


def _not_so(title: str, wanted: Grade, finding: Finding) -> HarnessError:
    last = finding.telling
    what = f"{last.outcome}: {last.reason}" if last.reason else str(last.outcome)
    what += f" (run {last.run})" if last.run else ""
    if finding.grade == Grade.SKIPPED:
        hint = "mend what it says, or name another one that can be tried"
        return ConfigError(f"{title} was said to be {wanted}, and cannot be tried: {what}", hint=hint)
    hint = "name another one, or say with --outcome or --reach what is bad; --repeat N asks more often"
    return ConfigError(f"{title} was said to be {wanted}, and is {finding.grade}: {what}", hint=hint)


def _begun(home: Path, *, resume: bool) -> str:
    """The bisection's id: that of the last one, or one of its own."""
    path = home / "id"
    if resume:
        try:
            return path.read_text("utf-8").strip()
        except OSError as error:
            hint = "give the options that it was begun with, --runs DIR among them, or leave --resume out"
            raise ConfigError("there is no bisection of the same words to go on with", hint=hint) from error
    name = f"{BISECTIONS}{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.urandom(2).hex()}"
    path.write_text(f"{name}\n", encoding="utf-8")
    return name
