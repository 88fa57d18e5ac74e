"""`harness verdict`: what a console log says about a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import out, print_json, say

if TYPE_CHECKING:
    from harness.stages.plan import Plan
    from harness.stages.replay import Replay


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
            raise ConfigError(
                "which plan does the log follow?", hint="name it with --plan, such as --plan relay"
            )
        wanted = load_plan(find_plan(plan))
        shown = replay(wanted, log)
    else:
        try:
            reading = read_run(find_run(str(log), runs))
        except ConfigError as error:
            raise ConfigError(
                f"{log} is no console log, and no run either: {error.message}", hint=error.hint
            ) from error
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
