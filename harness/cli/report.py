"""`harness report`: pages about all runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import JsonOption, RunsOption
from harness.cli.printing import err, out, print_json


def report(
    html: Annotated[
        Path, typer.Option("--html", metavar="DIR", help="Write the pages here; what changed is made anew.")
    ] = Path("report"),
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Write static pages about all runs: overview, cells, runs with their consoles, produced files."""
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
    out().print(f"{html / 'index.html'}: {text}", markup=False, highlight=False, soft_wrap=True)
