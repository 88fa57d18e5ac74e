"""`harness report` and `serve`: pages about all runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import err, print_json, say


def report(
    run: Annotated[
        str, typer.Argument(help="For --bare-metal: a run as in `harness log`.", metavar="[RUN]")
    ] = "",
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="DIR", help="Write the pages here; what changed is made anew."),
    ] = None,
    bare_metal: Annotated[
        bool,
        typer.Option(
            "--bare-metal",
            help="One run as Markdown to paste: machine, firmware, memory map, stages, verdict, log.",
        ),
    ] = False,
    runs: opts.Runs = Path("runs"),
    as_json: opts.Json = False,
) -> None:
    """Write static pages about all runs: overview, cells, runs with their consoles; or one run to paste."""
    from harness.core.errors import ConfigError

    if bare_metal:
        _paste(run or "last", runs)
        return
    if run or html is None:
        hint = "--html DIR writes pages about all runs, RUN --bare-metal prints one run to paste"
        raise ConfigError("no form of report is asked for", hint=hint)
    from harness.report.progress import TerminalProgress
    from harness.report.site.build import build

    with TerminalProgress(err()) as progress:
        built = build(runs, html, progress=progress)
    if as_json:
        print_json(
            {
                "runs": built.runs,
                "rendered": built.rendered,
                "removed": built.removed,
                "page": html / "index.html",
            }
        )
        return
    text = f"{built.runs} runs, {built.rendered} made anew"
    if built.removed:
        text += f", {built.removed} removed"
    say(f"{html / 'index.html'}: {text}")


def _paste(run: str, runs: Path) -> None:
    from harness.record.reading import find_run, read_run
    from harness.report.bare_metal import report as lines_of

    for line in lines_of(read_run(find_run(run, runs))):
        say(line)


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8642,
    host: Annotated[
        str, typer.Option(help="Listen here; other addresses than this one let others read your records.")
    ] = "127.0.0.1",
    runs: opts.Runs = Path("runs"),
) -> None:
    """Show the report in a browser and keep it up to date, such as while a matrix runs; Ctrl-C ends it."""
    from threading import Event

    from harness.core.errors import Interrupted
    from harness.report.progress import TerminalProgress
    from harness.report.site.build import build
    from harness.report.site.server import PLACE, keep_up, serving

    with TerminalProgress(err()) as progress:
        build(runs, runs / PLACE, progress=progress)
    with serving(runs, host, port) as address:
        say(address)
        try:
            keep_up(runs, Event())
        except Interrupted:
            return
