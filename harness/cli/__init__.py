"""The command line: arguments in, exit codes out; nothing else ends the process.

Every command pays for what is imported here, so each imports what it needs when it is called.
"""

from __future__ import annotations

import io
import signal
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

import harness
from harness.cli import (
    build,
    checkpoint,
    distfiles,
    flash,
    history,
    host,
    image,
    kernel,
    matrix,
    records,
    run,
    store,
    verdict,
)
from harness.cli.printing import err, print_json
from harness.errors import HarnessError, Interrupted
from harness.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

app = typer.Typer(
    name="harness",
    help="Build, boot, follow and verify bootstraps: images, console, stages, verdict.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", help="Build a recipe's images, boot them, follow the run and verify its end.")(run.run)
app.command("shell", help="Do the same as `run`, and hand you the guest's bash before it is powered off.")(
    run.run
)
app.command("build")(build.build)
app.command("lock")(build.lock)
app.add_typer(kernel.app, name="kernel")
app.command("flash")(flash.flash)
app.add_typer(image.app, name="image")
app.add_typer(store.app, name="store")
app.add_typer(checkpoint.app, name="checkpoint")
app.add_typer(distfiles.app, name="distfiles")
app.command("runs")(records.list_runs)
app.command("log")(records.log)
app.command("replay")(records.replay)
app.command("watch")(records.watch)
app.command("history")(history.history)
app.command("compare")(history.compare)
app.command("prune")(history.prune)
app.add_typer(matrix.app, name="matrix")
app.command("verdict")(verdict.verdict)
app.command("doctor")(host.doctor)
app.command("list")(host.list_everything)


@app.callback(invoke_without_command=True)
def _globals(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,  # noqa: ARG001 - `main`
) -> None:
    if version:
        sys.stdout.write(f"harness {harness.__version__}\n")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with the outcome's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode gets a ? instead of a ✓
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        app(given)
        status = Outcome.PASS.exit_code
    except HarnessError as error:
        status = _report(error, given)
    except Exception as error:
        if "--debug" in given:
            raise
        status = _report(_mistake(error), given)
    sys.exit(status)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(f"stopped by {signal.Signals(number).name}")


def _mistake(error: Exception) -> HarnessError:
    import traceback

    where = traceback.extract_tb(error.__traceback__)[-1]
    return HarnessError(
        f"a mistake of ours: {type(error).__name__}: {error} ({where.filename}:{where.lineno})",
        hint="please report it, with what `harness --debug …` prints",
    )


def _report(error: HarnessError, given: Sequence[str]) -> int:
    if "--debug" in given:
        err().print_exception()
    if "--json" in given:
        print_json({"outcome": error.outcome, "error": error.message, "hint": error.hint})
    err().print(f"harness: {error.message}", markup=False, highlight=False, soft_wrap=True)
    if error.hint:
        err().print(f"  {error.hint}", markup=False, highlight=False, soft_wrap=True)
    return error.outcome.exit_code
