"""Detects a wrong baud rate from the bytes received.

8N1 sends a start bit (0), eight bits from the lowest on, and a stop bit (1). A receiver at another speed
samples these at the wrong moments: runs of equal bits are cut short or drawn out, so that its bytes are full
of zeros and of high bits, which text has not, and stop bits are found to be 0 (framing errors).
"""

from __future__ import annotations

import fcntl
import struct

ENOUGH = 48  # bytes; fewer prove nothing: plugs and power supplies make noise
WINDOW = 512
_SHARE = 0.2  # of bytes that no console prints
_FRAMES = 0.05  # framing errors per byte
_TIOCGICOUNT = 0x545D  # struct serial_icounter_struct of linux/serial.h: 11 counters, 9 in reserve
_FRAME = 6  # index of the framing errors in it
_PLAIN = frozenset((*range(0x20, 0x7F), *b"\a\b\t\n\v\f\r\x1b"))


def is_garbled(data: bytes, framing_errors: int = 0) -> bool:
    """Whether bytes look like text at another speed, also by the framing errors that the port has counted."""
    if len(data) < ENOUGH:
        return False
    return framing_errors > _FRAMES * len(data) or strange(data) > _SHARE * len(data)


def strange(data: bytes) -> int:
    """How many bytes are neither text, nor what controls a terminal, nor UTF-8."""
    text = data.decode("utf-8", "surrogateescape")
    return sum(
        1
        for character in text
        if ("\udc80" <= character <= "\udcff") or (character < "\x80" and ord(character) not in _PLAIN)
    )


def framing_errors(descriptor: int) -> int:
    """Framing errors that the kernel's driver has counted on a port; 0 where it does not count."""
    try:
        counted = fcntl.ioctl(descriptor, _TIOCGICOUNT, bytes(struct.calcsize("20i")))
    except OSError:  # pseudo terminals and some USB adapters have no counters
        return 0
    return int(struct.unpack("20i", counted)[_FRAME])
