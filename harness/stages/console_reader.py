"""Reads a console on, and knows when it has paused."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from harness.console.lines import MAX_LINE, Block, Line, LineCleaner
from harness.console.watcher import Watcher
from harness.stages.error_lines import last_errors

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


REACH = 65536  # bytes; what came so far before a failure does not explain it
_PLENTY = 8192  # bytes that hold enough lines for evidence, so that those before can be forgotten
_CONTEXT = 8  # console lines kept as evidence when nothing else explains the end
_SEARCHED = 1 << 20  # bytes of the console that are searched for what stands on the screen


class LastLines:
    """The last lines of a recorded console, and what came after them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._blocks: deque[Block] = deque(maxlen=_CONTEXT)  # the last ones with any lines
        self.end = 0  # raw offset up to which the console was heard

    def keep(self, block: Block) -> None:
        """Take lines that were completed together."""
        if block.end - block.start > _PLENTY:
            self._blocks.clear()
        self._blocks.append(block)

    @property
    def lines(self) -> list[Line]:
        """The last lines."""
        return [line for block in self._blocks for line in block][-_CONTEXT:]

    def with_errors(self) -> list[Line]:
        """The last lines, and before them those that look like errors."""
        last = self.lines
        errors = last_errors(self.before(self.end))
        return [line for line in errors if not last or line.start < last[0].start] + last

    def before(self, end: int) -> list[Line]:
        """The lines before a raw offset, as far back as they can explain something."""
        start = max(0, end - REACH)
        cleaner = LineCleaner(start)
        block = cleaner.feed(self._console.read(start, REACH)[: end - start])
        return [*block, *cleaner.flush()][start > 0 :]

    @property
    def tail(self) -> Line:
        """What came after the last line, without a newline."""
        start = self._blocks[-1].end if self._blocks else 0
        cleaner = LineCleaner(start)
        cleaner.feed(self._console.read(start, limit=MAX_LINE)[: self.end - start])
        return cleaner.tail

    def said(self, text: str) -> bool:
        """Whether a line holds this text; of very much, the end counts."""
        start = max(0, self.end - _SEARCHED)
        cleaner = LineCleaner(start)
        while data := self._console.read(start)[: self.end - start]:
            start += len(data)
            block = cleaner.feed(data)
            if block and text.encode() in block.text:
                return True
        return text in cleaner.tail.text
