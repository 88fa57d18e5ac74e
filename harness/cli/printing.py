"""Results on stdout, all else on stderr, as text or JSON."""

from __future__ import annotations

import errno
import io
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, TextIO

from harness.core.errors import Ending
from harness.core.outcome import Outcome

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
    from typing_extensions import Buffer


class OutputLost(Ending):
    """The standard output takes no more: full, closed, or its reader has gone."""

    outcome = Outcome.INFRA

    def __init__(self, error: OSError) -> None:
        why = "it is closed" if error.errno == errno.EBADF else error.strerror
        super().__init__(f"cannot write to the standard output: {why}")
        self.reader_gone = error.errno == errno.EPIPE  # as with `| head`: no mistake


class _Results(io.FileIO):
    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # for what is flushed once more at exit
            raise OutputLost(error) from error


class _Remarks(io.FileIO):
    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError:  # a run of hours does not end because its progress is not shown
            return memoryview(data).nbytes


def open_streams() -> None:
    """Have all that is printed go through streams whose failures end the program with one sentence."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: no file that is opened later may take its number
            os.open(os.devnull, os.O_RDONLY)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as we run
    if sys.stdout is sys.__stdout__:
        sys.stdout = _opened(_Results(1, "wb", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _opened(_Remarks(2, "wb", closefd=False), sys.stderr)


def _opened(raw: io.FileIO, like: TextIO | None) -> TextIO:
    """A text stream; a terminal without Unicode gets a ? instead of a ✓."""
    encoding = like.encoding if like else "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "replace", line_buffering=raw.isatty())


@cache
def out() -> Console:
    """Where results go."""
    from rich.console import Console

    return Console(markup=False, emoji=False)


@cache
def err() -> Console:
    """Where progress and errors go."""
    from rich.console import Console

    return Console(stderr=True, markup=False, emoji=False)


def say(line: str | Text = "", style: str = "") -> None:
    """Print a line of a result."""
    from harness.report import text

    text.say(out(), line, style)


def remark(line: str | Text, style: str = "") -> None:
    """Print a line that is no result."""
    from harness.report import text

    text.say(err(), line, style)


def print_json(value: object) -> None:
    """Print a result for programs; what JSON has no word for is printed as text."""
    import json

    import msgspec

    # A name may have bytes that are no UTF-8, which only \u escapes can carry.
    document = msgspec.to_builtins(value, str_keys=True, enc_hook=str)
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def print_wide(table: Table) -> None:
    """Print a table whose cells are never cut: paths are for copying."""
    from rich.console import Console

    width = max(out().width, Console(width=10_000, markup=False).measure(table).maximum)
    Console(width=width, markup=False, emoji=False).print(table, soft_wrap=True)
