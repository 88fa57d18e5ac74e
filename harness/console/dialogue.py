"""A pexpect dialogue with the guest over the recorded console."""

from __future__ import annotations

import re
import time
from codecs import getincrementaldecoder
from io import StringIO
from typing import TYPE_CHECKING

import pexpect
from pexpect.spawnbase import SpawnBase

if TYPE_CHECKING:
    from harness.console.recorder import Recorder
    from harness.console.transport import Pace

if TYPE_CHECKING:
    from harness.console.recorder import Recorder

    _SpawnBase = SpawnBase[str]
else:  # only the type stubs know it as a generic class
    _SpawnBase = SpawnBase

_WINDOW = 4096  # characters that pexpect searches; without a window it copies all there is on every read
# pexpect searches only the last window of what it has read: a longer read could hide a match from it.
_READ_LIMIT = _WINDOW // 2
_POLL_SECONDS = 1.0
# What is no UTF-8 becomes one character per byte, so that characters can be counted back to raw offsets.
_BAD_BYTE = re.compile("[\udc80-\udcff]")


class Dialogue(_SpawnBase):
    """What pexpect needs to `expect` on a recorded console and to type to the guest.

    Do not expect across a build: pexpect keeps what it has read until something matches.
    """

    _before: StringIO  # pexpect's: all that it has read since the last match

    def __init__(self, recorder: Recorder, offset: int = 0) -> None:
        super().__init__(
            maxread=_READ_LIMIT, searchwindowsize=_WINDOW, encoding="utf-8", codec_errors="replace"
        )
        self.delaybeforesend = None
        self.delayafterread = None
        self.closed = False
        self.name = f"console {recorder.raw}"
        self._recorder = recorder
        self._position = offset  # how far pexpect has read ahead
        self._held = StringIO()  # what pexpect holds in `_before`, in a form that gives the bytes back
        self._incremental = getincrementaldecoder("utf-8")("surrogateescape")

    @property
    def offset(self) -> int:
        """Raw offset of the first byte that no match has consumed."""
        unread = len(self._incremental.getstate()[0])
        return self._position - unread - len(self._unmatched().encode("utf-8", "surrogateescape"))

    def _unmatched(self) -> str:
        text = self._held.getvalue()
        return text[len(text) - self._before.tell() :]

    def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> str:
        """Return what has arrived, decoded; waits for `timeout` seconds (-1: the default, None: for ever).

        Raises:
            pexpect.TIMEOUT: Nothing has arrived.
            pexpect.EOF: The stream has ended.
        """
        patience = self.timeout if timeout == -1 else timeout
        deadline = None if patience is None else time.monotonic() + patience
        while True:
            left = _POLL_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
            data = self._recorder.read(self._position, min(size, _READ_LIMIT), left)
            self._position += len(data)
            if text := self._incremental.decode(data):
                self._hold(text)
                return _BAD_BYTE.sub("\ufffd", text)
            if not data and self._recorder.ended and self._recorder.size <= self._position:
                self.flag_eof = True
                raise pexpect.EOF("The console has ended.")
            if deadline is not None and time.monotonic() >= deadline:
                raise pexpect.TIMEOUT("The console is silent.")

    def _hold(self, text: str) -> None:
        if self._before.tell() < self._held.tell():  # a match has consumed some
            unmatched = self._unmatched()
            self._held = StringIO()
            self._held.write(unmatched)
        self._held.write(text)

    def send(self, s: str) -> int:
        """Type `s` to the guest and return the number of bytes."""
        data = s.encode()
        if self._recorder.pace is not None:
            type_paced(self._recorder, data, self._recorder.pace)
        else:
            self._recorder.write(data)
        return len(data)

    def sendline(self, s: str = "") -> int:
        """Type a line to the guest and return the number of bytes."""
        return self.send(s + "\n")

    def isalive(self) -> bool:
        """Whether the console can still say something."""
        return not (self._recorder.ended and self._recorder.size <= self._position)

    def close(self) -> None:
        """Do nothing: the console belongs to the recorder."""
        self.closed = True


# Paced typing to serial ports: the echo is the flow control. A UART holds 16 bytes, and a line without
# RTS/CTS has no other way to say that it is full. So a few bytes are sent, and their echo is awaited. Where
# it does not come, the line is killed (Ctrl-U) and typed once more, byte by byte. What is typed is verified
# by checksums all the same: pacing only makes damage rare.
_NEWLINE = 0x0A
_KILL = b"\x15"  # what a tty and a line editor take for "forget this line"


def type_paced(recorder: Recorder, data: bytes, pace: Pace) -> None:
    """Type lines, each in pieces whose echo is awaited."""
    echoes = True
    for line in data.splitlines(keepends=True):
        if echoes and not _typed(recorder, line, pace, pace.chunk):
            recorder.write(_KILL)
            echoes = _typed(recorder, line, pace, 1)
            if echoes:
                continue
            recorder.write(_KILL)
        if not echoes:  # without an echo only time is left
            for piece in _pieces(line, pace.chunk):
                recorder.write(piece)
                time.sleep(2 * len(piece) / pace.speed)


def _typed(recorder: Recorder, line: bytes, pace: Pace, chunk: int) -> bool:
    """Type a line; whether all of it was echoed."""
    for piece in _pieces(line, chunk):
        start = recorder.size
        recorder.write(piece)
        if not _echoed(recorder, piece, start, pace.echo + 2 * len(piece) / pace.speed):
            return False
    return True


def _pieces(line: bytes, chunk: int) -> list[bytes]:
    return [line[start : start + chunk] for start in range(0, len(line), chunk)]


def _echoed(recorder: Recorder, piece: bytes, start: int, timeout: float) -> bool:
    """Whether all printed characters of a piece come back, in their order and with anything in between.

    A newline is waited for as well, and not missed: what ends with it may have been taken already.
    """
    wanted = bytes(byte for byte in piece if byte > 0x20 or byte == _NEWLINE)  # editors show blanks anyhow
    found, offset, deadline = 0, start, time.monotonic() + timeout
    while found < len(wanted):
        left = deadline - time.monotonic()
        heard = recorder.read(offset, timeout=max(0.0, left))
        if not heard and (left <= 0 or recorder.ended):
            return found == len(wanted.rstrip(b"\n"))
        offset += len(heard)
        for byte in heard:
            if found < len(wanted) and byte == wanted[found]:
                found += 1
    return True
