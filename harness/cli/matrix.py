"""`harness matrix`: many runs as one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import err, print_json, print_wide, remark, say

if TYPE_CHECKING:
    from harness.matrix.cluster import ClusterWorkers
    from harness.matrix.display import MatrixDisplay
    from harness.matrix.local import LocalWorkers
    from harness.matrix.queue import Job

app = typer.Typer(
    help="Run recipes under kernels on machines, each with each, and remember what came of it.",
    no_args_is_help=True,
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The matrix, such as ci/nightly.toml.")]
SelectOption = Annotated[
    str,
    typer.Option(
        "--select", metavar="EXPR", help="Only these cells, such as 'kernel=debian-6.* and not cd'."
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs", min=1, metavar="N", help="No more runs at once than N.  [default: what the host carries]"
    ),
]


@app.command("plan")
def plan(
    file: FileArgument,
    select: SelectOption = "",
    jobs: JobsOption = None,
    runs: opts.Runs = Path("runs"),
    cache: opts.Cache = None,
    as_json: opts.Json = False,
) -> None:
    """Show the cells of a matrix, and how long they would probably take; run nothing."""
    from harness.machine.admission import places
    from harness.matrix import session
    from harness.matrix.backlog import Task, simulate
    from harness.matrix.display import plan_table

    options = session.Options(
        runs=runs.absolute(), cache=opts.cache_directory(cache), expression=select, jobs=jobs
    )
    planned = session.plan(file, options)
    tasks = [
        Task(cell.name, planned.seconds[cell.name], cell.places, cell.kind.alone) for cell in planned.cells
    ]
    at_once = min(jobs or places(), places())
    seconds = simulate(tasks, [max(at_once, *(task.places for task in tasks))])
    if as_json:
        print_json(
            {
                "matrix": planned.matrix.name,
                "cells": [
                    {"name": cell.name, "seconds": planned.seconds[cell.name], **_fields(cell)}
                    for cell in planned.cells
                ],
                "seconds": seconds,
                "notes": planned.matrix.notes,
            }
        )
        return
    print_wide(plan_table(planned))
    for note in planned.matrix.notes:
        remark(note, "yellow")
    many, unknown = len(planned.cells), len(planned.cells) - len(planned.known)
    guess = f"; {unknown} of them (?) were not run before" if unknown else ""
    about = f"about {_span(seconds)} with {at_once} at once{guess}" if seconds else "never run before"
    say(f"\n{many} cell{'s' * (many != 1)}, {about}")


@app.command("run")
def run(
    file: FileArgument,
    select: SelectOption = "",
    jobs: JobsOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the last one where it stopped.")
    ] = False,
    scheduler: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Let the workers of this Dask cluster run the cells: tcp://HOST:8786."
        ),
    ] = "",
    send: Annotated[
        bool,
        typer.Option(
            "--send-artifacts", help="Send those workers what they boot, each into the cache of its own host."
        ),
    ] = False,
    runs: opts.Runs = Path("runs"),
    cache: opts.Cache = None,
    as_json: opts.Json = False,
) -> None:
    """Run a matrix; the exit code is that of the worst cell that may not fail."""
    from harness.matrix import session
    from harness.matrix.controller import worst
    from harness.matrix.display import MatrixDisplay, plan_table, result_table
    from harness.report.progress import TerminalProgress

    options = session.Options(
        runs=runs.absolute(),
        cache=opts.cache_directory(cache),
        expression=select,
        jobs=jobs,
        resume=resume,
        scheduler=scheduler,
        send=send,
    )
    if send and not scheduler:
        raise typer.BadParameter("it is for the workers of --scheduler", param_hint="'--send-artifacts'")
    if not resume:
        planned = session.plan(file, options)
        for note in planned.matrix.notes:
            remark(note, "yellow")
        if not as_json:
            print_wide(plan_table(planned))
            say()
    with ExitStack() as stack:
        progress = stack.enter_context(TerminalProgress(err()))

        def watching(workers: LocalWorkers | ClusterWorkers, total: int, done: int) -> MatrixDisplay:
            return stack.enter_context(MatrixDisplay(err(), workers, total, done))

        matrix, ended = session.run(file, options, progress, watching)
    if as_json:
        print_json({"matrix": matrix, "outcome": worst(ended), "cells": [_report(job) for job in ended]})
    else:
        print_wide(result_table(ended))
    raise typer.Exit(worst(ended).exit_code)


@app.command("changes")
def changes(file: FileArgument, runs: opts.Runs = Path("runs"), as_json: opts.Json = False) -> None:
    """Say which cells ended otherwise than in the run before; nothing is said when none did."""
    from harness.matrix import session

    found = session.changes(file, runs.absolute())
    if as_json:
        print_json({"changes": found})
        return
    for change in found:
        before = change.before or "new"
        reason = f": {change.reason}" if change.reason else ""
        say(f"{change.cell}: {before} → {change.now}{reason}")


def _report(job: Job) -> dict[str, object]:
    result = job.result
    return {
        "name": job.cell.name,
        **_fields(job.cell),
        "outcome": str(result.outcome) if result else "",
        "flaky": job.flaky,
        "attempts": job.attempt,
        "reason": result.reason if result else "",
        "run": result.run if result else "",
        "seconds": result.seconds if result else 0.0,
    }


def _fields(cell: object) -> dict[str, object]:
    import msgspec

    fields: dict[str, object] = msgspec.to_builtins(cell)
    return fields


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return (
        f"{seconds:.0f} s"
        if minutes < 2
        else f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min"
    )
