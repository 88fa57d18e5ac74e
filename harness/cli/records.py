"""`harness runs`, `log`, `replay`, `watch`, `verdict`: what is kept of runs."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import OutputLost, err, out, print_json, print_wide, remark, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.stages.plan import Plan
    from harness.stages.replay import Replay

RunArgument = Annotated[
    str, typer.Argument(help="A run: its directory, its id or a part of it, or `last`.", metavar="RUN")
]
SinceOption = Annotated[str | None, typer.Option(metavar="STAGE", help="Begin with this stage.")]
ClockOption = Annotated[bool, typer.Option("--clock", help="Times of day (UTC) instead of seconds.")]
TypedOption = Annotated[bool, typer.Option("--typed", help="Show what was typed to the guest, too.")]


def list_runs(runs: opts.Runs = Path("runs"), as_json: opts.Json = False) -> None:
    """List the runs whose records are kept, the newest last."""
    from rich.text import Text

    from harness.record.reading import read_runs
    from harness.report.text import table

    summaries = [reading.summary() for reading in read_runs(runs)]
    if as_json:
        print_json({"runs": summaries})
        return
    if not summaries:
        say(f"there are no run records in {runs}")
        return
    listed = table("run", "outcome", "stage", "seconds")
    styles = {"PASS": "green", "running": "yellow"}
    for run in summaries:
        outcome = (run.outcome or run.state) + (" by hand" if run.by_hand else "")
        listed.add_row(run.id, Text(outcome, styles.get(outcome, "red")), run.stage, f"{run.seconds:.1f}")
    print_wide(listed)


def log(
    run: RunArgument = "last",
    since: SinceOption = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="End with this stage.")] = None,
    grep: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Only lines in which this pattern is found.")
    ] = None,
    context: Annotated[int, typer.Option("-C", "--context", min=0, help="Lines around those.")] = 0,
    tail: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the last N lines.")] = None,
    typed: TypedOption = False,
    clock: ClockOption = False,
    raw: Annotated[bool, typer.Option("--raw", help="The bytes as they came, and nothing else.")] = False,
    runs: opts.Runs = Path("runs"),
) -> None:
    """Print what a run's console said, line by line with the time of each, stage by stage."""
    from harness.record.reading import find_run, read_run
    from harness.report.log import LogOptions, log_lines

    reading = read_run(find_run(run, runs))
    if raw:
        start, end = reading.span(since, until)
        _copy(reading.raw, start, end)
        return
    options = LogOptions(
        since=since,
        until=until,
        grep=grep,
        context=context,
        tail=tail,
        typed=typed,
        clock=clock,
        colour=_is_coloured(),
    )
    _print_lines(log_lines(reading, options))


def replay(
    run: RunArgument = "last",
    speed: Annotated[float, typer.Option(min=0.01, help="So many times as fast.")] = 1.0,
    idle_limit: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Cut every silence to this length.")
    ] = None,
    since: SinceOption = None,
    typed: TypedOption = False,
    cast: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a film for asciinema instead (asciicast v2).")
    ] = None,
    runs: opts.Runs = Path("runs"),
) -> None:
    """Play a run's console in this terminal, as it was; space pauses, q leaves."""
    from harness.console.cast import write_cast
    from harness.core.errors import ConfigError, explaining
    from harness.record.reading import find_run, read_run
    from harness.report.player import play, with_typed

    reading = read_run(find_run(run, runs))
    if cast is not None:
        keys = [(mark.seconds, mark.text) for mark in reading.typed()] if typed else []
        title = reading.document.id
        with explaining(ConfigError, f"cannot write {cast}", "choose another file"):
            write_cast(reading.raw, reading.directory / "console.idx", cast, title=title, typed=keys)
        say(str(cast))
        return
    start, _ = reading.span(since, None)
    pieces = reading.pieces(start)
    if typed:
        pieces = with_typed(pieces, [mark for mark in reading.typed() if mark.offset >= start])
    ended = play(pieces, speed=speed, idle_limit=idle_limit)
    sys.stdout.write("\x1b[0m\n")
    sys.stdout.flush()
    if ended:
        remark(f"{reading.document.id}: {reading.ending()}")


