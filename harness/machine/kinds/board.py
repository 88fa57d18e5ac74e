"""Boards as a kind of machine: leased, equipped, heard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.machine.board.document import Board, find_board
from harness.machine.kinds.kind import (
    Kind,
    MachineRequest,
    Surroundings,
    boot_images,
    memory_of,
    refuse_foreign,
    start_of,
)
from harness.machine.protocol import Accelerator, Firmware, Machine, Medium
from harness.machine.spec import MachineSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from harness.core.progress import Progress
    from harness.image.factory import Build
    from harness.recipe import Recipe
    from harness.store import Store

_CONSOLE = re.compile(r"\bconsole=ttyS\d+(?:,(\d+))?")


class OnBoard(Kind[MachineSpec], frozen=True):
    """A board of the lab."""

    name: str  # its name

    @property
    def board(self) -> Board:
        """What its file says."""
        return find_board(self.name)

    @property
    def alone(self) -> str:
        """A board has one run at a time."""
        return self.name

    @property
    def budgets(self) -> float:
        """As its file says."""
        return self.board.document.budgets

    @property
    def resources(self) -> dict[str, float]:
        """The board itself."""
        return {f"{self.kind}:{self.name}": 1.0}

    def refusal(self, option: str) -> ConfigError:
        """The board is as it is."""
        hint = f"leave it out; lab/{self.name}.toml describes the board, and the recipe what it boots"
        return ConfigError(f"the board {self.name} is as it is, and {option} cannot change it", hint=hint)

    def check_exists(self) -> None:
        """Read its file."""
        find_board(self.name)

    def leased(self, purpose: str) -> AbstractContextManager[None]:
        """Have the board."""
        from harness.machine.board.lease import leased

        return leased(self.board, purpose)

    def settled(
        self, request: MachineRequest, _store: Store, _note: Callable[[str], None], /
    ) -> MachineRequest:
        """Fill in what the board has: firmware, memory, and a medium."""
        board = self.board
        refuse_foreign(request, board.name)
        return msgspec.structs.replace(
            request,
            medium=Medium.BOARD,
            firmware=Firmware(board.document.firmware),
            memory=board.memory,
            cpu="",
        )

    def places(self, _memory: int, /) -> int:
        """None: it is no guest of this host."""
        return 0

    def images(self, recipe: Recipe, request: MachineRequest) -> tuple[str, ...]:
        """What its medium and disk are written from."""
        return boot_images(recipe, msgspec.structs.replace(request, medium=Medium.BOARD))

    def spec(self, built: Build, request: MachineRequest, _store: Store, _bulk: bool, /) -> MachineSpec:
        """What is known of the board, and what it boots."""
        memory = memory_of(built, request)
        start = start_of(built, request)
        return MachineSpec(start, request.firmware, None, memory, "", Accelerator.NATIVE)

    def equip(self, built: Build, spec: MachineSpec, progress: Progress) -> None:
        """Say what may keep it from being heard; write its medium and disk if they are attached here."""
        board = self.board
        for remark in remarks(board, spec.boot.command_line):
            progress.note(remark)
        equip(board, built, progress)

    def machine(self, spec: MachineSpec, around: Surroundings) -> AbstractContextManager[Machine]:
        """The board behind its serial port and switch."""
        from harness.machine.board.machine import BoardMachine
        from harness.machine.board.power import ask_on_terminal

        return BoardMachine(
            self.board,
            ask=ask_on_terminal,
            told=lambda gap: around.gap(gap.seconds, gap.offset),
            quiet=around.quiet,
            command_line=spec.boot.command_line,
        )


def equip(board: Board, built: Build, progress: Progress) -> None:
    """Write the board's medium and disk, where they are attached to this host."""
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
    wanted = [("medium", document.medium, boot.medium), ("disk", document.disk, boot.disk)]
    equipped = False
    for what, medium, image in wanted:
        if medium is None or image is None:
            continue
        if not equipped and not document.power.manual and document.power.off:
            Switch(board, ask_on_terminal).off()  # a medium is not taken from under a running system
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
