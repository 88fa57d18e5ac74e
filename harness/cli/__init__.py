"""The command line: arguments in, exit codes out.

Every command pays for what is imported here, so each imports what it needs when it is called.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

import harness
from harness.cli.printing import OutputLost, err, open_streams, print_json, remark
from harness.core.errors import Ending, InfraError, Interrupted, explained
from harness.core.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

# Where each command is, under the headings of the help: a function, or the `app` of a group.
_PANELS = {
    "Run": {
        "run": "run.run",
        "shell": "run.run",
        "matrix": "matrix.app",
        "watch": "records.watch",
        "checkpoint": "store.checkpoint_app",
    },
    "Images": {
        "build": "build.build",
        "script": "script.script",
        "image": "image.app",
        "lock": "build.lock",
        "distfiles": "distfiles.app",
        "derivation": "derivation.app",
        "store": "store.app",
    },
    "Kernels": {
        "kernel": "kernel.app",
        "qualify": "qualify.qualify",
    },
    "Results": {
        "runs": "records.list_runs",
        "log": "records.log",
        "replay": "records.replay",
        "verdict": "records.verdict",
        "history": "history.history",
        "compare": "history.compare",
        "bisect": "bisect.bisect",
        "report": "report.report",
        "serve": "report.serve",
        "prune": "history.prune",
    },
    "Machines": {
        "flash": "flash.flash",
        "board": "board.app",
        "doctor": "host.doctor",
        "list": "host.list_everything",
    },
}
_BROKEN_PIPE = 141  # as shells show a program that SIGPIPE ended
_HELP = {
    "run": "Build a recipe's images, boot them, follow the run and verify its end.",
    "shell": "Do the same as `run`, and hand you the guest's bash before it is powered off.",
}


def program(given: Sequence[str] = ()) -> typer.Typer:
    """The program as typer has it.

    Args:
        given: The arguments. When a command is called, the others are not even imported: that would take as
            long as all else before it starts.
    """
    app = typer.Typer(
        name="harness",
        help="Build, boot, follow and verify bootstraps: images, console, stages, verdict.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_globals)
    called = next((word for word in given if not word.startswith("-")), "")
    commands = [(panel, name, place) for panel, some in _PANELS.items() for name, place in some.items()]
    for panel, name, place in [each for each in commands if each[1] == called] or commands:
        module, _, attribute = place.partition(".")
        command = getattr(import_module(f"harness.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, help=_HELP.get(name), rich_help_panel=panel)(command)
    return app


def _globals(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,  # noqa: ARG001 - `main`
) -> None:
    if version:
        sys.stdout.write(f"harness {harness.__version__}\n")
        raise typer.Exit
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd() is the same, and is not imported yet
    except FileNotFoundError as error:
        hint = "change to one that exists"
        raise InfraError("the working directory is gone: it was removed or replaced", hint=hint) from error


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with the outcome's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    open_streams()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup, or a script's background
            signal.signal(number, _stop)
    try:
        status = _carried_out(given)
        sys.stdout.flush()
    except OutputLost as error:
        status = _BROKEN_PIPE if error.reader_gone else _report(error, given)
    sys.exit(status)


def _carried_out(given: Sequence[str]) -> int:
    """Do what the command line says; the exit status."""
    try:
        program(given)(given)
    except OutputLost:
        raise
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Outcome.PASS.exit_code
    except Ending as error:
        return _report(error, given)
    except Exception as error:
        if "--debug" in given:
            raise
        return _report(explained(error), given)
    return Outcome.PASS.exit_code


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(f"stopped by {signal.Signals(number).name}")


def _report(error: Ending, given: Sequence[str]) -> int:
    """Say what ended the program; the exit status."""
    status, message = error.outcome.exit_code, error.message
    if "--debug" in given:
        err().print_exception()
    if "--json" in given and not isinstance(error, OutputLost):
        try:
            print_json({"outcome": error.outcome, "error": message, "hint": error.hint})
            sys.stdout.flush()
        except OutputLost as lost:
            status = _BROKEN_PIPE if lost.reader_gone else lost.outcome.exit_code
            message = message if lost.reader_gone else f"{message}; {lost.message}"
    remark(f"harness: {message}")
    if error.hint:
        remark(f"  {error.hint}")
    return status
