"""`harness qualify`: what kernels can do, found out by booting them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import (
    AcceleratorOption,
    CacheOption,
    JsonOption,
    MirrorOption,
    RefreshOption,
    RunsOption,
    cache_directory,
    kernel_names,
)
from harness.cli.printing import err, out, print_json, print_wide

if TYPE_CHECKING:
    from harness.qualify.qualification import Qualification

KernelsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="KERNEL...",
        help="Kernels: names of the catalogue, or vmlinuz files as PATH or PATH,modules=DIR.",
        autocompletion=kernel_names,
    ),
]


def qualify(
    kernels: KernelsArgument,
    relay: Annotated[bool, typer.Option(help="Also run the relay with the kernel as its seed.")] = True,
    memory: Annotated[bool, typer.Option(help="Also find out how much memory it needs.")] = True,
    accelerator: AcceleratorOption = "auto",
    runs: RunsOption = Path("runs"),
    cache: CacheOption = None,
    mirror: MirrorOption = None,
    refresh: RefreshOption = False,
    as_json: JsonOption = False,
) -> None:
    """Boot kernels, and say what they can do and for which plans they are good."""
    from harness.kernel import catalogue
    from harness.qualify import qualification
    from harness.report.progress import TerminalProgress
    from harness.run import pipeline
    from harness.sources.debian import DebianSource
    from harness.store import Store

    wishes = qualification.QualifyRequest(
        cache=cache_directory(cache),
        running=pipeline.RunOptions(runs=runs.absolute(), accelerator=accelerator),
        relay=relay,
        memory=memory,
        mirror=mirror,
        refresh=refresh,
    )
    found = []
    with TerminalProgress(err()) as progress:
        pipeline.check_host(wishes.running, pipeline.BuildOptions(cache=wishes.cache), progress)
        debian = DebianSource(Store(wishes.cache), progress, mirror=mirror, refresh=refresh)
        # All of them, before the first boots: a slip in the last name shows at once.
        at_hand = {name: catalogue.obtain(name, debian) for name in kernels}
        for name, kernel in at_hand.items():
            with progress.task(f"qualifying {Path(kernel.name).name}"):
                found.append(qualification.qualify(name, kernel, wishes, progress))
    if as_json:
        print_json({"kernels": found})
    else:
        _show(found)
    raise typer.Exit(qualification.exit_status(found))


def _show(found: list[Qualification]) -> None:
    from rich.table import Table
    from rich.text import Text

    from harness.qualify.table import advice_lines, table_rows

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for each in found:
        table.add_column(Path(each.kernel).name)
    for title, cells in table_rows(found):
        table.add_row(title, *map(Text, cells))
    print_wide(table)
    for line in advice_lines(found):
        out().print(line, soft_wrap=True, highlight=False, markup=False)
