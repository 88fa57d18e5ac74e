"""`harness report --bare-metal`: a run as a text to paste."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RunsOption
from harness.cli.records import RunArgument  # noqa: TC001 - read at run time

BareMetalOption = Annotated[
    bool,
    typer.Option(
        "--bare-metal", help="Markdown to paste: machine, firmware, memory map, stages, verdict, log."
    ),
]


def report(
    run: RunArgument = "last", bare_metal: BareMetalOption = False, runs: RunsOption = Path("runs")
) -> None:
    """Report on a run, in the form that is asked for."""
    from harness.errors import ConfigError
    from harness.report.reading import find_run, read_run

    if not bare_metal:
        raise ConfigError("no form of report is asked for", hint="--bare-metal gives one to paste")
    from harness.report.bare_metal import report as lines_of

    for line in lines_of(read_run(find_run(run, runs))):
        sys.stdout.write(f"{line}\n")
