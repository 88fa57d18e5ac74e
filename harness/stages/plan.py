"""Plans as data: stages, markers, budgets, checks and failures.

`docs/plans.md` describes every key.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from harness.console.watcher import Marker
from harness.core import toml
from harness.core.outcome import Outcome
from harness.stages.needs import NO_NEEDS, KernelNeeds, Needs, joined

if TYPE_CHECKING:
    from collections.abc import Mapping

Seconds = Annotated[float, msgspec.Meta(gt=0)]
# Absolute and without detours: it is also the file's place in the record.
GuestFile = Annotated[str, msgspec.Meta(pattern=r"^(/(?!\.{1,2}(/|$))[^/]+)+$")]
GuestDirectory = Annotated[str, msgspec.Meta(pattern=r"^(/|(/(?!\.{1,2}(/|$))[^/]+)+)$")]
Progress = Literal["output", "disk", "user"]


class Check(toml.Table, frozen=True):
    """A command in the guest's shell, and the answer that proves something."""

    name: str  # name of the check; also the name of its test
    run: str  # shell script; `{facts}` in braces are filled in
    proves: str  # what the right answer shows, in words
    status: int = 0  # expected exit status
    # pattern that the whole output must match, without trailing newline; facts are filled in literally. Named
    # groups become facts.
    output: str = "(?s).*"
    budget: Seconds = 60  # seconds of guest time


class Stage(toml.Table, frozen=True):
    """One stage of a run."""

    name: str  # its name
    title: str  # what happens in it, in words
    budget: Seconds  # seconds of guest time for the whole stage
    silence: Seconds  # seconds of guest time without any output
    # seconds in which nothing comes over the console by design. Silence is no failure then, and a next stage
    # without `begins` begins after it.
    unheard: Annotated[float, msgspec.Meta(ge=0)] = 0
    # pattern on a console line that shows that the stage has begun. The first stage begins with the machine;
    # one without pattern begins where the one before it ends. Named groups become facts.
    begins: str = ""
    prompt: bool = False  # whether `begins` is a prompt, which has no newline
    notes: tuple[str, ...] = ()  # patterns whose named groups become facts
    # what shows that a stage gets on although its silence or budget is used up: output, bytes written to a
    # disk, or a program that computes in user space
    progress: tuple[Progress, ...] = ()
    milestones: tuple[str, ...] = ()  # patterns of lines with which budget and silence begin anew
    # seconds of guest time after which no progress helps any more; 0: the budget is the limit
    limit: Annotated[float, msgspec.Meta(ge=0)] = 0
    # columns after which the console goes on in a new line, as that of a BIOS does; 0: it does not
    wraps: Annotated[int, msgspec.Meta(ge=0)] = 0
    checks: tuple[Check, ...] = ()  # what the shell must answer; such a stage begins at a shell
    # directories of the guest whose files are listed in the record, with their hashes
    produced: tuple[GuestDirectory, ...] = ()
    fetches: tuple[GuestFile, ...] = ()  # files of the guest that are copied into the record
    types: str = ""  # the last words to the shell
    hint: str = ""  # what to do when the stage does not end

    @property
    def asks(self) -> bool:
        """Whether the shell is asked for something, so that a prompt is no news in it."""
        return bool(self.checks or self.produced or self.fetches)


class Native(toml.Table, frozen=True):
    """What of a plan holds on a machine without a kernel of its own; what is named here does not.

    There the run ends when the first process does, with status 0; with `end_line`, when that line comes.
    """

    # stages, checks as "stage.check", and "stage.produced" where the root shows more than its shell would
    # list
    not_applicable: tuple[str, ...] = ()
    last_words: str = ""  # typed to the shell when all is done
    end_line: str = ""  # pattern of the line that is the right end, where the first process stays


