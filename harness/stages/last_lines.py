"""The last lines of a console: evidence for how a run ended."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from harness.console.lines import MAX_LINE, Block, Line, LineCleaner
from harness.stages.error_lines import last_errors

if TYPE_CHECKING:
    from harness.console.recorder import Console

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
