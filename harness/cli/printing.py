"""Results on stdout and everything else on stderr, for people or as JSON."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@cache
def out() -> Console:
    """Where results go."""
    from rich.console import Console

    return Console(soft_wrap=False, emoji=False)


@cache
def err() -> Console:
    """Where progress and errors go."""
    from rich.console import Console

    return Console(stderr=True, emoji=False)


def print_json(value: object) -> None:
    """Print a result for programs; what JSON has no word for is printed as text."""
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode()
    sys.stdout.write(text + "\n")


def print_wide(table: Table) -> None:
    """Print a table whose cells are never cut: paths are for copying."""
    from rich.console import Console

    width = max(out().width, Console(width=10_000).measure(table).maximum)
    Console(width=width).print(table, soft_wrap=True)
