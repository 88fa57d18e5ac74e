"""`harness qualify`: what kernels can do, found out by booting them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import err, print_json, print_wide, say

if TYPE_CHECKING:
    from harness.qualify.qualification import Qualification

KernelsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="KERNEL...",
        help="Kernels: names of the catalogue, or vmlinuz files as PATH or PATH,modules=DIR.",
        autocompletion=opts.kernel_names,
    ),
]


def qualify(
    kernels: KernelsArgument,
    relay: Annotated[bool, typer.Option(help="Also run the relay with the kernel as its seed.")] = True,
    memory: Annotated[bool, typer.Option(help="Also find out how much memory it needs.")] = True,
    accelerator: opts.Accelerator = "auto",
    runs: opts.Runs = Path("runs"),
    cache: opts.Cache = None,
    mirror: opts.Mirror = None,
    refresh: opts.Refresh = False,
    as_json: opts.Json = False,
) -> None:
    """Boot kernels, and say what they can do and for which plans they are good."""
    import msgspec

    from harness.kernel import catalogue
    from harness.machine.kinds import find_kind
    from harness.qualify import qualification
    from harness.report.progress import TerminalProgress
    from harness.run.request import RunRequest
    from harness.sources.debian import DebianSource
    from harness.store import Store

    build = opts.build_options(None, cache, None, mirror, refresh=refresh)
    request = RunRequest(runs=runs.absolute(), accelerator=accelerator, build=build)
    store, found = Store(build.cache), []
    with TerminalProgress(err()) as progress:
        settled = find_kind(request.machine).settled(request, store, progress.note)
        wanted = qualification.QualifyRequest(
            request=msgspec.structs.replace(request, accelerator=settled.accelerator),
            relay=relay,
            memory=memory,
        )
        debian = DebianSource(store, progress, mirror=mirror, refresh=refresh)
        # All of them, before the first boots: a slip in the last name shows at once.
        at_hand = {name: catalogue.obtain(name, debian) for name in kernels}
        for name, kernel in at_hand.items():
            with progress.task(f"qualifying {Path(kernel.name).name}"):
                found.append(qualification.qualify(name, kernel, wanted, progress))
    if as_json:
        print_json({"kernels": found})
    else:
        _show(found)
    raise typer.Exit(qualification.exit_status(found))


def _show(found: list[Qualification]) -> None:
    from harness.qualify.table import advice_lines, table_rows
    from harness.report.text import table

    listed = table("", *(Path(each.kernel).name for each in found))
    for title, cells in table_rows(found):
        listed.add_row(title, *cells)
    print_wide(listed)
    for line in advice_lines(found):
        say(line)
