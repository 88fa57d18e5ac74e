"""A board as a machine: serial console, last words, power switch."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Self

from harness.console.transport import Pace
from harness.core.errors import InfraError
from harness.machine.board.line import Gap, SerialLine
from harness.machine.board.port import ENOUGH, WINDOW, framing_errors, is_garbled, open_port
from harness.machine.board.power import Switch
from harness.machine.protocol import (
    Accelerator,
    End,
    Machine,
    MachineKind,
    MachineRecord,
    Medium,
    Usage,
    end_told_by,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.machine.board.document import Board
    from harness.machine.protocol import EndCause

_TAIL = 64  # bytes that such words may be cut at
_FAREWELL = 1.0  # seconds for what follows them
_GARBLED = 10.0  # seconds that garbage may last: firmware may speak at another speed than what it boots
_BITS = 10  # of a byte on the line: 8N1 has a start and a stop bit
_ECHO = 0.5  # seconds that a system may take for an echo, besides the line


class BoardMachine(Machine):
    """A board that boots, talks over its serial port, and ends.

    Args:
        board: The board, leased.
        ask: Asks a person to do something, where they are the power switch.
        told: Told of each gap in what is heard, in the thread that polls.
        quiet: Seconds after power-on in which nothing comes over serial by design.
        command_line: That of the kernel that it boots, as far as it is known.
    """

    def __init__(
        self,
        board: Board,
        *,
        ask: Callable[[str], None],
        told: Callable[[Gap], None],
        quiet: float = 0.0,
        command_line: str = "",
    ) -> None:
        self._board = board
        self._serial = board.document.serial
        self._told = told
        self._command_line = command_line
        self._patience = self._serial.first_byte * board.document.budgets + quiet
        self._switch = Switch(board, ask)
        self._line = SerialLine(partial(open_port, board), reattach=self._serial.reattach, heard=self._hear)
        self._cleanup = ExitStack()
        self._since: float | None = None  # when it got power
        self._heard = 0.0  # when the last byte came
        self._recent = b""  # for garbage, as long as nothing else was heard
        self._sane = False
        self._garbled_since: float | None = None
        self._frames = 0  # framing errors that were counted before
        self._tail = b""
        self._cause: EndCause | None = None
        self._end: End | None = None
        self.command = (board.port, str(self._serial.speed))

    def __enter__(self) -> Self:
        """Open the port, before there is power: no byte of a boot is missed."""
        self.transport = self._cleanup.enter_context(self._line).transport
        self._frames = self._framing_errors()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the board as its file says, and close the port."""
        with self._cleanup:
            if self._since is not None:
                self._switch.leave()

    @property
    def pace(self) -> Pace:
        """How fast it can be typed to."""
        return Pace(echo=_ECHO, speed=self._serial.speed / _BITS)

    def describe(self) -> MachineRecord:
        """What it is, for the record."""
        return MachineRecord(
            kind=MachineKind.BOARD,
            board=self._board.name,
            accelerator=Accelerator.NATIVE,
            cpu="",
            memory=self._board.memory,
            command_line=self._command_line,
            medium=Medium.BOARD,
            firmware=self._board.document.firmware,
            qemu="",
        )

    def start(self) -> None:
        """Give it power anew."""
        began = time.monotonic()
        self._since = began  # from here on it is to be switched off in every case
        self._switch.cycle()
        self._since = self._heard = time.monotonic()

    def poll(self) -> End | None:
        """How the board ended, by what it said last; None while it runs.

        Raises:
            InfraError: It cannot be heard: nothing came, or garbage, or the port is gone.
        """
        for gap in self._line.gaps():
            self._told(gap)
        if self._line.failure is not None:
            raise self._line.failure
        if self._end is None and self._since is not None:
            now = time.monotonic()
            if self._cause is not None and now - self._heard > _FAREWELL:
                self._line.stop()
                self._end = End(self._cause, "by its last words")
            elif not self._line.received and now - self._since > self._patience:
                raise self._deaf(now - self._since)
            elif not self._sane:
                self._check_speed(now)
        return self._end

    def usage(self) -> Usage:
        """Wall time less what the line takes for what was heard: a full line keeps its sender waiting."""
        if self._since is None:
            return Usage(cpu=0.0, guest=0.0)
        wall = (self._heard if self._end else time.monotonic()) - self._since
        on_the_wire = self._line.received * _BITS / self._serial.speed
        return Usage(cpu=0.0, guest=max(0.0, wall - on_the_wire))

    def _hear(self, data: bytes) -> None:
        """Take what comes; in the line's thread."""
        self._heard = time.monotonic()
        if not self._sane:
            self._recent = (self._recent + data)[-WINDOW:]
        text = self._tail + data
        self._cause = end_told_by(text) or self._cause
        self._tail = text[-_TAIL:]

    def _check_speed(self, now: float) -> None:
        if len(self._recent) < ENOUGH:
            return
        if not is_garbled(self._recent, self._framing_errors() - self._frames):
            self._garbled_since = None
            self._sane = len(self._recent) == WINDOW
        elif self._garbled_since is None:
            self._garbled_since = now
        elif now - self._garbled_since > _GARBLED:
            raise InfraError(
                f"what board {self._board.name} says is garbage at {self._serial.speed} baud: "
                f"it speaks at another speed",
                hint=f"{self._board.path}: key serial.speed: try 115200, 9600, 38400 and 57600; "
                "a kernel takes its speed from console=ttyS0,115200",
            )

    def _framing_errors(self) -> int:
        port = self._line.port
        if port is None or not self._serial.port.startswith("/"):
            return 0
        return framing_errors(port.fileno())

    def _deaf(self, seconds: float) -> InfraError:
        serial = self._serial
        return InfraError(
            f"board {self._board.name} said nothing for {seconds:.0f} s after power-on",
            hint="the likely causes in order: it has no power (`harness board power`); the cable is not on "
            f"{self._board.port}, or TX and RX are not crossed; the speed is not {serial.speed}; "
            "the kernel's command line has no console=ttyS0 of this speed",
        )
