"""Reads run records, finished or not."""

from __future__ import annotations

import fcntl
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from harness.console.cast import pieces
from harness.core.errors import ConfigError, explaining
from harness.record.console_log import ConsoleTail, TimedLine, opened
from harness.record.record import RunDocument
from harness.stages.events import StageBegan, TakenOver, Typed

if TYPE_CHECKING:
    from collections.abc import Iterator


_KINDS = (b'"event":"StageBegan"', b'"event":"Typed"', b'"event":"TakenOver"')
_MENTIONED = 5  # runs that an error names


class RunState(StrEnum):
    """Whether a run goes on."""

    RUNNING = "running"
    ENDED = "ended"
    KILLED = "killed"  # its harness is gone, and left no verdict


class Mark(NamedTuple):
    """Something that belongs to a place on the console."""

    offset: int  # raw offset
    text: str  # name of the stage that begins there, or what was typed
    by_hand: bool = False  # whether a person typed it
    seconds: float = 0.0  # when, in host seconds since the console was attached


class RunSummary(msgspec.Struct, frozen=True):
    """A run in a line."""

    id: str  # name of the record
    directory: str  # the record
    recipe: str  # name of the recipe
    kernels: tuple[str, ...]  # names of the kernels that took part
    state: str  # "running", "ended" or "killed"
    outcome: str  # how it ended; "" when there is no verdict
    stage: str  # the stage in which it was decided, or that it is or was in
    seconds: float  # host seconds of the stages that have ended
    by_hand: bool = False  # whether a person took over, so that the outcome is not the plan's alone


class _TypedMoment(Typed, frozen=True, tag="Typed"):
    """What was typed, with the time that the record adds."""

    seconds: float = 0.0


class Reading(msgspec.Struct, frozen=True):
    """A run's record, as it was when it was looked at."""

    directory: Path  # the record
    document: RunDocument  # its `run.json`
    state: RunState  # whether the run goes on

    @property
    def raw(self) -> Path:
        """The console's bytes."""
        return self.directory / "console.raw"

    def stages(self) -> list[Mark]:
        """Where each stage began, in order."""
        return [Mark(e.offset, e.stage) for e in self._events() if isinstance(e, StageBegan)]

    def typed(self) -> list[Mark]:
        """What was typed to the guest, and where."""
        return [
            Mark(moment.offset, moment.text, moment.by_hand, moment.seconds)
            for moment in self._events()
            if isinstance(moment, _TypedMoment)
        ]

    def taken_over(self) -> list[Mark]:
        """Where a person took over, if one did."""
        return [Mark(e.offset, e.stage, by_hand=True) for e in self._events() if isinstance(e, TakenOver)]

    @property
    def stage(self) -> str:
        """The stage in which the run was decided, or that it is or was in."""
        if self.document.verdict is not None:
            return self.document.verdict.stage
        began = self.stages()
        return began[-1].text if began else "start"

    def summary(self) -> RunSummary:
        """The run in a line."""
        document = self.document
        return RunSummary(
            id=document.id,
            directory=str(self.directory),
            recipe=document.recipe,
            kernels=tuple(kernel.name for kernel in document.kernels),
            state=str(self.state),
            outcome=str(document.verdict.outcome) if document.verdict else "",
            stage=self.stage,
            seconds=sum(stage.wall for stage in document.stages),
            by_hand=document.taken_over is not None,
        )

    def ending(self) -> str:
        """How the run ended, in a sentence; a killed one has no verdict that says it."""
        if self.document.verdict is not None:
            verdict = self.document.verdict
            return f"{verdict.outcome} in stage {verdict.stage}: {verdict.reason}"
        if self.state == RunState.RUNNING:
            return f"it goes on, in stage {self.stage}"
        return f"the harness was killed in stage {self.stage}; what the guest said until then is recorded"

    def lines(self, start: int = 0, end: int | None = None) -> Iterator[TimedLine]:
        """The console's cleaned lines that begin between two raw offsets, in bounded memory."""
        tail = ConsoleTail(self.directory, start)
        while lines := tail.read():
            for line in lines:
                if end is not None and line.offset >= end:
                    return
                yield line
        yield from (line for line in tail.finish() if end is None or line.offset < end)

    def pieces(self, start: int = 0) -> Iterator[tuple[float, bytes]]:
        """The console's bytes from a raw offset on, each piece with the time at which it came."""
        with opened(self.raw) as source:
            source.seek(start)
            yield from pieces(source, self.directory / "console.idx")

    def span(self, since: str | None, until: str | None) -> tuple[int, int | None]:
        """Raw offsets between which stage `since` begins and stage `until` ends."""
        began = self.stages()
        names = [mark.text for mark in began]
        for name in (since, until):
            if name is not None and name not in names:
                reached = ", ".join(names) or "none"
                hint = f"stages that began: {reached}"
                raise ConfigError(f"{self.directory} did not reach the stage {name!r}", hint=hint)
        start = began[names.index(since)].offset if since else 0
        after = names.index(until) + 1 if until else len(names)
        return start, began[after].offset if after < len(names) else None

    def _events(self) -> Iterator[StageBegan | TakenOver | _TypedMoment]:
        decoder = msgspec.json.Decoder(StageBegan | TakenOver | _TypedMoment)
        with opened(self.directory / "events.jsonl") as events:
            for line in events:
                # The last line may be half written; other events are not asked for.
                if line.endswith(b"\n") and any(kind in line for kind in _KINDS):
                    yield decoder.decode(line)


def find_run(name: str, runs: Path) -> Path:
    """Find a record by its directory, by its id or any part of it, or as "last"."""
    if (Path(name) / "run.json").is_file():
        return Path(name)
    known = [path.parent for path in sorted(runs.glob("*/run.json"))]
    hint = "`harness runs` lists them; another directory is chosen with --runs DIR"
    if not known:
        raise ConfigError(f"there are no run records in {runs}", hint=hint)
    if name == "last":
        return known[-1]
    found = [path for path in known if name in path.name]
    if not found:
        raise ConfigError(f"no run record in {runs} has {name!r} in its name", hint=hint)
    exact = [path for path in found if path.name == name]
    if len(found) > 1 and not exact:
        some = ", ".join(path.name for path in found[-_MENTIONED:])
        raise ConfigError(f"{len(found)} run records have {name!r} in their names: {some}", hint=hint)
    return exact[0] if exact else found[0]


def read_run(directory: Path) -> Reading:
    """Read a record."""
    # Before the document: a run that ends meanwhile has its verdict in it.
    locked, path = _is_locked(directory), directory / "run.json"
    try:
        with explaining(ConfigError, f"cannot read {path}"):
            document = msgspec.json.decode(path.read_bytes(), type=RunDocument)
    except msgspec.DecodeError as error:
        hint = "take the version of the harness that wrote it"
        raise ConfigError(f"{path} is no record that this version reads: {error}", hint=hint) from error
    state = RunState.ENDED if document.ended else RunState.RUNNING if locked else RunState.KILLED
    return Reading(directory, document, state)


def read_runs(runs: Path) -> Iterator[Reading]:
    """The records in a directory, oldest first; what cannot be read is left out."""
    for path in sorted(runs.glob("*/run.json")):
        try:
            yield read_run(path.parent)
        except ConfigError:
            continue


def _is_locked(directory: Path) -> bool:
    """Whether a harness holds the record: it does from its first byte to its last breath."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
