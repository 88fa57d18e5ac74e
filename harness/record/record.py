"""Writes the record of a run while it goes on.

`docs/records.md` describes the files.
"""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from threading import RLock
from typing import TYPE_CHECKING, Any, Self

import msgspec

import harness
from harness.core import paths
from harness.core.errors import ConfigError, explaining
from harness.core.files import write_atomically
from harness.machine.protocol import MachineRecord  # noqa: TC001 - msgspec reads annotations at run time
from harness.record.reserve import Reserve
from harness.stages.events import (
    CheckpointRecord,
    Event,
    Fetched,
    FetchedRecord,
    Produced,
    ProducedRecord,
    Saved,
    StageBegan,
    StageEnded,
    TakenOver,
    TakenOverRecord,
    Typed,
)
from harness.stages.verdict import CheckResult, StageResult, Verdict  # noqa: TC001 - msgspec reads annotations at run time

if TYPE_CHECKING:
    from pathlib import Path

    from harness.console.lines import Block
    from harness.console.recorder import Recorder
    from harness.stages.verdict import RunResult


_AT_ONCE = 0.01  # seconds; lines of a block that came within them have the time of the first one


class KernelRecord(msgspec.Struct, frozen=True):
    """A kernel that took part."""

    role: str
    name: str
    version: str
    bits: int
    sha256: str
    package: str = ""


class ImageRecord(msgspec.Struct, frozen=True):
    """An image that took part; `digest` is `sha256`, or a digest by extents, and "" in older records."""

    name: str
    kind: str
    size: int
    sha256: str
    digest: str = ""


class HostRecord(msgspec.Struct, frozen=True):
    """The host that carried it; `memory` in bytes."""

    system: str
    processor: str
    cores: int
    memory: int


class ResumedRecord(msgspec.Struct, frozen=True):
    """The checkpoint that a run went on from: the run that saved it, at which stage, and when."""

    checkpoint: str
    run: str
    stage: str
    saved: str


class PackageRecord(msgspec.Struct, frozen=True):
    """A package that the payload built, or was building when the run ended."""

    name: str
    occurrence: int
    seconds: float
    done: bool

    @property
    def title(self) -> str:
        """Name and, from the second on, occurrence."""
        return self.name if self.occurrence == 1 else f"{self.name} ({self.occurrence})"


class RunDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `run.json`. Times are UTC in ISO 8601, durations seconds."""

    id: str
    harness: str
    recipe: str
    plan: str
    recipe_sha256: str
    plan_sha256: str
    started: str
    pid: int
    ended: str = ""
    host: HostRecord
    kernels: tuple[KernelRecord, ...] = ()
    images: tuple[ImageRecord, ...] = ()
    machine: MachineRecord | None = None
    resumed: ResumedRecord | None = None
    checkpoints: tuple[CheckpointRecord, ...] = ()
    taken_over: TakenOverRecord | None = None
    produced: ProducedRecord | None = None
    fetched: tuple[FetchedRecord, ...] = ()
    verdict: Verdict | None = None
    stages: tuple[StageResult, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    facts: dict[str, str] = msgspec.field(default_factory=dict)
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    not_applicable: tuple[str, ...] = ()
    instrumented: bool = False
    packages: tuple[PackageRecord, ...] = ()
    checksums: int = 0
    notes: tuple[str, ...] = ()


class RunRecord:
    """Writes a run's record as the run goes on. A context manager and a `Listener`.

    The run's name ends with `name`; `document` has fields of `RunDocument` that are known from the start.
    """

    def __init__(self, runs: Path, name: str, **document: Any) -> None:
        hint = "choose another directory with --runs DIR"
        paths.writable_directory(runs, "run record", hint)
        started = datetime.now(UTC)
        safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
        run = f"{started:%Y%m%d-%H%M%S}-{safe[-60:]}-{os.urandom(2).hex()}"
        self.directory = runs / run
        with explaining(ConfigError, f"cannot create {self.directory}", hint):
            self.directory.mkdir()
        self._reserve = Reserve(self.directory)
        self._recorder: Recorder | None = None
        self.stage = "start"  # the stage that the run is in
        self._changing = RLock()  # a user at the keyboard is heard in a thread of its own
        self.document = RunDocument(
            id=run,
            harness=harness.__version__,
            started=_timestamp(started),
            pid=os.getpid(),
            host=_host(),
            **document,
        )

    def __enter__(self) -> Self:
        # Held until the process is gone, however it went: readers tell by it whether the run goes on.
        self._held = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._held, fcntl.LOCK_EX)
        self._reserve.take()
        self._events = (self.directory / "events.jsonl").open("ab", buffering=0)
        self._log = (self.directory / "console.log").open("ab")
        self.update()
        return self

    def __exit__(self, *_: object) -> None:
        self._reserve.give()
        self._reserve.write(self._close)
        os.close(self._held)

    def _close(self) -> None:
        self._events.close()
        self._log.close()

    def update(self, **changes: Any) -> None:
        """Change fields of `run.json`; a reader sees the old file or the new one."""
        with self._changing:
            self.document = msgspec.structs.replace(self.document, **changes)
            text = msgspec.json.format(msgspec.json.encode(self.document), indent=1).decode()
            self._reserve.write(lambda: write_atomically(self.directory / "run.json", text + "\n"))

    def decide(self, result: RunResult, **changes: Any) -> None:
        """Write what the verdict is, and what else is known then; the machine may still be there."""
        self.update(
            **changes,
            verdict=result.verdict,
            stages=result.stages,
            checks=result.checks,
            facts=result.facts,
            not_applicable=result.not_applicable,
        )

    def finish(self, result: RunResult, **changes: Any) -> None:
        """Write how the run ended, also on a full disk; it is the last that is written to the record."""
        self._reserve.give()
        self.decide(result, **changes)
        self.update(ended=_timestamp(datetime.now(UTC)))

    def watch(self, recorder: Recorder) -> None:
        """Take times from this recorder from now on."""
        self._recorder = recorder

    def event(self, event: Event) -> None:
        """Write an event, with the time since the machine started; stages go to `run.json` as they end."""
        if isinstance(event, StageBegan):
            self.stage = event.stage
        elif isinstance(event, StageEnded):
            self.update(stages=(*self.document.stages, event.result))
        elif isinstance(event, Saved):
            saved = msgspec.convert(event, CheckpointRecord, from_attributes=True)
            self.update(checkpoints=(*self.document.checkpoints, saved))
        elif isinstance(event, TakenOver):
            self.update(taken_over=msgspec.convert(event, TakenOverRecord, from_attributes=True))
        elif isinstance(event, Produced):
            self.update(produced=msgspec.convert(event, ProducedRecord, from_attributes=True))
        elif isinstance(event, Fetched):
            fetched = msgspec.convert(event, FetchedRecord, from_attributes=True)
            self.update(fetched=(*self.document.fetched, fetched))
        moment = {"seconds": round(self._recorder.seconds, 6) if self._recorder else 0.0}
        line = msgspec.json.encode(moment | msgspec.to_builtins(event)) + b"\n"
        self._reserve.write(lambda: self._events.write(line))

    def typed(self, data: bytes, offset: int, by_hand: bool) -> None:
        """Write what was typed to the guest."""
        try:
            text, bare = data.decode(), ""
        except UnicodeDecodeError:  # a character that two reads have cut, or none
            text, bare = data.decode("utf-8", "backslashreplace"), data.hex()
        self.event(Typed(text, offset, by_hand, bare))

    def heard(self, block: Block) -> None:
        """Write console lines, each with the time at which its first byte came."""
        start, end = block.start, block.end
        came = self._recorder.arrivals(start, end) if self._recorder else [(start, 0.0)]
        told = came[:1]
        for offset, seconds in came[1:]:
            if seconds - told[-1][1] >= _AT_ONCE:
                told.append((offset, seconds))
        stamps = [b"%12.6f " % seconds for _, seconds in told]
        parts = block.parts(offset for offset, _ in told[1:])
        text = b"".join(_stamped(part, stamp) for part, stamp in zip(parts, stamps, strict=True))
        self._reserve.write(lambda: self._log.write(text))
        self._reserve.write(self._log.flush)


def _stamped(lines: bytes, stamp: bytes) -> bytes:
    """Write the same stamp in front of each line."""
    return stamp + lines[:-1].replace(b"\n", b"\n" + stamp) + b"\n" if lines else b""


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _host() -> HostRecord:
    system = os.uname()
    return HostRecord(
        system=f"{system.sysname} {system.release} {system.machine}",
        processor=processor(),
        cores=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def processor() -> str:
    """The name of the host's processor."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - a file of the kernel
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return os.uname().machine