def watch(
    run: RunArgument = "last",
    typed: TypedOption = False,
    clock: ClockOption = False,
    runs: opts.Runs = Path("runs"),
) -> None:
    """Follow a run that goes on in another process; ends with it, and with its exit code."""
    from threading import Event

    from harness.core.errors import InfraError
    from harness.record.reading import find_run, read_run
    from harness.report.log import LogOptions, follow
    from harness.report.summary import show_verdict

    directory = find_run(run, runs)
    options = LogOptions(typed=typed, clock=clock, colour=_is_coloured())
    _print_lines(follow(directory, options, wait=lambda: Event().wait(_MOMENT)))
    reading = read_run(directory)
    verdict = reading.document.verdict
    if verdict is None:
        raise InfraError(f"{reading.document.id}: {reading.ending()}", hint="run it again")
    show_verdict(err(), verdict)
    raise typer.Exit(verdict.outcome.exit_code)


_MOMENT = 0.2  # seconds between looks at a run that goes on


def _print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are, fast."""
    with _reader_may_go():
        for line in lines:
            sys.stdout.write(line + "\n")  # a terminal gets each at once


def _copy(path: Path, start: int, end: int | None) -> None:
    with path.open("rb") as source:
        source.seek(start)
        left = os.fstat(source.fileno()).st_size - start if end is None else end - start
        with _reader_may_go():
            while left > 0 and (data := source.read(min(left, 1 << 20))):
                sys.stdout.buffer.write(data)
                left -= len(data)


@contextmanager
def _reader_may_go() -> Iterator[None]:
    """Print all; a reader that has gone is a good end."""
    try:
        yield
        sys.stdout.flush()
    except OutputLost as lost:
        if not lost.reader_gone:
            raise


def _is_coloured() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _plan_names(incomplete: str) -> list[str]:
    from harness.stages.plan_file import plan_files

    return [name for name in plan_files() if name.startswith(incomplete)]


def verdict(
    log: Annotated[
        Path,
        typer.Argument(
            help="A console log (- for standard input); or a run, by its directory, id, or `last`."
        ),
    ],
    plan: Annotated[
        str | None,
        typer.Option(
            help="Plan by name, or the path of a .toml file.  [default: that of the run]",
            autocompletion=_plan_names,
        ),
    ] = None,
    runs: opts.Runs = Path("runs"),
    as_json: opts.Json = False,
) -> None:
    """Follow a plan over a console log, and explain what became of the run."""
    from harness.core.errors import ConfigError
    from harness.record.console_log import Arrivals
    from harness.record.reading import find_run, read_run
    from harness.stages.plan_file import find_plan, load_plan
    from harness.stages.replay import replay

    if str(log) == "-" or (log.exists() and not log.is_dir()):
        if plan is None:
            hint = "name it with --plan, such as --plan relay"
            raise ConfigError("which plan does the log follow?", hint=hint)
        wanted = load_plan(find_plan(plan))
        shown = replay(wanted, log)
    else:
        try:
            reading = read_run(find_run(str(log), runs))
        except ConfigError as error:
            message = f"{log} is no console log, and no run either: {error.message}"
            raise ConfigError(message, hint=error.hint) from error
        wanted = load_plan(find_plan(plan or reading.document.plan))
        arrivals = Arrivals(reading.directory / "console.idx")
        shown = replay(wanted, reading.raw, seconds_at=arrivals.seconds_at)
    if as_json:
        print_json({key: getattr(shown, key) for key in shown.__struct_fields__})
    else:
        _show(shown, wanted)
    raise typer.Exit(shown.result.verdict.outcome.exit_code)


def _show(shown: Replay, plan: Plan) -> None:
    from rich.text import Text

    from harness.report.summary import MARKS, show_verdict
    from harness.stages.verdict import StageStatus

    titles = {stage.name: stage.title for stage in plan.stages}
    for stage in shown.result.stages:
        where = "" if stage.status == StageStatus.NOT_REACHED else f"@{stage.start}"
        line = Text(f" {stage.name:<14} {titles[stage.name]:<46} {where}")
        say(MARKS[stage.status] + line)
    if shown.unseen:
        names = ", ".join(shown.unseen)
        say(f"  a log cannot show: {names} (a shell's answers prove them)")
    if shown.before:
        say(f"  the log begins behind: {', '.join(shown.before)}")
    if not shown.placed:
        say("  no kernel and no stage begins in the log: which stage it is from is not known")
    if shown.prefix:
        say(f"  left out before each line: {shown.prefix!r}")
    for name, fact in shown.result.facts.items():
        say(f"  {name}: {fact}")
    say()
    show_verdict(out(), shown.result.verdict)
