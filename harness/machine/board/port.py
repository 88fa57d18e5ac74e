"""Opens a board's serial port exclusively; detects a wrong baud rate."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError, InfraError
from harness.machine.board import labgrid

if TYPE_CHECKING:
    from collections.abc import Iterator

    import serial as pyserial

    from harness.machine.board.document import Board

POLL = 0.1  # seconds that a read waits at most
_WRITE = 60.0  # seconds within which a port takes what is typed
_RULE = "join the group of the device (`ls -l` shows it; on Debian `dialout`), and log in anew"


def open_port(board: Board) -> pyserial.Serial:
    """Open a board's port exclusively."""
    import serial as pyserial

    serial, place = board.document.serial, board.document.labgrid
    # Asked for anew each time: labgrid shares an adapter that was plugged in again under another number.
    path = serial.port or (labgrid.address(place, serial.speed) if place else "")
    if path.startswith("/"):
        _check_free(path)
    try:
        # Options that only a device has are not for addresses.
        port = pyserial.serial_for_url(path, do_not_open=True, timeout=POLL, baudrate=serial.speed)
        port.rtscts = serial.flow == "rtscts"
        if path.startswith("/"):
            port.exclusive = True
            port.write_timeout = _WRITE
        port.open()
        if path.startswith("/"):
            try:
                fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
            except OSError:
                port.close()
                raise
    # pyserial's own is an OSError; that of termios, when an adapter is pulled out meanwhile, is none.
    except (OSError, ValueError, termios.error) as error:
        raise _refusal(path, error) from error
    return port


def holders(path: str) -> Iterator[str]:
    """Processes that have a device open, each as "name (pid)"; those of others only if we may look."""
    wanted = os.stat(path).st_rdev  # noqa: PTH116 - the number, not the path
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda each: int(each.name)):
        if int(process.name) == os.getpid():
            continue
        with suppress(OSError):
            numbers = [each.stat().st_rdev for each in (process / "fd").iterdir() if each.exists()]
            if wanted in numbers:
                yield f"{(process / 'comm').read_text().strip()} (process {process.name})"


def _check_free(path: str) -> None:
    """Root may open what others have for themselves: look before.

    Pseudo terminals are not in sysfs, and of all else it says what it is.
    """
    with suppress(OSError):
        number = os.stat(path).st_rdev  # noqa: PTH116 - the number, not the path
        kind = Path(f"/sys/dev/char/{os.major(number)}:{os.minor(number)}/subsystem")
        if kind.exists() and kind.resolve().name != "tty":
            raise ConfigError(f"{path} is no serial port", hint="give the key serial.port of one")
    try:
        found = ", ".join(holders(path))
    except OSError:
        return  # opening says why
    if found:
        raise _busy(path, found)


def _busy(path: str, who: str) -> InfraError:
    return InfraError(
        f"the serial port {path} is in use by {who or 'a process that we may not look at'}",
        hint="end it, or have it let the port go (ModemManager: `systemctl stop ModemManager`)",
    )


def _refusal(path: str, error: Exception) -> ConfigError | InfraError:
    """What went wrong, in a sentence; pyserial keeps the number of the error if there was one."""
    number = getattr(error, "errno", None)
    if not path.startswith("/"):
        hint = "is the server that shares the port running, and the address right?"
        return InfraError(f"cannot reach the serial port {path}: {error}", hint=hint)
    match number:
        case errno.ENOENT:
            near = "`ls /dev/serial/by-id` shows which adapters are plugged in"
            return ConfigError(f"there is no serial port {path}", hint=near)
        case errno.EACCES | errno.EPERM:
            return ConfigError(f"you may not open the serial port {path}", hint=_RULE)
        case errno.EBUSY | errno.EAGAIN:
            who = ""
            with suppress(OSError):  # it may be gone by now
                who = ", ".join(holders(path))
            return _busy(path, who)
        case errno.ENOTTY | errno.EINVAL:
            return ConfigError(f"{path} is no serial port", hint="give the key serial.port of one")
    hint = "unplug the adapter and plug it in"
    return InfraError(f"cannot open the serial port {path}: {error}", hint=hint)


# 8N1 sends a start bit (0), eight bits from the lowest on, and a stop bit (1). A receiver at another speed
# samples these at the wrong moments: runs of equal bits are cut short or drawn out, so that its bytes are
# full of zeros and of high bits, which text has not, and stop bits are found to be 0 (framing errors).
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
