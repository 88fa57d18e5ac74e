"""What a console said last: evidence for whatever became of the run."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from harness.console.lines import MAX_LINE, LineCleaner

if TYPE_CHECKING:
    from harness.console.lines import Block, Line
    from harness.console.recorder import Console

_PLENTY = 8192  # bytes that hold enough lines for evidence, so that those before can be forgotten
_CONTEXT = 8  # console lines kept as evidence when nothing else explains the end
_SEARCHED = 1 << 20  # bytes of the console that are searched for what stands on the screen


class Recent:
    """The last lines of a console, and what came after them.

    Args:
        console: Where it is recorded.
    """

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
