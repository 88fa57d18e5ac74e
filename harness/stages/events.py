"""Events of a run, and who hears of them or takes part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from harness.stages.verdict import CheckResult, StageResult, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.console.lines import Block
    from harness.console.window import Window


class Event(msgspec.Struct, frozen=True, tag_field="event", tag=True):
    """Something that happened."""


class StageBegan(Event, frozen=True):
    """A stage began at this byte of the console."""

    stage: str
    offset: int


class StageEnded(Event, frozen=True):
    """A stage ended."""

    result: StageResult


class Seen(Event, frozen=True):
    """A note or a failure of the plan was seen on the console, or the shell refused a setting."""

    marker: str
    text: str
    offset: int


class Packaged(Event, frozen=True):
    """A package of the payload began, moved on or was done with; `seconds` since it began."""

    name: str
    occurrence: int
    phase: str
    done: bool
    seconds: float

    @property
    def title(self) -> str:
        """Name and, from the second on, occurrence."""
        return self.name if self.occurrence == 1 else f"{self.name} ({self.occurrence})"


class CheckBegan(Event, frozen=True):
    """A check was sent to the shell."""

    stage: str
    name: str


class CheckEnded(Event, frozen=True):
    """A check was answered."""

    result: CheckResult


class Typed(Event, frozen=True):
    """Bytes were typed to the guest when this many had been received.

    `by_hand`: by a person. `bytes` are the bytes in hexadecimal where they are no UTF-8, and empty otherwise.
    """

    text: str
    offset: int
    by_hand: bool = False
    bytes: str = ""


class TakenOverRecord(msgspec.Struct, frozen=True):
    """A person typed while the plan only watched: first in this stage, then, and with so much heard."""

    stage: str
    seconds: float  # since the console was attached
    offset: int


class TakenOver(TakenOverRecord, Event, frozen=True):
    """A person began to type while the plan only watched."""


class Resumed(Event, frozen=True):
    """The run goes on from a checkpoint, which another run saved when a stage began."""

    checkpoint: str
    run: str
    stage: str


class CheckpointRecord(msgspec.Struct, frozen=True):
    """A checkpoint that a run saved, or found already there."""

    checkpoint: str
    stage: str
    seconds: float  # how long the guest was kept waiting
    size: int  # what it takes, in bytes
    new: bool  # false where an equal checkpoint was there


class Saved(CheckpointRecord, Event, frozen=True):
    """The machine was saved when a stage began."""


class Gap(Event, frozen=True):
    """The serial adapter was gone for so many seconds after `offset` bytes; what came meanwhile is lost."""

    seconds: float
    offset: int


class ProducedRecord(msgspec.Struct, frozen=True):
    """What the guest had in the plan's directories when a stage listed them.

    Without a stage it is what was new in the payload's root, which is a directory of the host's, in the end.
    """

    stage: str
    files: int
    size: int  # of all, in bytes
    seconds: float  # what listing took
    fast: bool  # whether the list came through the virtio port


class Produced(ProducedRecord, Event, frozen=True):
    """The guest's files were listed."""


class FetchedRecord(msgspec.Struct, frozen=True):
    """A file of the guest that is in the record, where it is `file`; `size` in bytes."""

    stage: str
    path: str
    file: str
    size: int
    seconds: float
    fast: bool


class Fetched(FetchedRecord, Event, frozen=True):
    """A file of the guest was copied into the record."""


class Ended(Event, frozen=True):
    """The run is decided."""

    verdict: Verdict


class Listener(Protocol):
    """Takes events and lines as they come."""

    def event(self, event: Event) -> None:
        """Take an event."""

    def heard(self, block: Block) -> None:
        """Take console lines that were completed together."""


class Audience:
    """Hands on all that is heard to each of its listeners, in order."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self._listeners = listeners

    def event(self, event: Event) -> None:
        """Hand on an event."""
        for listener in self._listeners:
            listener.event(event)

    def heard(self, block: Block) -> None:
        """Hand on lines."""
        for listener in self._listeners:
            listener.heard(block)


class Operator:
    """A person who has the keyboard when the run says so; by itself, no person."""

    @property
    def wants_shell(self) -> bool:
        """Whether they want the shell when the checks are done."""
        return False

    @property
    def window(self) -> Window | None:
        """The size of their terminal."""
        return None

    def watch(self) -> None:
        """From now on the plan only watches."""

    def listen(self) -> None:
        """From now on the harness types, and the person does not."""

    def use_shell(self, offset: int) -> None:
        """Give them the shell, whose prompt comes after this raw offset, until they leave it."""
