"""Paced typing to serial ports: the echo is the flow control.

A UART holds 16 bytes, and a line without RTS/CTS has no other way to say that it is full. So a few bytes are
sent, and their echo is awaited. Where it does not come, the line is killed (Ctrl-U) and typed once more, byte
by byte. What is typed is verified by checksums all the same: pacing only makes damage rare.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.console.recorder import Recorder
    from harness.console.transport import Pace

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
