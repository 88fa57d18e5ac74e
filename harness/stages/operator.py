"""Somebody who takes part in a run, as the run sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harness.console.window import Window


class Person(Protocol):
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
        """From now on the harness types, and nobody else does."""

    def use_shell(self, offset: int) -> None:
        """Give them the shell, whose prompt comes after this raw offset, until they leave it."""


class Nobody:
    """No person."""

    wants_shell = False
    window = None

    def watch(self) -> None:
        """Nobody is told."""

    def listen(self) -> None:
        """Nobody is told."""

    def use_shell(self, offset: int) -> None:
        """Nobody wants it."""
