"""A serial line as a console that survives a lost adapter.

One thread carries bytes from the port to a socket. A USB adapter may vanish and come back under another
number; the socket stays, so readers of the console see only a gap.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from threading import Condition, Event, Lock, Thread
from typing import TYPE_CHECKING

import msgspec

from harness.console.transport import ConsoleClosed, SocketTransport
from harness.core.errors import HarnessError, InfraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from serial import Serial

_READ_LIMIT = 4096
_RETRY = 0.2  # seconds between looks for an adapter that is gone


class Gap(msgspec.Struct, frozen=True):
    """The adapter was gone."""

    seconds: float  # how long
    offset: int  # how many bytes had been heard before


class SerialLine:
    """A port that is open, and opened again when its adapter comes back. A context manager.

    The adapter must be back within `reattach` seconds; `heard` is told, in a thread of its own, what comes.
    """

    def __init__(
        self, open_port: Callable[[], Serial], *, reattach: float, heard: Callable[[bytes], None]
    ) -> None:
        self._open_port = open_port
        self._reattach = reattach
        self._heard = heard
        self._changed = Condition()
        # A port is not closed during a write: its number may be another file's next.
        self._typing = Lock()
        self._stopping = Event()
        self._gaps: list[Gap] = []
        self.failure: InfraError | None = None  # why the line is gone for good
        self.received = 0

    def __enter__(self) -> SerialLine:
        """Open the port."""
        self.port: Serial | None = self._open_port()  # as long as its adapter is there
        self.port.reset_input_buffer()  # what was said before is not of this run
        ours, self._theirs = socket.socketpair()
        self.transport = LineTransport(ours, self)
        self._thread = Thread(target=self._carry, name="serial-line", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the port."""
        self.stop()
        self._theirs.close()
        self.transport.close()

    def stop(self) -> None:
        """Hear no more: readers come to the end of the stream."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()
        if self.port is not None:
            self._close_port(self.port)
            self.port = None

    def gaps(self) -> list[Gap]:
        """Gaps since the last call."""
        with self._changed:
            gaps, self._gaps = self._gaps, []
        return gaps

    def write(self, data: bytes) -> None:
        """Send bytes; what an adapter took with it is lost, as on any serial line.

        Raises:
            ConsoleClosed: The line is gone for good.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.port is not None or self._over, self._reattach)
            port = self.port
        if port is None:
            raise ConsoleClosed("cannot type to the board: its serial port is gone")
        try:
            with self._typing:
                port.write(data)
        except OSError:  # the reading thread sees the same, and reopens the port
            return

    @property
    def _over(self) -> bool:
        return self._stopping.is_set() or self.failure is not None

    def _carry(self) -> None:
        try:
            while not self._stopping.is_set():
                data = self._read()
                if data is None:
                    if not self._follow():
                        return
                elif data:
                    self.received += len(data)
                    self._heard(data)
                    try:
                        self._theirs.sendall(data)
                    except OSError:  # the recorder is gone
                        return
        finally:
            with suppress(OSError):
                self._theirs.shutdown(socket.SHUT_WR)

    def _read(self) -> bytes | None:
        """What has come within a moment; None when the adapter is gone."""
        port = self.port
        try:
            if port is None:
                return None
            data = port.read(1)
            waiting = port.in_waiting if data else 0
            return data + port.read(min(waiting, _READ_LIMIT)) if waiting else data
        except (OSError, TypeError):  # pyserial stumbles over a port that is closed meanwhile
            return None

    def _follow(self) -> bool:
        """Wait until the adapter is back; whether it is."""
        gone, offset = time.monotonic(), self.received
        with self._changed:
            port, self.port = self.port, None
        if port is not None:
            self._close_port(port)
        reason = "it did not come back"
        while not self._stopping.wait(_RETRY):
            try:
                again = self._open_port()
            except HarnessError as error:
                reason = error.message
            else:
                with self._changed:
                    self._gaps.append(Gap(round(time.monotonic() - gone, 3), offset))
                    self.port = again
                    self._changed.notify_all()
                return True
            if time.monotonic() - gone > self._reattach:
                break
        if not self._stopping.is_set():
            self.failure = InfraError(
                f"the serial port vanished for more than {self._reattach:.0f} s: {reason}",
                hint="look at the adapter's plug and the host's USB port (`dmesg`); "
                "key serial.port should be a name below /dev/serial/by-id or by-path",
            )
        with self._changed:
            self._changed.notify_all()
        return False

    def _close_port(self, port: Serial) -> None:
        cancel = getattr(port, "cancel_write", None)  # ports at addresses have none
        with suppress(OSError):
            if cancel is not None:
                cancel()
        with self._typing, suppress(OSError, TypeError):
            port.close()


class LineTransport(SocketTransport):
    """The recorder's end of a serial line."""

    def __init__(self, connection: socket.socket, line: SerialLine) -> None:
        super().__init__(connection)
        self._line = line

    def write(self, data: bytes) -> None:
        """Send all of `data` to the board; see `Transport.write`."""
        self._line.write(data)
