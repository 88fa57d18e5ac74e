"""Several listeners as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.console.lines import Block
    from harness.stages.events import Event, Listener


class Audience:
    """Hands on all that is heard to each of its listeners, in order."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def event(self, event: Event) -> None:
        """Hand on an event."""
        for listener in self._listeners:
            listener.event(event)

    def heard(self, block: Block) -> None:
        """Hand on lines."""
        for listener in self._listeners:
            listener.heard(block)