class Failure(toml.Table, frozen=True):
    """What a failure looks like.

    Failures stand in the order from the particular to the general: when several were seen, the first one in
    the plan is the reason. Clues that are far from the failure, and those behind which another error came, do
    not count.
    """

    pattern: str  # on a console line, or on a line of the text screen
    outcome: Outcome  # what it makes of the run
    # why, in one sentence; named groups of the pattern and of `context` are filled in, and `count`: how often
    # it was seen in the stage
    reason: str
    hint: str  # what to do next
    # patterns of lines that must have come before; the last one of each tells more
    context: tuple[str, ...] = ()
    # how often it must be seen in a stage to count. Until then it is a note.
    times: Annotated[int, msgspec.Meta(ge=1)] = 1
    prompt: bool = False  # whether it is a prompt, which has no newline and after which nothing comes
    clue: bool = False  # whether it only explains a failure that follows, and is harmless by itself
    # whether it is a state of the machine, such as a disk that fails: it comes before all that is none, and
    # explains what fails later in the stage
    lasting: bool = False
    # whether it is looked for on the text screen instead, when the console has fallen silent; "too": on both
    screen: bool | Literal["too"] = False
    stages: tuple[str, ...] = ()  # in which stages it counts; in all of them if empty

    @property
    def fields(self) -> frozenset[str]:
        """What may stand in braces in the reason."""
        groups = (name for text in (self.pattern, *self.context) for name in re.compile(text).groupindex)
        return frozenset(("count", *groups))


class Plan(msgspec.Struct, frozen=True):
    """A plan that has been read and checked."""

    name: str  # the file's name without suffix
    stages: tuple[Stage, ...]  # in order
    failures: tuple[Failure, ...]  # in order of precedence
    end: str  # the cause with which the machine must end after the last stage (`EndCause`), or "line"
    scale: Mapping[str, float]  # what budgets are multiplied with, by accelerator; they are written for TCG
    end_line: str = ""  # pattern of the line that is the end, no matter what the machine does after it
    packages: tuple[str, ...] = ()  # those that the payload builds, in order, where the plan names them
    needs: Needs = NO_NEEDS  # what it needs of the kernels
    native: Native | None = None  # what holds without a kernel; None where nothing does
    # stages, and checks as "stage.check", that this machine has no use for; the stages are not among `stages`
    not_applicable: tuple[str, ...] = ()
    order: tuple[str, ...] = ()  # the names of all stages, those too; empty where there are no others

    def with_phases(self, place: str, phases: Mapping[str, str], needed: tuple[str, ...]) -> Plan:
        """The plan with stages like one of its own in that place, by name and pattern, and more needs."""
        like = self.stage(place)
        own = (
            msgspec.structs.replace(like, name=name, title=f"{name} is built", begins=begins)
            for name, begins in phases.items()
        )
        at = self.stages.index(like)
        needs = joined([self.needs, Needs(seed=KernelNeeds(built_in=needed))])
        stages = (*self.stages[:at], *own, *self.stages[at + 1 :])
        return msgspec.structs.replace(self, stages=stages, needs=needs)

    @property
    def takes_out(self) -> bool:
        """Whether anything is taken out of the guest: a machine with a fast way for that is worth it then."""
        return any(stage.produced or stage.fetches for stage in self.stages)

    @property
    def end_marker(self) -> Marker | None:
        """The line that ends the run well, where it is a line."""
        return Marker("end", re.compile(self.end_line)) if self.end_line else None

    @property
    def goes_on(self) -> bool:
        """Whether stages come behind the line that ends the run well: the shell that stays is asked there."""
        return bool(self.end_line) and any(stage.begins == self.end_line for stage in self.stages)

    @property
    def last_at_shell(self) -> Stage | None:
        """The last stage that asks the shell or types to it, if any does."""
        return next((stage for stage in reversed(self.stages) if stage.checks or stage.types), None)

    @property
    def unheard(self) -> float:
        """Seconds from power-on for which nothing comes by design, unscaled."""
        return sum(stage.unheard for stage in takewhile(lambda stage: stage.unheard, self.stages))

    def is_timed(self, stage: Stage) -> bool:
        """Whether time ends a stage, because no line does: the next one begins without."""
        later = self.stages[self.stages.index(stage) + 1 :]
        return bool(stage.unheard) and not (later and later[0].begins)

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
            if failure.screen in {screen, "too"} and (not failure.stages or stage.name in failure.stages)
            if not (failure.prompt and stage.asks)
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
