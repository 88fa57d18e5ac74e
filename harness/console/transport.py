"""The byte stream of a console: pipes of QEMU, a pseudo terminal, a serial port."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from contextlib import suppress
from io import FileIO
from typing import TYPE_CHECKING, Protocol

from harness.core.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Callable

# Name of the virtio serial port through which files leave a guest; the guest's kernel shows it.
BULK_PORT = "org.harness.bulk"

# A guest that does not read its serial port for so long will not read it later either.
_WRITE_SECONDS = 60.0
_PTY_PIECE = 512  # bytes; a terminal that is ready takes so many without making us wait


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


class PtyTransport:
    """A console on the controlling side of a pseudo terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        self._closed = False

    def fileno(self) -> int:
        """File descriptor of the terminal."""
        return self._descriptor

    def read(self, limit: int) -> bytes | None:
        """Return what has arrived; the end is when nobody holds the other side any more (EIO)."""
        try:
            return os.read(self._descriptor, limit)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""

    @property
    def takes_input(self) -> bool:
        """Whether some bytes would be taken at once."""
        return _takes(self._descriptor, 0.0)

    def write(self, data: bytes) -> None:
        """Send all of `data`; see `Transport.write`."""
        try:
            _write_all(self._descriptor, data, lambda rest: os.write(self._descriptor, rest[:_PTY_PIECE]))
        except OSError as error:
            raise InfraError(
                f"cannot type to the payload: its console is closed ({error.strerror})"
            ) from error

    def close(self) -> None:
        """Close the terminal."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)


class PipeTransport:
    """A console over two pipes.

    A pipe gathers what is written byte by byte, as a serial port does; a socket holds some 280 such pieces,
    however small, and its reader has to wake up for them.

    Args:
        said: What comes from the guest; it is closed with the transport.
        typed: What goes to it, likewise.
    """

    def __init__(self, said: FileIO, typed: FileIO) -> None:
        self._said = said
        self._typed = typed
        for pipe in (said, typed):
            os.set_blocking(pipe.fileno(), False)

    def fileno(self) -> int:
        """File descriptor of the pipe that comes from the guest."""
        return self._said.fileno()

    def read(self, limit: int) -> bytes | None:
        """Return what has arrived."""
        return self._said.read(limit)

    @property
    def takes_input(self) -> bool:
        """Whether some bytes would be taken at once."""
        return _takes(self._typed.fileno(), 0.0)

    def write(self, data: bytes) -> None:
        """Send all of `data`; see `Transport.write`."""
        try:
            _write_all(self._typed.fileno(), data, lambda rest: self._typed.write(rest) or 0)
        except OSError as error:
            raise _closed(error) from error

    def close(self) -> None:
        """Close both pipes."""
        self._said.close()
        self._typed.close()


def pipes() -> tuple[PipeTransport, FileIO, FileIO]:
    """A console over two pipes, and the other ends of them: what the guest says, and what is typed to it."""
    (said, guest_says), (guest_hears, typed) = os.pipe(), os.pipe()
    console = PipeTransport(FileIO(said, "rb"), FileIO(typed, "wb"))
    return console, FileIO(guest_says, "wb"), FileIO(guest_hears, "rb")


class SocketTransport:
    """A console over a connected stream socket, such as QEMU's `-chardev socket,path=…`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        """File descriptor of the socket."""
        return self._connection.fileno()

    def read(self, limit: int) -> bytes | None:
        """Return what has arrived; a peer that was killed ends the stream like one that hung up."""
        try:
            return self._connection.recv(limit, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return b""

    @property
    def takes_input(self) -> bool:
        """Whether some bytes would be taken at once."""
        return _takes(self._connection.fileno(), 0.0)

    def write(self, data: bytes) -> None:
        """Send all of `data`; see `Transport.write`."""
        try:
            _write_all(self.fileno(), data, lambda rest: self._connection.send(rest, socket.MSG_DONTWAIT))
        except OSError as error:
            raise _closed(error) from error

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()


def _closed(error: OSError) -> ConsoleClosed:
    return ConsoleClosed(f"cannot type to the guest: its console is closed ({error.strerror})")


def _takes(descriptor: int, seconds: float) -> bool:
    """Whether something can be written within so long; what is closed can, and says so then."""
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    return bool(poller.poll(seconds * 1000))


def _write_all(descriptor: int, data: bytes, send: Callable[[memoryview], int]) -> None:
    deadline = time.monotonic() + _WRITE_SECONDS
    rest = memoryview(data)
    while rest:
        if not _takes(descriptor, max(0.0, deadline - time.monotonic())):
            raise InfraError(f"the guest's console took no input for {_WRITE_SECONDS:.0f} s")
        with suppress(BlockingIOError):
            rest = rest[send(rest) :]
