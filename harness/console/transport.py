"""Console byte streams: QEMU's pipes, pseudo terminals, sockets."""

from __future__ import annotations

import errno
import os
import select
import time
from contextlib import suppress
from io import FileIO
from typing import TYPE_CHECKING, Protocol

import msgspec

from harness.core.errors import InfraError

if TYPE_CHECKING:
    import socket

# Name of the virtio serial port through which files leave a guest; the guest's kernel shows it.
BULK_PORT = "org.harness.bulk"

_FIFO = 16  # bytes that a 16550A holds
# A guest that does not read its serial port for so long will not read it later either.
_WRITE_SECONDS = 60.0
_ENDS = {errno.EIO, errno.ECONNRESET}  # of a terminal that no process holds any more, and of a socket


class Pace(msgspec.Struct, frozen=True):
    """How fast a system can be typed to."""

    echo: float = 0.5  # seconds that its echo may take, besides the time on the line
    speed: float = 11520.0  # bytes per second of the line
    chunk: int = _FIFO  # bytes that are sent at once


class ConsoleClosed(InfraError):  # noqa: N818 - a fact about the guest
    """The guest's side of the console is gone."""


class Transport(Protocol):
    """Both directions of a console; `Recorder` is the only reader."""

    def fileno(self) -> int:
        """File descriptor that becomes readable when `read` has something to give (bytes or the end)."""

    def read(self, limit: int) -> bytes | None:
        """Return `limit` bytes at most: None when nothing has arrived, b"" at the end of the stream."""

    @property
    def takes_input(self) -> bool:
        """Whether some bytes would be taken at once; a guest that does not read them lets them pile up."""

    def write(self, data: bytes) -> None:
        """Send all of `data` to the guest.

        Raises:
            ConsoleClosed: The other side is gone.
            InfraError: It does not take it.
        """

    def close(self) -> None:
        """Give the stream up; harmless when done twice."""


class StreamTransport:
    """A console over open files that do not block: the first is read, the last written."""

    _piece: int | None = None  # bytes that are written at once; None: all

    def __init__(self, *streams: FileIO | socket.socket) -> None:
        self._streams = streams
        for stream in streams:
            os.set_blocking(stream.fileno(), False)

    def fileno(self) -> int:
        """File descriptor of the stream that comes from the guest."""
        return self._streams[0].fileno()

    def read(self, limit: int) -> bytes | None:
        """Return what has arrived; a peer that was killed ends the stream like one that hung up."""
        try:
            return os.read(self.fileno(), limit)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _ENDS:
                raise
            return b""

    @property
    def takes_input(self) -> bool:
        """Whether some bytes would be taken at once."""
        return _takes(self._streams[-1].fileno(), 0.0)

    def write(self, data: bytes) -> None:
        """Send all of `data`; see `Transport.write`."""
        try:
            descriptor = self._streams[-1].fileno()
            deadline = time.monotonic() + _WRITE_SECONDS
            rest = memoryview(data)
            while rest:
                if not _takes(descriptor, max(0.0, deadline - time.monotonic())):
                    raise InfraError(f"the guest's console took no input for {_WRITE_SECONDS:.0f} s")
                with suppress(BlockingIOError):
                    rest = rest[os.write(descriptor, rest[: self._piece]) :]
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", error)
            raise ConsoleClosed(f"cannot type to the guest: its console is closed ({why})") from error

    def close(self) -> None:
        """Close the streams."""
        for stream in self._streams:
            stream.close()


class PtyTransport(StreamTransport):
    """A console on the controlling side of a pseudo terminal."""

    _piece = 512  # a terminal that is ready takes so many without making us wait

    def __init__(self, descriptor: int) -> None:
        super().__init__(FileIO(descriptor, "r+b"))


class SocketTransport(StreamTransport):
    """A console over a connected stream socket."""


def pipes() -> tuple[StreamTransport, FileIO, FileIO]:
    """A console over two pipes, and the other ends of them: what the guest says, and what is typed to it.

    A pipe gathers what is written byte by byte, as a serial port does; a socket holds some 280 such pieces,
    however small, and its reader has to wake up for them.
    """
    (said, guest_says), (guest_hears, typed) = os.pipe(), os.pipe()
    console = StreamTransport(FileIO(said, "rb"), FileIO(typed, "wb"))
    return console, FileIO(guest_says, "wb"), FileIO(guest_hears, "rb")


def _takes(descriptor: int, seconds: float) -> bool:
    """Whether something can be written within so long; what is closed can, and says so then."""
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    return bool(poller.poll(seconds * 1000))
