"""What a run on a real board needs beside one in QEMU: its lease, its medium, and options that make sense."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.machine.protocol import Firmware, Medium
from harness.run.checkpointing import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.core.progress import Progress
    from harness.image.factory import Build
    from harness.machine.board.document import Board
    from harness.run.pipeline import RunOptions

_CONSOLE = re.compile(r"\bconsole=ttyS\d+(?:,(\d+))?")


def on_board(options: RunOptions, board: Board) -> RunOptions:
    """The options of a run on a board, which has its own firmware, memory and medium.

    Raises:
        ConfigError: One was given that only QEMU can follow.
    """
    unfit = {
        "--accelerator": options.accelerator != "auto",
        "--memory": options.memory is not None,
        "--cpu": options.cpu is not None,
        "--append": bool(options.append),
        "--medium": options.medium != Medium.DIRECT,
        "--firmware": options.firmware != Firmware.BIOS,
        "--unpacked": options.unpacked is not None,
        "--checkpoint, --from and --until": options.part != WHOLE,
    }
    for option, given in unfit.items():
        if given:
            raise ConfigError(
                f"{option} is for QEMU, and the board {board.name} is as it is",
                hint=f"leave it out; {board.path} describes the board, and the recipe what it boots",
            )
    return msgspec.structs.replace(
        options,
        board=board,
        medium=Medium.BOARD,
        firmware=Firmware(board.document.firmware),
        memory=board.memory,
        cpu="",
    )


@contextmanager
def aboard(board: Board | None, purpose: str) -> Iterator[None]:
    """Have a board for as long as a run takes; nothing is to be had without one.

    Raises:
        ConfigError: The lease cannot be written.
        InfraError: Somebody else has it.
    """
    if board is None:
        yield
        return
    from harness.machine.board.lease import leased

    with leased(board, purpose):
        yield


def equip(board: Board, built: Build, progress: Progress) -> None:
    """Write the board's medium and disk, where they are attached to this host.

    Raises:
        ConfigError: The kernel is too wide for the board, or a disk must not be written to.
        InfraError: Writing fails.
    """
    from harness.machine.board import media
    from harness.machine.board.power import Switch, ask_on_terminal

    document, boot = board.document, built.recipe.boot
    for role, kernel in built.kernels.items():
        if kernel.image.bits > document.cpu:
            raise ConfigError(
                f"the {role} kernel {kernel.name} is of {kernel.image.bits} bit, and the board {board.name} "
                f"of {document.cpu}",
                hint="take another one with --kernel or --second",
            )
    wanted = [
        ("medium", document.medium, boot.medium),
        ("disk", document.disk, boot.disk),
    ]
    equipped = False
    for what, medium, image in wanted:
        if medium is None or image is None:
            continue
        if not equipped and not document.power.manual and document.power.off:
            Switch(board, ask_on_terminal).off()  # nobody takes a medium from under a running system
        equipped = True
        if not media.flash(board, medium, built.images[image].path, what, progress):
            progress.note(
                f"the {what} of board {board.name} ({medium.serial}) is not attached to this host: "
                "the board uses what is on it"
            )


def remarks(board: Board, command_line: str) -> Iterator[str]:
    """What may keep a board from being heard, in sentences."""
    consoles = _CONSOLE.findall(command_line)
    if not consoles:
        yield f'the medium\'s command line has no console=ttyS0, and nothing may be heard: "{command_line}"'
    elif not consoles[-1]:
        yield (
            "the medium's command line gives its serial console no speed: Linux takes the firmware's, or "
            f"9600 baud, and {board.path} says {board.document.serial.speed}"
        )
    elif int(consoles[-1]) != board.document.serial.speed:
        yield (
            f"the medium's command line says {consoles[-1]} baud, and {board.path} "
            f"{board.document.serial.speed}: only one of them will be heard"
        )
