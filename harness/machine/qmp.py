"""Synchronous access to QEMU's monitor protocol."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from qemu.qmp import EventListener, QMPClient, QMPError, Runstate

from harness.core.errors import InfraError

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine

T = TypeVar("T")

_ANSWER_LIMIT = 30.0  # seconds; QEMU answers at once unless the host is stuck


class Monitor:
    """A QMP session over a connected socket, whose protocol runs in a thread of its own."""

    def __init__(self, connection: socket.socket) -> None:
        self._events = EventListener()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._thread.start()
        self._client = QMPClient("harness")
        try:
            self._call(self._open(connection))
        except InfraError:
            self._end_loop()
            raise

    def execute(self, command: str, **arguments: object) -> Any:
        """Execute a command and return its answer.

        Raises:
            InfraError: QEMU refused, is gone, or does not answer.
        """
        return self._call(self._client.execute(command, arguments))

    def give(self, descriptor: int, name: str) -> None:
        """Hand QEMU a copy of a file descriptor, which its commands then know by this name."""
        self._call(self._send(descriptor))
        self.execute("getfd", fdname=name)

    def human(self, command_line: str) -> str:
        """Execute a command of the human monitor; its answer is text."""
        return str(self.execute("human-monitor-command", **{"command-line": command_line}))

    @property
    def qemu_version(self) -> str:
        """The version that QEMU greeted us with, such as "7.2.22"."""
        greeting = self._client.greeting
        if greeting is None:  # connected sessions have one
            return "unknown"
        version: Any = greeting.QMP.version["qemu"]
        return f"{version['major']}.{version['minor']}.{version['micro']}"

    def shutdown_reason(self) -> str | None:
        """Why the guest stopped, as the SHUTDOWN event says; None when there was no such event.

        To be asked when QEMU has ended: waits until all that it said has been read.
        """
        with suppress(InfraError):
            self._call(self._until_disconnected())
        for event in self._events.history:
            data = event.get("data")
            if event["event"] == "SHUTDOWN" and isinstance(data, dict):
                return str(data["reason"])
        return None

    def disk_failure(self) -> str:
        """Why the host could not write a disk, for which QEMU stopped the processor; "" if it could."""
        for event in self._events.history:
            data = event.get("data")
            if event["event"] == "BLOCK_IO_ERROR" and isinstance(data, dict) and data["action"] == "stop":
                return str(data["reason"])
        return ""

    def close(self) -> None:
        """End the session; QEMU goes on."""
        with suppress(InfraError):  # QEMU may have gone first
            self._call(self._client.disconnect())
        self._end_loop()

    async def _open(self, connection: socket.socket) -> None:
        self._client.register_listener(self._events)
        await self._client.connect(connection)

    async def _send(self, descriptor: int) -> None:
        self._client.send_fd_scm(descriptor)

    async def _until_disconnected(self) -> None:
        while self._client.runstate == Runstate.RUNNING:
            await self._client.runstate_changed()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(_ANSWER_LIMIT)
        except TimeoutError as error:
            future.cancel()
            raise InfraError(f"QEMU's monitor did not answer within {_ANSWER_LIMIT:.0f} s") from error
        except (QMPError, OSError, EOFError) as error:
            raise InfraError(f"QEMU's monitor: {error}") from error

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
