"""The plan of a run: stages, the markers that move it on or end it, budgets and checks; data, not code.

`docs/plans.md` describes every key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from harness import places, toml
from harness.console.watcher import Marker
from harness.errors import ConfigError
from harness.machine.protocol import Accelerator
from harness.outcome import Outcome
from harness.stages.native import Native, native_problems

Seconds = Annotated[float, msgspec.Meta(gt=0)]
# Absolute and without detours: it is also the file's place in the record.
GuestFile = Annotated[str, msgspec.Meta(pattern=r"^(/(?!\.{1,2}(/|$))[^/]+)+$")]
GuestDirectory = Annotated[str, msgspec.Meta(pattern=r"^(/|(/(?!\.{1,2}(/|$))[^/]+)+)$")]
Progress = Literal["output", "disk", "user"]


class Check(toml.Table, frozen=True):
    """A command in the guest's shell, and the answer that proves something.

    Attributes:
        name: Name of the check; also the name of its test.
        run: Shell script; `{facts}` in braces are filled in.
        proves: What the right answer shows, in words.
        status: Expected exit status.
        output: Pattern that the whole output must match, without trailing newline; facts are filled in
            literally. Named groups become facts.
        budget: Seconds of guest time.
    """

    name: str
    run: str
    proves: str
    status: int = 0
    output: str = "(?s).*"
    budget: Seconds = 60


class Stage(toml.Table, frozen=True):
    """One stage of a run.

    Attributes:
        name: Its name.
        title: What happens in it, in words.
        budget: Seconds of guest time for the whole stage.
        silence: Seconds of guest time without any output.
        begins: Pattern on a console line that shows that the stage has begun. The first stage begins with
            the machine; one without pattern begins where the one before it ends. Named groups become facts.
        prompt: Whether `begins` is a prompt, which has no newline.
        notes: Patterns whose named groups become facts.
        progress: What shows that a stage gets on although its silence or budget is used up: output, bytes
            written to a disk, or a program that computes in user space.
        milestones: Patterns of lines with which budget and silence begin anew.
        limit: Seconds of guest time after which no progress helps any more; 0: the budget is the limit.
        wraps: Columns after which the console goes on in a new line, as that of a BIOS does; 0: it does not.
        checks: What the shell must answer; such a stage begins at a shell.
        produced: Directories of the guest whose files are listed in the record, with their hashes.
        fetches: Files of the guest that are copied into the record.
        types: The last words to the shell.
        hint: What to do when the stage does not end.
    """

    name: str
    title: str
    budget: Seconds
    silence: Seconds
    begins: str = ""
    prompt: bool = False
    notes: tuple[str, ...] = ()
    progress: tuple[Progress, ...] = ()
    milestones: tuple[str, ...] = ()
    limit: Annotated[float, msgspec.Meta(ge=0)] = 0
    wraps: Annotated[int, msgspec.Meta(ge=0)] = 0
    checks: tuple[Check, ...] = ()
    produced: tuple[GuestDirectory, ...] = ()
    fetches: tuple[GuestFile, ...] = ()
    types: str = ""
    hint: str = ""


class Failure(toml.Table, frozen=True):
    """What a failure looks like.

    Failures stand in the order from the particular to the general: when several were seen, the first one in
    the plan is the reason.

    Attributes:
        pattern: On a console line, or on a line of the text screen.
        outcome: What it makes of the run.
        reason: Why, in one sentence; named groups of the pattern and of `context` are filled in, and `count`:
            how often it was seen in the stage.
        hint: What to do next.
        context: Patterns of lines that must have come before; the last one of each tells more.
        times: How often it must be seen in a stage to count. Until then it is a note.
        prompt: Whether it is a prompt, which has no newline and after which nothing comes.
        clue: Whether it only explains a failure that follows, and is harmless by itself.
        screen: Whether it is looked for on the text screen instead, when the console has fallen silent.
        stages: In which stages it counts; in all of them if empty.
    """

    pattern: str
    outcome: Outcome
    reason: str
    hint: str
    context: tuple[str, ...] = ()
    times: Annotated[int, msgspec.Meta(ge=1)] = 1
    prompt: bool = False
    clue: bool = False
    screen: bool = False
    stages: tuple[str, ...] = ()

    @property
    def fields(self) -> frozenset[str]:
        """What may stand in braces in the reason."""
        groups = (name for text in (self.pattern, *self.context) for name in re.compile(text).groupindex)
        return frozenset(("count", *groups))


class _Document(toml.Table, frozen=True):
    summary: str
    stage: Annotated[tuple[Stage, ...], msgspec.Meta(min_length=1)]
    end: Literal["guest-shutdown", "guest-reset", "line"]
    end_line: str = ""
    include: tuple[str, ...] = ()
    failure: tuple[Failure, ...] = ()
    scale: Mapping[Accelerator, Seconds] = msgspec.field(default_factory=dict)
    native: Native | None = None


class _Failures(toml.Table, frozen=True):
    failure: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan that has been read and checked.

    Attributes:
        name: The file's name without suffix.
        stages: In order.
        failures: In order of precedence.
        end: The cause with which the machine must end after the last stage (`EndCause`), or "line".
        end_line: Pattern of the line that is the end, whatever the machine does after it.
        scale: What budgets are multiplied with, by accelerator; they are written for TCG.
        native: What holds without a kernel; None where nothing does.
        not_applicable: Stages, and checks as "stage.check", that this machine has no use for; the stages are
            not among `stages`.
        order: The names of all stages, those too; empty where there are no others.
    """

    name: str
    stages: tuple[Stage, ...]
    failures: tuple[Failure, ...]
    end: str
    scale: Mapping[str, float]
    end_line: str = ""
    native: Native | None = None
    not_applicable: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    @property
    def takes_out(self) -> bool:
        """Whether anything is taken out of the guest: a machine with a fast way for that is worth it then."""
        return any(stage.produced or stage.fetches for stage in self.stages)

    @property
    def end_marker(self) -> Marker | None:
        """The line that ends the run well, where it is a line."""
        return Marker("end", re.compile(self.end_line)) if self.end_line else None

    @property
    def last_at_shell(self) -> Stage | None:
        """The last stage that asks the shell or types to it, if any does."""
        return next((stage for stage in reversed(self.stages) if stage.checks or stage.types), None)

    def begin_marker(self, stage: Stage) -> Marker | None:
        """The marker with which a stage begins, if it has one."""
        if not stage.begins:
            return None
        return Marker(f"begin:{stage.name}", re.compile(stage.begins), prompt=stage.prompt)

    def stage(self, name: str) -> Stage:
        """The stage with this name."""
        return next(stage for stage in self.stages if stage.name == name)

    def markers(self, stage: Stage) -> tuple[Marker, ...]:
        """All that is looked for in a stage, but for what begins the next one."""
        return (*self.failure_markers(stage), *self.note_markers(stage), *self.quiet_markers(stage))

    def note_markers(self, stage: Stage) -> tuple[Marker, ...]:
        """Markers whose groups are facts."""
        return tuple(Marker(f"note:{number}", re.compile(note)) for number, note in enumerate(stage.notes))

    def failure_markers(self, stage: Stage, *, screen: bool = False) -> tuple[Marker, ...]:
        """Markers of what can fail in this stage; the key's number is the failure's index in the plan."""
        return tuple(
            Marker(f"failure:{number}", re.compile(failure.pattern), prompt=failure.prompt)
            for number, failure in enumerate(self.failures)
            if failure.screen == screen and (not failure.stages or stage.name in failure.stages)
        )

    def quiet_markers(self, stage: Stage) -> tuple[Marker, ...]:
        """Markers that are kept in mind only: milestones, and the context of what can fail in this stage."""
        marked = (self.failure_of(marker) for marker in self.failure_markers(stage))
        context = dict.fromkeys(pattern for failure in marked if failure for pattern in failure.context)
        return (
            *(Marker("milestone", re.compile(milestone)) for milestone in stage.milestones),
            *(Marker(f"context:{pattern}", re.compile(pattern)) for pattern in context),
        )

    def failure_of(self, marker: Marker) -> Failure | None:
        """The failure that a marker stands for."""
        kind, _, number = marker.key.partition(":")
        return self.failures[int(number)] if kind == "failure" else None


