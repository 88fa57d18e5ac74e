"""Plays a recorded console in the terminal at its own pace."""

from __future__ import annotations

import heapq
import os
import select
import sys
import termios
import time
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.record.reading import Mark

_PAUSE, _LEAVE = b" ", b"q"


def play(
    pieces: Iterable[tuple[float, bytes]], *, speed: float = 1.0, idle_limit: float | None = None
) -> bool:
    """Write pieces of output to the terminal when their time has come; whether it played to the end.

    The space bar pauses and goes on, q leaves; without a terminal as stdin it plays to the end. Pieces have
    seconds, rising; a silence lasts no longer than `idle_limit` of them.
    """
    with _keyboard() as keys:
        sys.stdout.flush()
        due = time.monotonic()
        before: float | None = None
        for seconds, data in pieces:
            gap = 0.0 if before is None else seconds - before
            before = seconds
            if idle_limit is not None:
                gap = min(gap, idle_limit)
            due += gap / speed
            while (left := due - time.monotonic()) > 0:
                pressed = _pressed(keys, left)
                if pressed == _PAUSE:
                    paused = time.monotonic()
                    while (pressed := _pressed(keys, None)) not in (_PAUSE, _LEAVE, b""):
                        pass
                    pressed = pressed or _LEAVE  # the end of the keyboard
                    due += time.monotonic() - paused
                if pressed == _LEAVE:
                    return False
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    return True


def with_typed(pieces: Iterable[tuple[float, bytes]], typed: Iterable[Mark]) -> Iterator[tuple[float, bytes]]:
    """Put what was typed between pieces of output, at its time: what a person typed in inverse letters."""
    keys = (
        (mark.seconds, f"\x1b[{7 if mark.by_hand else 2}m⌨ {mark.text!r}\x1b[0m".encode()) for mark in typed
    )
    return heapq.merge(pieces, keys, key=lambda piece: piece[0])


def _pressed(keys: list[int], timeout: float | None) -> bytes:
    """A key that is pressed within so many seconds, or b""."""
    ready = select.select(keys, [], [], timeout)[0]
    return os.read(ready[0], 1) if ready else b""


@contextmanager
def _keyboard() -> Iterator[list[int]]:
    """The terminal, if there is one, for single keys without echo; Ctrl-C stays what it is."""
    stdin = sys.stdin.fileno()
    if not os.isatty(stdin):
        yield []
        return
    before = termios.tcgetattr(stdin)
    tty.setcbreak(stdin)
    try:
        yield [stdin]
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
