"""`harness board`: the real machines of a lab."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli import options as opts
from harness.cli.printing import print_json, print_wide, remark, say

if TYPE_CHECKING:
    from harness.machine.board.document import Board
    from harness.machine.board.lease import Holder

app = typer.Typer(help="List, check, hear and switch the boards of lab/*.toml.", no_args_is_help=True)


def _board_names(incomplete: str) -> list[str]:
    from harness.machine.board.document import LAB

    return [path.stem for path in sorted(LAB.glob("*.toml")) if path.stem.startswith(incomplete)]


BoardArgument = Annotated[
    str,
    typer.Argument(
        help="Board: NAME of lab/NAME.toml, or the path of a .toml file.",
        metavar="NAME",
        autocompletion=_board_names,
    ),
]


@app.command("list")
def list_boards(as_json: opts.Json = False) -> None:
    """List the boards, and who has which."""
    from rich.table import Table

    from harness.machine.board.document import LAB, boards

    found = [(board, *_holder(board)) for board in boards()]
    if as_json:
        print_json(
            {
                "boards": [
                    {
                        "name": board.name,
                        "summary": board.document.summary,
                        "port": board.port,
                        "speed": board.document.serial.speed,
                        "holder": holder,
                        "place": place,
                    }
                    for board, holder, place in found
                ]
            }
        )
        return
    if not found:
        say(f"there are no boards in {LAB}/; docs/boards.md says how to describe one")
        return
    table = Table("board", "what it is", "port", "baud", "in use by", box=None, pad_edge=False)
    for board, holder, place in found:
        speed = str(board.document.serial.speed)
        table.add_row(board.name, board.document.summary, board.port, speed, str(holder or place or "-"))
    print_wide(table)


def _holder(board: Board) -> tuple[Holder | None, str]:
    """Who has a board here, and whom labgrid names as having its place ("" where neither applies)."""
    from harness.core.errors import HarnessError
    from harness.machine.board import labgrid
    from harness.machine.board.lease import holder_of

    holder, place = holder_of(board), board.document.labgrid
    if place is None:
        return holder, ""
    try:
        return holder, labgrid.holder(place)
    except HarnessError as error:  # the others are listed all the same
        return holder, f"unknown: {error.message.splitlines()[0]}"


@app.command("check")
def check(name: BoardArgument) -> None:
    """Find out what of a board can be reached: port, power command, medium and disk; switches nothing."""
    import shutil

    from harness.core.errors import ConfigError
    from harness.machine.board import media
    from harness.machine.board.document import find_board
    from harness.machine.board.lease import leased
    from harness.machine.board.port import open_port

    board = find_board(name)
    document = board.document
    with leased(board, "harness board check"):
        if document.labgrid is not None:
            say(f"✓ labgrid gives us the place {document.labgrid.place}")
        open_port(board).close()
        say(f"✓ serial port {board.port} opens at {document.serial.speed} baud")
        power = document.power
        for command in filter(None, (power.on, power.off, power.cycle)):
            if shutil.which(command[0]) is None:
                hint = "install it, or give its path"
                raise ConfigError(f"{board.path}: key power: there is no program {command[0]}", hint=hint)
        how = "a person, who is asked" if power.manual else "commands that are there"
        say(f"✓ power is switched by {how}")
        for what, medium in (("medium", document.medium), ("disk", document.disk)):
            if medium is None:
                say(f"· no {what} is described: what is on it is not ours to write")
            elif device := media.attached(medium):
                say(f"✓ {what} {medium.serial} is attached to this host as {device.path}")
            else:
                say(f"· {what} {medium.serial} is not attached to this host: it is not written to")


@app.command("power")
def power(
    name: BoardArgument, what: Annotated[Literal["on", "off", "cycle"], typer.Argument(help="What to do.")]
) -> None:
    """Switch the power of a board that is free."""
    from harness.machine.board.document import find_board
    from harness.machine.board.lease import leased
    from harness.machine.board.power import Switch, ask_on_terminal

    board = find_board(name)
    with leased(board, f"harness board power {what}"):
        switch = Switch(board, ask_on_terminal)
        {"on": switch.on, "off": switch.off, "cycle": switch.cycle}[what]()


@app.command("console")
def console(
    name: BoardArgument,
    cycle: Annotated[bool, typer.Option("--cycle", help="Cycle its power once the port is open.")] = False,
) -> None:
    """Connect this terminal to a board's serial port; Ctrl-] leaves, and the board goes on."""
    from harness.machine.board.document import find_board
    from harness.machine.board.lease import leased

    board = find_board(name)
    with leased(board, "harness board console"):
        _talk(board, cycle=cycle)


def _talk(board: Board, *, cycle: bool) -> None:
    import tempfile
    from functools import partial
    from pathlib import Path

    from harness.console.keyboard import Keyboard, Phase
    from harness.console.recorder import Recorder
    from harness.console.terminal import Terminal
    from harness.machine.board.line import SerialLine
    from harness.machine.board.port import open_port
    from harness.machine.board.power import Switch, ask_on_terminal

    serial = board.document.serial
    line = SerialLine(partial(open_port, board), reattach=serial.reattach, heard=lambda _: None)
    with (
        tempfile.TemporaryDirectory() as place,
        line,
        Recorder(line.transport, Path(place, "raw"), Path(place, "idx")) as recorder,
    ):
        keyboard = Keyboard(recorder, takeover=False, taken=lambda _: None)
        keyboard.turn(Phase.YOURS)
        remark(f"{board.name} on {board.port} at {serial.speed} baud; Ctrl-] leaves")
        if cycle:
            Switch(board, ask_on_terminal).cycle()
        with Terminal(recorder, keyboard, offset=0) as terminal:
            terminal.wait()
    sys.stdout.write("\n")
    if line.failure is not None:
        raise line.failure
