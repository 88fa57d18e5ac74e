"""Lets a person take part: the user's terminal on the guest's console."""

from __future__ import annotations

import atexit
import os
import re
import select
import selectors
import signal
import sys
import termios
import tty
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from threading import Event, Lock, Thread, current_thread, main_thread
from typing import TYPE_CHECKING, NamedTuple, Self

from harness.console.screen import Screen
from harness.console.window import Fitting, Window, resizing, window_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from harness.console.keyboard import Keyboard
    from harness.console.recorder import Recorder

_ESCAPE_TIMEOUT = 0.05  # seconds within which the rest of an escape sequence comes
_LAST_WORDS = 2.0  # seconds that showing the rest may take; a terminal may not take it at all
_PASTE_TIMEOUT = 0.02  # seconds within which more of what was pasted comes
_READ_LIMIT = 4096


def interrupt() -> None:
    """Do what Ctrl-C does in a terminal that is not ours."""
    signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)


class Terminal:
    """Shows a console on the user's terminal, and passes on what the user types, if the keyboard is theirs.

    A context manager: the terminal is as it was on leaving. Ctrl-] leaves. Ctrl-C goes
    where the other keys go; where they go nowhere, it interrupts the harness. A stdin that is no terminal is
    typed as it is, and its end leaves.

    Args:
        recorder: The console.
        keyboard: Who may type.
        offset: Raw offset from which on the console is shown.
        left: Called in a thread of its own when the user has left.
    """

    def __init__(
        self, recorder: Recorder, keyboard: Keyboard, *, offset: int, left: Callable[[], None] | None = None
    ) -> None:
        self._recorder = recorder
        self._keyboard = keyboard
        self._offset = offset
        self._on_leaving = left
        self._over = Event()  # left, or the console has ended and all of it is shown
        self._closing = Event()
        self._closed = Lock()  # taken for good by who closes
        self._failure: BaseException | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._stdin = sys.stdin.fileno()
        self._is_terminal = os.isatty(self._stdin)
        # Not stdout, which is for results and may be a file.
        name = os.ttyname(self._stdin) if self._is_terminal else ""
        self._output = os.open(name, os.O_WRONLY | os.O_NOCTTY) if name else os.dup(sys.stdout.fileno())
        self._stopped, self._stop = os.pipe()
        fitting = Fitting(self._keyboard, lambda: self.window)
        self._screen = Screen(
            self._recorder, self._output, offset=self._offset, paused=fitting.pause, ended=self._over.set
        )
        if self._is_terminal:
            self._stack.enter_context(_raw_mode(self._stdin, self._screen.restore))
            self._stack.enter_context(resizing(fitting.change))
        self._threads = [
            Thread(target=self._run, args=(lambda: self._screen.show(self._closing),), daemon=True),
            Thread(target=self._run, args=(self._type,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back, once what the guest has said is shown."""
        self.close()
        if not any(thread.is_alive() for thread in self._threads):  # a terminal may take nothing for ever
            for descriptor in (self._output, self._stopped, self._stop):
                os.close(descriptor)
        if self._failure is not None and kind is None:
            raise self._failure

    def close(self) -> None:
        """Give the terminal back; from any thread, and once."""
        if not self._closed.acquire(blocking=False):
            return
        try:
            self._closing.set()
            os.write(self._stop, b"x")
            self._recorder.wake()
            for thread in self._threads:
                if thread is not current_thread():
                    thread.join(_LAST_WORDS)
        finally:
            self._over.set()
            self._stack.close()

    def wait(self) -> None:
        """Wait until the user leaves or the console ends."""
        self._over.wait()

    def say(self, words: str) -> None:
        """Put in a line of our own, where the guest's output pauses."""
        if self._is_terminal:
            self._screen.say(words)
        else:
            sys.stderr.write(words + "\n")

    @property
    def window(self) -> Window | None:
        """The size of the terminal, if it is one that has any."""
        return window_of(self._output)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError:  # the terminal is gone
            self._leave()
        except BaseException as error:  # raised again in `__exit__`
            self._failure = error
            self._leave()

    def _leave(self) -> None:
        self._over.set()
        if self._on_leaving is not None and not self._closing.is_set():
            self._on_leaving()

    def _type(self) -> None:
        """Take what the terminal sends, until the user leaves."""
        reader = KeyReader()
        with selectors.PollSelector() as selector:  # epoll refuses a stdin that is a file
            selector.register(self._stdin, selectors.EVENT_READ)
            selector.register(self._stopped, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select(_ESCAPE_TIMEOUT if reader.waiting else None)}
                if self._stopped in ready:
                    return
                data = os.read(self._stdin, _READ_LIMIT) if ready else b""
                for meaning, sent in reader.feed(data) if data else reader.flush():
                    if meaning == Meaning.LEAVE:
                        self._leave()
                        return
                    self._take(meaning, sent)
                if ready and not data:
                    self._leave()
                    return

    def _take(self, meaning: Meaning, sent: bytes) -> None:
        if meaning == Meaning.ANSWER:
            self._keyboard.answer(sent)
        elif meaning == Meaning.INTERRUPT and not self._keyboard.is_persons:
            interrupt()
        elif word := self._keyboard.type(sent):
            self.say(f"{word} (Ctrl-] leaves)")


@contextmanager
def _raw_mode(stdin: int, undo: Callable[[], None]) -> Iterator[None]:
    """Have every key come to us, Ctrl-C too; however the process ends, the terminal is as it was."""
    before = termios.tcgetattr(stdin)
    restored = Event()

    def restore() -> None:
        if not restored.is_set():
            undo()
            with suppress(OSError, termios.error):
                # What was typed for the guest and came too late is not for the user's own shell.
                while select.select([stdin], [], [], _PASTE_TIMEOUT)[0] and os.read(stdin, _READ_LIMIT):
                    pass
                termios.tcsetattr(stdin, termios.TCSAFLUSH, before)
            restored.set()

    atexit.register(restore)  # if we are stopped between two lines
    try:
        tty.setraw(stdin)
        yield
    finally:
        restore()
        atexit.unregister(restore)


class Meaning(Enum):
    """What was sent.

    A guest may change how the terminal writes a key (xterm's modifyOtherKeys, the keyboard protocol of
    kitty), and may ask it questions that it answers as if they were typed. Neither may keep the user from
    leaving, or pass for something that the user typed.
    """

    TYPED = "typed"  # by the user
    ANSWER = "answer"  # of the terminal, to a question of the guest
    LEAVE = "leave"  # Ctrl-]
    INTERRUPT = "interrupt"  # Ctrl-C


class Sent(NamedTuple):
    """Some bytes of a terminal."""

    meaning: Meaning  # what they are
    data: bytes  # the bytes


# Ctrl-] and Ctrl-C (codes 93 and 99) as xterm's modifyOtherKeys and fixterms, or kitty, write them:
# https://invisible-island.net/xterm/modified-keys.html, https://sw.kovidgoyal.net/kitty/keyboard-protocol/.
# The modifiers are 1 + 4 for Ctrl, + 64 and 128 for the locks, which do not matter.
_CTRL = rb"(?:5|69|133|197)"
_KEY = rb"\x1b\[(?:%(code)s(?::\d*)*;" + _CTRL + rb"(?::[12])?(?:;[\d:]*)?u|27;" + _CTRL + rb";%(code)s~)"
_LEAVE = rb"\x1d|" + _KEY % {b"code": b"93"}
_INTERRUPT = rb"\x03|" + _KEY % {b"code": b"99"}
# Cursor position, device attributes and status, modes, window size, focus; then strings: colours, versions.
_REPORT = rb"\x1b\[[?>=]?[\d;]*(?:\$y|[Rcnt])|\x1b\[\?\d+u|\x1b\[[IO]"
_ANSWER = _REPORT + rb"|\x1b[P\]_][\x20-\x7e\x80-\xff]+(?:\x1b\\|\x07)"
_OURS = re.compile(b"(%s)|(%s)|(%s)" % (_LEAVE, _INTERRUPT, _ANSWER))
_MEANINGS = (Meaning.LEAVE, Meaning.INTERRUPT, Meaning.ANSWER)
_BEGUN = re.compile(rb"\x1b(?:\[[?>=]?[\d;:$]*|[P\]_][\x20-\x7e\x80-\xff]*\x1b?)?\Z")
_LONGEST = 1024  # bytes of an answer; what is longer was typed


class KeyReader:
    """Tells what is what in the bytes of a terminal, however reads cut them."""

    def __init__(self) -> None:
        self._begun = b""

    @property
    def waiting(self) -> bool:
        """Whether the next bytes decide what has begun: give them a moment, then `flush`."""
        return bool(self._begun)

    def feed(self, data: bytes) -> Iterator[Sent]:
        """Take bytes, and yield what is known of them and of those before, in order."""
        data = self._begun + data
        self._begun = b""
        begun = _BEGUN.search(data, max(0, len(data) - _LONGEST))
        if begun is not None:
            data, self._begun = data[: begun.start()], begun[0]
        yield from _tell(data)

    def flush(self) -> Iterator[Sent]:
        """Yield what has begun as it is: nothing came after it."""
        data, self._begun = self._begun, b""
        yield from _tell(data)


def _tell(data: bytes) -> Iterator[Sent]:
    position = 0
    for match in _OURS.finditer(data):
        if typed := data[position : match.start()]:
            yield Sent(Meaning.TYPED, typed)
        yield Sent(_MEANINGS[(match.lastindex or 1) - 1], match[0])
        position = match.end()
    if typed := data[position:]:
        yield Sent(Meaning.TYPED, typed)