def plan_files() -> dict[str, Path]:
    """The plans that come with the project, by name; files without stages are there to be included."""
    files = sorted((places.data_root() / "images/plans").glob("*.toml"))
    return {path.stem: path for path in files if "[[stage]]" in path.read_text(encoding="utf-8")}


def find_plan(name: str) -> Path:
    """A plan by name, or by the path of its TOML file.

    Raises:
        ConfigError: There is none of that name.
    """
    if name.endswith(".toml"):
        return Path(name)
    known = plan_files()
    if name not in known:
        hint = f"known plans: {', '.join(known)}; the path of a .toml file of your own works too"
        raise ConfigError(f"there is no plan {name!r}", hint=hint)
    return known[name]


def load_plan(path: Path) -> Plan:
    """Read a plan, with the failures of the files that it includes after its own.

    Raises:
        ConfigError: A key is wrong; the message names file and key.
    """
    document = toml.load(path, _Document)
    failures = list(document.failure)
    _check_patterns(path, document.stage, document.failure)
    for name in document.include:
        included = path.with_name(f"{name}.toml")
        more = toml.load(included, _Failures).failure
        _check_patterns(included, (), more)
        failures += more
    _check_names(path, document)
    _check_end(path, document)
    return Plan(
        name=path.stem,
        stages=document.stage,
        failures=tuple(failures),
        end=document.end,
        end_line=document.end_line,
        scale={str(kind): factor for kind, factor in document.scale.items()},
        native=document.native,
    )


