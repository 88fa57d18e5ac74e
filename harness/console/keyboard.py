"""Keyboard ownership: none, the harness, or the user."""

from __future__ import annotations

from enum import Enum
from threading import Lock
from typing import TYPE_CHECKING

from harness.console.transport import ConsoleClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.console.recorder import Recorder


class Phase(Enum):
    """What a run is doing, as far as the keyboard is concerned."""

    WATCHED = "the plan only watches now, and keys go nowhere; --takeover lets you type"
    ASKED = "the harness is asking the shell, and keys go nowhere until it is done"
    YOURS = ""


_FULL = "the guest does not read what is typed; keys go nowhere until it does"


class Keyboard:
    """The keyboard of a guest; every method may be called from any thread.

    The harness types through the recorder and takes no notice of this; it says with `turn` when it does.
    After that, nothing that a person types reaches the guest: not even what was being typed at that moment.
    """

    def __init__(self, recorder: Recorder, *, takeover: bool, taken: Callable[[int], None]) -> None:
        self._recorder = recorder
        self._takeover = takeover
        self._taken = taken
        self._typing = Lock()
        self.phase = Phase.WATCHED  # what the run is doing; `turn` changes it
        self._refused = ""  # what was said last
        self.touched = False  # whether a person has taken over while the plan watched
        self.typed_at = 0  # how much the guest had said when a person last typed, in bytes

    @property
    def is_persons(self) -> bool:
        """Whether a person may type now."""
        return self.phase == Phase.YOURS or (self.phase == Phase.WATCHED and self._takeover)

    def turn(self, phase: Phase) -> Phase:
        """Begin another phase, and return the one before; no key is typed in between."""
        with self._typing:
            before, self.phase = self.phase, phase
            self._refused = ""
        return before

    def type(self, data: bytes) -> str:
        """Type what a person typed, or not: then why, in words, once in each phase."""
        with self._typing:
            word = self._type(data)
            said, self._refused = self._refused, word
            return "" if word == said else word

    def _type(self, data: bytes) -> str:
        if not self.is_persons:
            return self.phase.value
        if not self._recorder.takes_input:
            return _FULL
        if self.phase == Phase.WATCHED and not self.touched:
            self._taken(self._recorder.size)
            self.touched = True
        self.typed_at = self._recorder.size
        try:
            self._recorder.write(data, by_hand=True)
        except ConsoleClosed:
            return "the guest's console is gone"
        return ""

    def answer(self, data: bytes) -> None:
        """Pass on what the user's terminal answered to the guest; that is no takeover."""
        if self.phase == Phase.YOURS or self.touched:
            self.type(data)

    def slip_in(self, line: str, *, shown: int) -> bool:
        """Type a line of the harness's own at an empty prompt; whether it could be.

        Args:
            line: With its newline; a person's keys come before or after all of it.
            shown: Raw offset up to which the console was looked at, the prompt included: if anything was said
                or typed since then, the prompt may not be empty.
        """
        with self._typing:
            untouched = self._recorder.size == shown and self.typed_at < shown
            if self.phase != Phase.YOURS or not untouched or not self._recorder.takes_input:
                return False
            self._recorder.write(line.encode())
            return True
