"""The byte stream of a console: a unix socket of QEMU, a pseudo terminal, a serial port."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from typing import Protocol

from harness.errors import InfraError

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

    def read(self, limit: int) -> bytes:
        """Return 1 to `limit` bytes, b"" at the end of the stream; blocks when there is nothing yet."""

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
        self._closed = False

    def fileno(self) -> int:
        """File descriptor of the terminal."""
        return self._descriptor

    def read(self, limit: int) -> bytes:
        """Return what has arrived; the end is when nobody holds the other side any more (EIO)."""
        try:
            return os.read(self._descriptor, limit)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""

    def write(self, data: bytes) -> None:
        """Send all of `data`; see `Transport.write`."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLOUT)
        deadline = time.monotonic() + _WRITE_SECONDS
        rest = memoryview(data)
        try:
            while rest:
                if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    raise InfraError(f"the console took no input for {_WRITE_SECONDS:.0f} s")
                rest = rest[os.write(self._descriptor, rest[:_PTY_PIECE]) :]
        except OSError as error:
            raise InfraError(
                f"cannot type to the payload: its console is closed ({error.strerror})"
            ) from error

    def close(self) -> None:
        """Close the terminal."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)


class SocketTransport:
    """A console over a connected stream socket, such as QEMU's `-chardev socket,path=…`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        """File descriptor of the socket."""
        return self._connection.fileno()

    def read(self, limit: int) -> bytes:
        """Return what has arrived; a peer that was killed ends the stream like one that hung up."""
        try:
            return self._connection.recv(limit)
        except ConnectionResetError:
            return b""

    def write(self, data: bytes) -> None:
        """Send all of `data`; see `Transport.write`."""
        poller = select.poll()
        poller.register(self._connection, select.POLLOUT)
        deadline = time.monotonic() + _WRITE_SECONDS
        rest = memoryview(data)
        try:
            while rest:
                if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    raise InfraError(f"the guest's console took no input for {_WRITE_SECONDS:.0f} s")
                rest = rest[self._send(rest) :]
        except OSError as error:
            message = f"cannot type to the guest: its console is closed ({error.strerror})"
            raise ConsoleClosed(message) from error

    def _send(self, data: memoryview) -> int:
        try:
            return self._connection.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()
