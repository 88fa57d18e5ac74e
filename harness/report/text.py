"""Lines and tables for terminals, as they are: no markup, and never cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

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
