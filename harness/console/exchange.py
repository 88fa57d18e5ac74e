"""Asks a guest's shell; finds its answer among echo and kernel messages."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pexpect

from harness.console.dialogue import Dialogue
from harness.console.lines import STAMP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.console.recorder import Recorder

PATIENCE = 1.0  # seconds of silence before something is typed again; doubles each time
_PROBES = 3
_POLL_SECONDS = 0.1  # how often the clock is asked


class _ShellFailed(Exception):  # noqa: N818
    """The shell did not answer; what that means is for the plan to say."""

    def __init__(self, phase: str, offset: int) -> None:
        super().__init__(f"{self.__doc__} ({phase})")
        self.phase = phase  # what it was asked for: "handshake", "settings", "upload" or "run"
        self.offset = offset  # raw offset up to which the console was read


class ShellTimeout(_ShellFailed):
    """The guest's shell did not answer in time."""


class ShellGone(_ShellFailed):
    """The console ended while the guest's shell was at work."""


class Asker:
    """Types commands at the prompt of a shell.

    What is typed should be harmless when characters of it get lost, and harmless when typed twice. Without
    quotes, a lost character cannot leave the shell waiting for the other one.
    """

    def __init__(
        self, recorder: Recorder, offset: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._dialogue = Dialogue(recorder, offset)
        self._clock = clock
        self._deadline = 0.0
        self.phase = ""

    def begin(self, phase: str, timeout: float) -> None:
        """Set what the following questions are for, and the seconds that all of them may take."""
        self.phase = phase
        self._deadline = self._clock() + timeout

    @property
    def offset(self) -> int:
        """Raw offset up to which the console was read."""
        return self._dialogue.offset

    def type(self, text: str) -> None:
        """Type a line and hear nothing."""
        self._dialogue.sendline(text)

    def ask(self, command: str, patience: float = PATIENCE) -> Iterator[str]:
        """Type a command and yield the lines that follow, up to the end of its answer or a long silence.

        The end is a word that is typed in two halves, so that the echo does not hold it. Lines that the
        kernel interrupted are healed, kernel messages are left out.
        """
        first, second = os.urandom(4).hex(), os.urandom(4).hex()
        # The newline in front ends what a damaged line may have left behind.
        self._dialogue.send(f"\n{command};printf %s%s\\\\n {first} {second}\n")
        interrupted = ""
        silent_until = self._clock() + patience
        while (now := self._clock()) < min(silent_until, self._deadline):
            event = self._dialogue.expect_exact(["\n", pexpect.TIMEOUT, pexpect.EOF], _POLL_SECONDS)
            if event == 1:
                continue
            if event == 2:
                raise ShellGone(self.phase, self.offset)
            line = interrupted + (self._dialogue.before or "")
            if stamp := STAMP.search(line):
                interrupted = line[: stamp.start()]
                continue
            interrupted = ""
            silent_until = now + patience
            yield line.rstrip("\r")
            if first + second in line:
                return
        if now >= self._deadline:
            raise ShellTimeout(self.phase, self.offset)

    def probe(self, command: str, answer: str) -> bool:
        """Whether the command is answered by a line with `answer`, which its echo must not hold."""
        for attempt in range(_PROBES):
            lines = list(self.ask(command, PATIENCE * 2**attempt))
            if any(answer in " ".join(line.split()) for line in lines):
                return True
        return False

    def handshake(self) -> None:
        """Make sure that a shell answers."""
        first, second = os.urandom(4).hex(), os.urandom(4).hex()
        if not self.probe(f"printf %s%s\\\\n {first} {second}", first + second):
            raise ShellTimeout(self.phase, self.offset)
