"""A person at a run, as the runner sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harness.console.window import Window


class Operator(Protocol):
    """Has the keyboard when the run says so."""

    @property
    def wants_shell(self) -> bool:
        """Whether they want the shell when the checks are done."""

    @property
    def window(self) -> Window | None:
        """The size of their terminal."""

    def watch(self) -> None:
        """From now on the plan only watches."""

    def listen(self) -> None:
        """From now on the harness types, and the person does not."""

    def use_shell(self, offset: int) -> None:
        """Give them the shell, whose prompt comes after this raw offset, until they leave it."""


class NoOperator:
    """No person."""

    wants_shell = False
    window = None

    def watch(self) -> None:
        """Ignore it."""

    def listen(self) -> None:
        """Ignore it."""

    def use_shell(self, offset: int) -> None:
        """Ignore it."""
