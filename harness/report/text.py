"""Lines and tables for terminals: no markup, never cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

MARKS: Final = {True: Text("✓", "green"), None: Text("·", "yellow"), False: Text("✗", "red")}


def say(console: Console, text: str | Text = "", style: str = "") -> None:
    """Print a line; longer ones than the terminal are left to it to wrap, so that paths can be copied."""
    console.print(text, style=style or None, soft_wrap=True, highlight=False, markup=False)


def table(*titles: str) -> Table:
    """An empty table; the column of a title that begins with > is aligned to the right."""
    empty = Table(box=None, pad_edge=False)
    for title in titles:
        empty.add_column(title.removeprefix(">"), justify="right" if title.startswith(">") else "left")
    return empty


class LiveLines:
    """Prints lines, and shows below them what goes on, where there is a terminal. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    @property
    def is_live(self) -> bool:
        """Whether what goes on is shown."""
        return self._live is not None

    def show(self, renderable: RenderableType) -> None:
        """Show what goes on."""
        if self._live:
            self._live.update(renderable, refresh=True)

    def say(self, line: Text) -> None:
        """Print a line."""
        self._console.print(line, highlight=False, soft_wrap=True)
