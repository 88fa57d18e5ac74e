"""`harness distfiles`: the files that a checkout downloads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import err, print_json, print_wide, say
from harness.core.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.core.progress import Progress
    from harness.payload.distfiles import Found
    from harness.payload.source_lists import Distfile
    from harness.payload.tree import SourceTree
    from harness.sources.downloads import Downloads

_SHOWN = 8  # missing files that are named

app = typer.Typer(
    help="See to the files that a bootstrap's checkout downloads: all eras, all kinds of lists.",
    no_args_is_help=True,
)

TreeOption = Annotated[Path, typer.Option("--tree", help="The checkout.")]
StageOption = Annotated[
    list[str] | None, typer.Option("--stage", help="Only the files that this stage needs; repeatable.")
]
AllOption = Annotated[bool, typer.Option("--all", help="List all files, one by one.")]
MirrorOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mirror", help="Directory or address with all files side by side, tried first; repeatable."
    ),
]


@app.callback()
def _tree(context: typer.Context, tree: TreeOption) -> None:
    context.obj = tree


@app.command("status")
def status(
    context: typer.Context,
    stage: StageOption = None,
    each: AllOption = False,
    cache: opts.Cache = None,
    as_json: opts.Json = False,
) -> None:
    """Say how many files each stage needs, and which are missing; ends with 2 if some are."""
    from harness.core.progress import Quiet
    from harness.payload import distfiles

    tree, needed, downloads = _look(context, stage, cache, Quiet())
    _tell(tree, distfiles.status(needed, downloads), Outcome.CONFIG, each=each, as_json=as_json)


@app.command("fetch")
def fetch(
    context: typer.Context,
    stage: StageOption = None,
    mirror: MirrorOption = None,
    jobs: Annotated[int, typer.Option(min=1, max=32, help="Downloads at a time.")] = 4,
    into: Annotated[
        Path | None, typer.Option(help="Also lay all files side by side in this directory: a mirror.")
    ] = None,
    each: AllOption = False,
    cache: opts.Cache = None,
    as_json: opts.Json = False,
) -> None:
    """Get what is missing: from the tree's own directories, mirrors and addresses, each checked by its hash.

    What cannot be had does not stop the others, and is listed at the end. A download that broke off is gone
    on with.
    """
    from harness.payload import distfiles
    from harness.report.progress import TerminalProgress

    distfiles.check_places(mirror or ())
    with TerminalProgress(err()) as progress:
        tree, needed, downloads = _look(context, stage, cache, progress)
        places = [*map(str, distfiles.directories(tree)), *(mirror or ())]
        found = distfiles.fetch(needed, downloads, places, jobs=jobs)
        if into is not None:
            count = distfiles.deliver(found, into)
            progress.note(f"{count} files were laid into {into}")
    _tell(tree, found, Outcome.INFRA, each=each, as_json=as_json)


@app.command("verify")
def verify(
    context: typer.Context,
    stage: StageOption = None,
    directory: Annotated[
        list[Path] | None, typer.Option("--directory", help="Check the files here as well; repeatable.")
    ] = None,
    cache: opts.Cache = None,
    as_json: opts.Json = False,
) -> None:
    """Read every file again, in the cache and in the tree's own directories; ends with 2 if one is wrong."""
    from harness.core.progress import Quiet
    from harness.payload import distfiles

    tree, needed, downloads = _look(context, stage, cache, Quiet())
    places = (*distfiles.directories(tree), *(directory or ()))
    wrong = list(distfiles.verify(needed, places, downloads))
    if as_json:
        print_json({"wrong": wrong})
    for one in () if as_json else wrong:
        say(f"{one.path}: sha256 {one.sha256}, and {one.wanted} is wanted")
    if not wrong and not as_json:
        say("every file that is there is the one that it should be")
    if wrong:
        raise typer.Exit(Outcome.CONFIG.exit_code)


@app.command("serve")
def serve(
    context: typer.Context,
    stage: StageOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this host; 0: any that is free.")] = 0,
    cache: opts.Cache = None,
) -> None:
    """Offer what is at hand over HTTP on this host, as a mirror, until you stop it with Ctrl-C.

    A guest on QEMU's user network finds it at http://10.0.2.2:PORT.
    """
    from harness.core.progress import Quiet
    from harness.machine.network.http import Mirror
    from harness.payload import distfiles

    tree, needed, downloads = _look(context, stage, cache, Quiet())
    found = distfiles.status(needed, downloads)
    files = {one.distfile.name: one.place for one in found if one.place is not None}
    with Mirror(files, port) as mirror:
        say(f"{len(files)} files of {tree.path} at {mirror.address}")
        mirror.wait()


def _look(
    context: typer.Context, stage: Sequence[str] | None, cache: Path | None, progress: Progress
) -> tuple[SourceTree, Sequence[Distfile], Downloads]:
    from harness.payload import distfiles
    from harness.payload.tree import recognise
    from harness.sources.downloads import Downloads
    from harness.store import Store

    tree = recognise(context.obj)
    needed = distfiles.needed(tree, stage or ())
    return tree, needed, Downloads(Store(opts.cache_directory(cache)), progress, tries=2)


def _tell(tree: SourceTree, found: Sequence[Found], outcome: Outcome, *, each: bool, as_json: bool) -> None:
    """Print what is at hand; the command ends with the outcome if anything is missing."""
    from harness.payload.distfiles import missing

    if as_json:
        listed = [
            {
                "name": one.distfile.name,
                "stage": one.distfile.group,
                "sha256": one.distfile.sha256,
                "packages": one.distfile.packages,
                "urls": one.distfile.urls,
                "place": one.place,
                "problem": one.problem,
            }
            for one in found
        ]
        print_json({"tree": tree.path, "era": tree.era.name, "distfiles": listed})
    else:
        _show(tree, found, each=each)
    if missing(found):
        raise typer.Exit(outcome.exit_code)


def _show(tree: SourceTree, found: Sequence[Found], *, each: bool) -> None:
    """Print what is at hand: each file, or how many of each stage and the first that are missing."""
    from harness.core.sizes import format_size
    from harness.payload import distfiles
    from harness.report.text import MARKS, table

    gone = distfiles.missing(found)
    if each:
        listed = table("", "file", "stage", "needed by", ">size", "")
        for one in found:
            size = format_size(one.place.stat().st_size) if one.place else ""
            packages = ", ".join(one.distfile.packages[:2])
            name, stage = one.distfile.name, one.distfile.group
            listed.add_row(MARKS[one.place is not None], name, stage, packages, size, one.problem)
    else:
        listed = table("stage", ">files", ">at hand", ">missing")
        for stage in dict.fromkeys(one.distfile.group for one in found):
            there = [one.place is not None for one in found if one.distfile.group == stage]
            listed.add_row(stage, str(len(there)), str(sum(there)), str(len(there) - sum(there)))
    print_wide(listed)
    total = len({one.distfile.sha256 for one in found})
    say(f"{tree.era.name}: {total - len(gone)} of {total} files are at hand")
    for one in () if each else gone[:_SHOWN]:
        say(f"  ✗ {one.distfile.name}{f': {one.problem}' if one.problem else ''}")
    if len(gone) > _SHOWN and not each:
        say(f"  and {len(gone) - _SHOWN} more; --all lists all files")
