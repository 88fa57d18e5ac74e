"""The window's size, and how a guest's shell learns of it."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, NamedTuple

from harness.console.keyboard import Keyboard, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


_SETTLED = 0.5  # seconds without another change after which a window has its size
# That which `Shell.restore` sets: bash's own without any settings, or that of other shells.
_PROMPT = re.compile(rb"(?:-?\w+-\d+\.\d+[#$]|\$) ")


class Window(NamedTuple):
    """The size of a terminal."""

    rows: int
    columns: int


def window_of(terminal: int) -> Window | None:
    """The size of a terminal, by its file descriptor; None if it is none, or has no size."""
    try:
        size = os.get_terminal_size(terminal)
    except OSError:
        return None
    return Window(size.lines, size.columns) if size.lines and size.columns else None


class Fitting:
    """Types the window's size at the guest's prompt, when it has changed and the prompt is empty.

    The prompt is that with which a person got the shell. Their own is another one, and then nothing is typed.
    """

    def __init__(self, keyboard: Keyboard, measure: Callable[[], Window | None]) -> None:
        self._keyboard = keyboard
        self._measure = measure
        self._changed: float | None = None  # when; None: the guest knows

    def change(self) -> None:
        """The window has another size; may be called from a signal handler."""
        self._changed = time.monotonic()

    def pause(self, line: bytes, shown: int) -> None:
        """The console pauses after an unfinished line, and was looked at up to this raw offset."""
        if self._keyboard.phase != Phase.YOURS:
            self._changed = None  # they are told when they get the shell
            return
        changed = self._changed
        if changed is None or time.monotonic() - changed < _SETTLED or not _PROMPT.fullmatch(line):
            return
        window = self._measure()
        if window and not self._keyboard.slip_in(stty(window), shown=shown):
            return
        if self._changed == changed:  # and not once more
            self._changed = None


def stty(window: Window) -> str:
    """The line that tells a shell's terminal the size of a window."""
    return f"stty rows {window.rows} cols {window.columns}\n"


@contextmanager
def resizing(changed: Callable[[], None]) -> Iterator[None]:
    """Call a function when the window changes its size."""
    if current_thread() is not main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        changed()

    before = signal.signal(signal.SIGWINCH, handle)
    try:
        yield
    finally:
        if current_thread() is main_thread():  # elsewhere it cannot be undone, and does no harm
            signal.signal(signal.SIGWINCH, before)
