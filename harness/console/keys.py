"""Keys of the user's terminal, and its own answers to the guest.

A guest may change how the terminal writes a key (xterm's modifyOtherKeys, the keyboard protocol of kitty),
and may ask it questions that it answers as if they were typed. Neither may keep the user from leaving, or
pass for something that the user typed.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Meaning(Enum):
    """What was sent."""

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
