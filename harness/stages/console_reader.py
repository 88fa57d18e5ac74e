"""Reads a console on, and knows when it has paused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harness.console.watcher import Watcher
from harness.stages.last_lines import LastLines

if TYPE_CHECKING:
    from harness.console.recorder import Console
    from harness.stages.events import Listener

BREATH = 0.01  # seconds between looks at a console
_READ_CHUNK = 1 << 17  # bytes that are looked at together, and at once where they are there


class ConsoleReader:
    """What was heard of a recorded console so far; the listener is told of all lines."""

    def __init__(self, recorder: Console, listener: Listener) -> None:
        self._recorder = recorder
        self._listener = listener
        self.offset = 0  # of the next raw byte to read
        self.watcher = Watcher()
        self.recent = LastLines(recorder)
        self.news = False  # whether anything was heard; taken back by what looks at the clocks
        self._standing: tuple[str, int] | None = None  # what a program said last, without an end, and where
        self._since = 0.0  # when that was all it had said, in host seconds

    def resume(self, offset: int) -> None:
        """Go on from a raw offset, before anything was heard."""
        self.offset = self.recent.end = offset
        self.watcher = Watcher(offset)

    def hear(self, timeout: float) -> bool:
        """Take what has come, once all before it was looked at; whether there is anything to look at."""
        if self.watcher.pending:
            return True
        data = self._recorder.read(self.offset, _READ_CHUNK, timeout)
        if timeout and len(data) < _READ_CHUNK and (data or self._recorder.ended):
            # Bytes come one by one; or as a flood, which the recorder takes faster while no thread asks for
            # the interpreter's lock; or no more will come that could wake us.
            time.sleep(min(timeout, BREATH))
            data += self._recorder.read(self.offset + len(data), _READ_CHUNK - len(data))
        if data:
            self.offset += len(data)
            self.recent.end = self.offset
            self.news = True
            if block := self.watcher.feed(data):
                self.recent.keep(block)
                self._listener.heard(block)
        return bool(data)

    @property
    def unfinished(self) -> bool:
        """Whether a program has begun a line and not ended it, when `has_paused` was asked last."""
        return self._standing is not None

    def has_paused(self, seconds: float) -> bool:
        """Whether an unfinished line has stood there for so long, or for good, so that it can be a prompt.

        Kernel messages do not end the pause: at a prompt only the kernel speaks.
        """
        if self.watcher.pending:
            return False
        line = self.watcher.standing
        standing = (line.text, line.start) if line else None
        if standing != self._standing:
            self._standing, self._since = standing, time.monotonic()
        if self._recorder.ended:
            return self.offset == self._recorder.size
        return standing is not None and time.monotonic() - self._since >= seconds

    @property
    def is_over(self) -> bool:
        """Whether every line was taken by who waits for it: the machine may end before we read that far."""
        return self._recorder.ended and self.offset == self._recorder.size and not self.watcher.pending
