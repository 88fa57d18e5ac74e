"""Switches a board on and off by commands or by hand."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError, InfraError, command_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.machine.board.document import Board

_HINT = "try it by hand with `harness board power`; the key power of the board's file has the command"


class Switch:
    """The power switch of a board; `ask` has a person do something, and returns when it is done."""

    def __init__(self, board: Board, ask: Callable[[str], None]) -> None:
        self._board = board
        self._power = board.document.power
        self._ask = ask

    def on(self) -> None:
        """Give it power; see `cycle` for what is raised."""
        self._switch(self._power.on, "on")

    def off(self) -> None:
        """Take its power; see `cycle` for what is raised."""
        self._switch(self._power.off, "off")

    def cycle(self) -> None:
        """Take its power and give it again."""
        if self._power.manual:
            self._ask(f"Switch the board {self._board.name} off, wait some seconds, and switch it on")
        elif self._power.cycle:
            run(self._power.cycle, self._power.limit, f"power command of board {self._board.name}")
        else:
            self.off()
            time.sleep(self._power.pause)
            self.on()

    def leave(self) -> None:
        """Do what the board's file says of a run that has ended; a person is not asked for that."""
        if self._power.afterwards == "off" and self._power.off:
            self.off()

    def _switch(self, command: Sequence[str], what: str) -> None:
        if self._power.manual:
            self._ask(f"Switch the board {self._board.name} {what}")
        elif command:
            run(command, self._power.limit, f"power command of board {self._board.name}")
        else:
            hint = "the board can only be cycled: `harness board power NAME cycle`"
            raise ConfigError(f"{self._board.path}: key power.{what} is missing", hint=hint)


def run(command: Sequence[str], limit: float, what: str, hint: str = _HINT) -> str:
    """Run a command of the lab without a shell, `limit` seconds at most, and return what it prints."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InfraError(f"the {what} did not end within {limit:.0f} s: {command[0]}", hint=hint) from error
    except OSError as error:
        raise ConfigError(f"the {what} cannot run: {command[0]}: {error.strerror}", hint=hint) from error
    if done.returncode != 0:
        failed = command_failed(command, done.returncode, done.stderr or done.stdout, hint=hint)
        raise InfraError(f"the {what} failed: {failed.message}", hint=failed.hint)
    return done.stdout


def ask_on_terminal(request: str) -> None:
    """Ask the person at the terminal to do something, and wait until they say that it is done."""
    try:
        with Path("/dev/tty").open("r+b", buffering=0) as terminal:
            terminal.write(f"\r\n{request}, then press Enter: ".encode())
            # Enter is a carriage return on a terminal in raw mode.
            while (byte := terminal.read(1)) and byte not in b"\r\n":
                pass
            if not byte:
                raise ConfigError("there was no answer: the terminal is closed", hint="run it in a terminal")
    except OSError as error:
        raise ConfigError(
            "the board's power is switched by hand, and there is no terminal to ask on",
            hint="run it in a terminal, or give commands in the key power of the board's file",
        ) from error
