"""Lets a person take over: the user's terminal attached to the guest's console."""

from __future__ import annotations

import os
import selectors
import sys
import termios
import tty
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.console.recorder import Recorder

_POLL_SECONDS = 0.5
_READ_LIMIT = 4096


def attach(recorder: Recorder, *, offset: int, escape: bytes = b"\x1d") -> None:
    """Show the console from raw `offset` on, and type to the guest what the user types.

    Returns when the user types `escape` (Ctrl-]), at the end of the input and at the end of the console.

    Raises:
        InfraError: The guest's side of the console is gone while the user types.
    """
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    sys.stdout.flush()
    left = Event()
    ended_read, ended_write = os.pipe()
    printer = Thread(target=_print, args=(recorder, offset, stdout, left, ended_write), daemon=True)
    try:
        with _raw_mode(stdin):
            printer.start()
            _type(recorder, stdin, ended_read, escape)
            left.set()
            recorder.wake()
            printer.join()
    finally:
        left.set()
        os.close(ended_read)


def _print(recorder: Recorder, offset: int, stdout: int, left: Event, ended: int) -> None:
    """Copy the console to the terminal until the user leaves or it ends; closes `ended` then."""
    try:
        while not left.is_set():
            data = recorder.read(offset, timeout=_POLL_SECONDS)
            if not data and recorder.ended and recorder.size <= offset:
                return
            offset += len(data)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(stdout, rest) :]
    finally:
        os.close(ended)


def _type(recorder: Recorder, stdin: int, ended: int, escape: bytes) -> None:
    """Copy the terminal to the console until the user leaves or the pipe `ended` is closed."""
    with selectors.PollSelector() as selector:  # epoll refuses a stdin that is a file
        selector.register(stdin, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            if any(key.fd == ended for key, _ in selector.select()):
                return
            data = os.read(stdin, _READ_LIMIT)
            typed, escaped, _ = data.partition(escape)
            if typed:
                recorder.write(typed)
            if escaped or not data:
                return


@contextmanager
def _raw_mode(stdin: int) -> Iterator[None]:
    """Have every key reach the guest, Ctrl-C too; a stdin that is no terminal stays as it is."""
    if not os.isatty(stdin):
        yield
        return
    before = termios.tcgetattr(stdin)
    tty.setraw(stdin)
    try:
        yield
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