def _check_names(path: Path, document: _Document) -> None:
    """What a plan calls by name must exist, or a slip shows only when a run ends."""
    names: list[str] = []
    for index, stage in enumerate(document.stage):
        if stage.name in names:
            raise ConfigError(
                f"{path}: key stage[{index}].name: {stage.name!r} is the name of an earlier stage"
            )
        names.append(stage.name)
    lists = [index for index, stage in enumerate(document.stage) if stage.produced]
    if len(lists) > 1:
        raise ConfigError(
            f"{path}: key stage[{lists[1]}].produced: only one stage can list what was produced"
        )
    checks = [f"{stage.name}.{check.name}" for stage in document.stage for check in stage.checks]
    for problem in native_problems(document.native, names, checks):
        raise ConfigError(f"{path}: key native.not-applicable: {problem}")
    for index, failure in enumerate(document.failure):
        for name in failure.stages:
            if name not in names:
                raise ConfigError(f"{path}: key failure[{index}].stages: there is no stage {name!r}")


def _check_end(path: Path, document: _Document) -> None:
    if (document.end == "line") != bool(document.end_line):
        raise ConfigError(f'{path}: key end-line: it goes with end = "line", and that with it')
    _check_patterns(path, (), (), {"end-line": document.end_line})


def _check_patterns(
    path: Path,
    stages: tuple[Stage, ...],
    failures: tuple[Failure, ...],
    others: Mapping[str, str] | None = None,
) -> None:
    patterns = {f"failure[{index}].pattern": failure.pattern for index, failure in enumerate(failures)}
    patterns |= others or {}
    for index, failure in enumerate(failures):
        patterns |= {
            f"failure[{index}].context[{number}]": text for number, text in enumerate(failure.context)
        }
    for index, stage in enumerate(stages):
        patterns[f"stage[{index}].begins"] = stage.begins
        patterns |= {f"stage[{index}].notes[{number}]": note for number, note in enumerate(stage.notes)}
        patterns |= {
            f"stage[{index}].milestones[{number}]": text for number, text in enumerate(stage.milestones)
        }
        for number, check in enumerate(stage.checks):
            # Facts stand in braces, which no fixed text of a pattern needs: fill them with anything.
            key = f"stage[{index}].checks[{number}].output"
            patterns[key] = re.sub(r"\{[a-z0-9_]+\}", "0", check.output)
    for key, pattern in patterns.items():
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"{path}: key {key}: {pattern!r} is no pattern: {error}") from error
    for index, failure in enumerate(failures):
        key = f"failure[{index}].reason"
        try:
            failure.reason.format_map(dict.fromkeys(failure.fields, ""))
        except KeyError as error:
            name = error.args[0]
            raise ConfigError(f"{path}: key {key}: {{{name}}} is no named group of the pattern") from error
        except (ValueError, LookupError, AttributeError) as error:
            problem = f"{failure.reason!r} cannot be filled in: {error}"
            raise ConfigError(f"{path}: key {key}: {problem}") from error
