"""The protocol of progress bars; `report.progress` shows them."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Task(Protocol):
    """One piece of work that is going on."""

    def update(self, fraction: float, detail: str = "") -> None:
        """Say how much of the work is done, from 0 to 1, and what else there is to know, such as a rate."""


class Progress(Protocol):
    """Where tasks are shown."""

    def task(self, title: str) -> AbstractContextManager[Task]:
        """Show a task for as long as the context is open."""

    def note(self, text: str) -> None:
        """Say something once."""


class Quiet:
    """Shows nothing: for tests and for programs that read our output."""

    @contextmanager
    def task(self, title: str) -> Iterator[Task]:  # noqa: ARG002 - part of the protocol
        """Take a task and show nothing of it."""
        yield self

    def update(self, fraction: float, detail: str = "") -> None:
        """Ignore how far the work is."""

    def note(self, text: str) -> None:
        """Ignore what is said."""
