"""Runs commands of the harness one after the other, each in a fork with standard output as it is asked for.

A fork costs a tenth of a new interpreter. Reads cases as JSON from the file that is named first, and writes
what came of them to the second.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import harness
from harness.cli import main, program

TIMEOUT = 60  # seconds for a command


class Case(msgspec.Struct, frozen=True):
    """A command line, and what is wrong while it is run: "", "full", "closed", "pipe" or "gone".

    Words are of Latin-1, so that they can have any byte.
    """

    words: tuple[str, ...]
    wrong: str = ""


class Ended(msgspec.Struct, frozen=True):
    """What came of a case."""

    status: int
    stdout: str
    stderr: str


def all_commands() -> dict[str, TyperCommand]:
    """Every command that there is, by its words."""
    found: dict[str, TyperCommand] = {}

    def look(command: object, words: tuple[str, ...]) -> None:
        if isinstance(command, TyperGroup):
            for name, inner in command.commands.items():
                look(inner, (*words, name))
        elif isinstance(command, TyperCommand):
            found[" ".join(words)] = command

    look(get_command(program()), ())
    return found


def import_all() -> None:
    """Import what commands import when they are called: once here instead of in every fork."""
    for module in pkgutil.walk_packages(harness.__path__, "harness."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # an optional library is not there
                importlib.import_module(module.name)
    gc.freeze()  # pages stay shared


def carried_out(case: Case, place: Path) -> Ended:
    """Fork, and run a case in a directory."""
    home = Path(tempfile.mkdtemp(dir=place)) if case.wrong == "gone" else place
    stdout, stderr = (os.memfd_create(name) for name in ("stdout", "stderr"))
    child = os.fork()
    if child == 0:
        signal.alarm(TIMEOUT)
        os.chdir(home)
        if case.wrong == "gone":
            shutil.rmtree(home)
        os.dup2(stderr, 2)
        os.dup2(_standard_output(case.wrong, stdout), 1)
        if case.wrong == "closed":
            os.close(1)
            for name in ("stdout", "__stdout__"):  # as at a start
                setattr(sys, name, None)
        main([os.fsdecode(word.encode("latin-1")) for word in case.words])
    _, status = os.waitpid(child, 0)
    said = [os.pread(each, 1 << 20, 0).decode("utf-8", "replace") for each in (stdout, stderr)]
    for descriptor in (stdout, stderr):
        os.close(descriptor)
    return Ended(os.waitstatus_to_exitcode(status), *said)


def _standard_output(wrong: str, usual: int) -> int:
    if wrong == "full":
        return os.open("/dev/full", os.O_WRONLY)
    if wrong == "pipe":
        reads, writes = os.pipe()
        os.close(reads)
        return writes
    return usual


if __name__ == "__main__":
    cases = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[Case])
    program()
    import_all()
    ended = [carried_out(case, Path.cwd()) for case in cases]
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(ended))
