"""Reads and checks the file of a board, `lab/NAME.toml`.

`docs/boards.md` describes every key.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec

from harness.core import paths, toml
from harness.core.errors import ConfigError
from harness.core.sizes import parse_size

Command = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]

LAB = Path("lab")
_KINDS = ("/", "rfc2217://", "socket://")


class Serial(toml.Table, frozen=True):
    """The port on which the board's console is heard."""

    # A device by a name that survives re-plugging, or `rfc2217://HOST:PORT`, or `socket://HOST:PORT`; without
    # it, that of the place of labgrid.
    port: str = ""
    speed: Annotated[int, msgspec.Meta(gt=0)] = 115200  # in baud; 8 bits, no parity, 1 stop bit
    # Flow control; "rtscts" where these wires exist. Never XON/XOFF: build output holds such bytes.
    flow: Literal["none", "rtscts"] = "none"
    first_byte: Positive = 180  # seconds after power-on within which anything must be heard
    reattach: Positive = 60  # seconds within which an adapter that vanished must be back


class Power(toml.Table, frozen=True):
    """How the board is switched: by commands, or by a person. For a place of labgrid, by its client."""

    manual: bool = False  # whether a person does it, who is asked on the terminal
    on: tuple[str, ...] = ()  # words of the command that switches it on
    off: tuple[str, ...] = ()  # words of the command that switches it off
    cycle: tuple[str, ...] = ()  # words of the command that does both; `off`, a pause and `on` without it
    pause: Positive = 5  # seconds without power that its supply needs
    limit: Positive = 60  # seconds that a command may take
    afterwards: Literal["off", "on"] = "off"  # what becomes of the board when the run has ended


class Labgrid(toml.Table, frozen=True):
    """A place of labgrid, which is acquired for a run, and has the port and the switch that are not given."""

    place: Annotated[str, msgspec.Meta(min_length=1)]  # its name, as `labgrid-client places` shows it
    # HOST or HOST:PORT; that of the environment (`LG_COORDINATOR`), or this host, without it.
    coordinator: str = ""
    client: Command = ("labgrid-client",)  # words of labgrid's client, which is in an environment of its own
    port: str = ""  # name of the serial port, for a place that has several
    power: str = ""  # name of the power port, likewise
    limit: Positive = 60  # seconds that the client may take

    def command(self, *words: str) -> tuple[str, ...]:
        """A command of the client about this place."""
        where = ("--coordinator", self.coordinator) if self.coordinator else ()
        return (*self.client, *where, "--place", self.place, *words)


class BoardMedium(toml.Table, frozen=True):
    """A stick or disk that the board boots or uses, and that is written to when it is attached here."""

    # Its serial number, all of it, as `harness flash --list` shows it; nothing else is written to.
    serial: str
    to_host: tuple[str, ...] = ()  # words of the command that connects it to this host, for a multiplexer
    to_board: tuple[str, ...] = ()  # words of the command that connects it to the board
    # Whether it may be one that is not removable or very large, as `harness flash --force`.
    force: bool = False
    settle: Positive = 20  # seconds that it may take to appear after `to_host`


class BoardDocument(toml.Table, frozen=True):
    """A file of `lab/`."""

    summary: str  # what it is, for people
    serial: Serial = Serial()  # its console
    power: Power = Power()  # its switch
    labgrid: Labgrid | None = None  # the place that stands in for port and switch, if labgrid has it
    cpu: Literal[32, 64] = 64  # width of its processor in bits: it starts no kernel that is wider
    memory: str = "1G"  # how much it has, such as "4G"
    firmware: Literal["bios", "uefi"] = "bios"  # what it starts with
    budgets: Positive = 1  # all time budgets are multiplied with it
    medium: BoardMedium | None = None  # the stick that it boots; without it, the user prepares the stick
    # The disk that the recipe's disk image goes to; without it, the user prepares the disk.
    disk: BoardMedium | None = None


class Board(msgspec.Struct, frozen=True):
    """A board that has been read and checked."""

    name: str  # the file's name without suffix
    path: Path  # the file
    document: BoardDocument  # what it says

    @property
    def memory(self) -> int:
        """In bytes."""
        return parse_size(self.document.memory)

    @property
    def lease(self) -> Path:
        """The file that says who has the board.

        labgrid knows users, not processes: all that a user has on this host share one file for a place.
        """
        place = self.document.labgrid
        if place is None:
            return self.path.with_suffix(".lease")
        coordinator = place.coordinator or os.environ.get("LG_COORDINATOR", "")
        name = quote(f"{place.place}@{coordinator}", safe="@:")
        return paths.runtime_root() / f"{name}.lease"

    @property
    def port(self) -> str:
        """Where its console is heard, for people."""
        place = self.document.labgrid
        return self.document.serial.port or (f"labgrid:{place.place}" if place else "")


def boards(lab: Path = LAB) -> list[Board]:
    """All boards of a lab, by name."""
    return [load_board(path) for path in sorted(lab.glob("*.toml"))]


def find_board(name: str, lab: Path = LAB) -> Board:
    """A board by name, or by the path of its file."""
    if name.endswith(".toml"):
        return load_board(Path(name))
    path = lab / f"{name}.toml"
    if not name or "/" in name or not path.is_file():
        known = ", ".join(each.stem for each in sorted(lab.glob("*.toml"))) or "none"
        hint = f"known boards: {known}; docs/boards.md has examples"
        raise ConfigError(f"there is no board {name!r}: {path} is not there", hint=hint)
    return load_board(path)


def load_board(path: Path) -> Board:
    """Read a board's file."""
    document = toml.load(path, BoardDocument)
    place = document.labgrid
    if not document.serial.port and place is None:
        hint = "docs/boards.md has examples; a place of labgrid has one"
        raise ConfigError(f"{path}: key serial.port is missing", hint=hint)
    if document.serial.port and not document.serial.port.startswith(_KINDS):
        raise ConfigError(
            f"{path}: key serial.port: {document.serial.port!r} is no device and no address",
            hint="give a path such as /dev/serial/by-id/…, rfc2217://HOST:PORT or socket://HOST:PORT",
        )
    power = document.power
    if place is not None and not (power.manual or power.on or power.off or power.cycle):
        named = ("--name", place.power) if place.power else ()
        on, off = (place.command("power", *named, what) for what in ("on", "off"))
        power = msgspec.structs.replace(power, on=on, off=off)
        document = msgspec.structs.replace(document, power=power)
    commands = bool(power.cycle) or bool(power.on and power.off)
    if power.manual == bool(power.on or power.off or power.cycle) or not (power.manual or commands):
        message = f"{path}: key power: it takes either manual = true, or cycle, or both on and off"
        raise ConfigError(message, hint="docs/boards.md has commands for common switches")
    try:
        parse_size(document.memory)
    except ValueError as error:
        raise ConfigError(f"{path}: key memory: {error}") from error
    return Board(path.stem, path, document)
