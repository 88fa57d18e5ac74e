"""`harness bisect`: the first kernel or commit that broke a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli import options as opts
from harness.cli.printing import err, out, print_json
from harness.core.errors import ConfigError
from harness.core.outcome import Outcome

if TYPE_CHECKING:
    from harness.bisect.session import BisectRequest

_OURS = {
    "--runs": "give it before `--`",
    "--cache": "give it before `--`",
    "--store": "give it before `--`",
    "--json": "give it before `--`",
    "--mirror": "give it before `--`",
    "--tree": "give it before `--`",
    "--checkpoint": "give it before `--`",
    "--from": "the bisection chooses it: --checkpoint STAGE",
    "--attach": "these runs have no terminal",
    "--takeover": "these runs have no terminal",
    "--on-failure": "these runs have no terminal",
}
_Failure = Literal["FAIL", "PANIC", "HANG", "TIMEOUT"]


def bisect(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="What is run.")],
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- OPTIONS]", help="Options of each `harness run`, such as --memory 2G."),
    ] = None,
    good: Annotated[str, typer.Option(metavar="WHICH", help="A kernel or commit that is good.")] = "",
    bad: Annotated[str, typer.Option(metavar="WHICH", help="A later one that is bad.")] = "",
    kernel_line: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Search the kernels of these lines, by version: names of the catalogue, or patterns such as "
            "'debian-*-x86_64'; repeatable.",
        ),
    ] = None,
    role: Annotated[
        Literal["seed", "second"], typer.Option(help="What the kernels are tried as; second: behind kexec.")
    ] = "seed",
    tree: Annotated[
        Path | None, typer.Option(help="Search the commits of your checkout, which is never written to.")
    ] = None,
    first_parent: Annotated[bool, typer.Option("--first-parent", help="Take a merge as one step.")] = False,
    outcome: Annotated[
        _Failure | None, typer.Option(help="Only this is bad; other failures are skipped.  [default: any]")
    ] = None,
    reach: Annotated[
        str, typer.Option(metavar="STAGE", help="Good is what comes as far as this stage, however it ends.")
    ] = "",
    repeat: Annotated[
        int, typer.Option(min=1, metavar="N", help="Runs that have to agree where one is not believed.")
    ] = 2,
    flaky: Annotated[
        Literal["good", "bad"],
        typer.Option(help="What one is that does both. good: bad runs are repeated; bad: good ones are."),
    ] = "good",
    checkpoint: Annotated[
        str, typer.Option(metavar="STAGE", help="Repeat runs of the same images from there only.")
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the same command was interrupted.")
    ] = False,
    runs: opts.Runs = Path("runs"),
    cache: opts.Cache = None,
    mirror: opts.Mirror = None,
    refresh: opts.Refresh = False,
    as_json: opts.Json = False,
) -> None:
    """Find the first kernel, or the first commit of a checkout, with which a run goes wrong."""
    import msgspec

    from harness.bisect import session
    from harness.bisect.display import BisectionDisplay, as_document, show
    from harness.bisect.trial import Criterion
    from harness.core.progress import Quiet
    from harness.sources.debian import DebianSource
    from harness.store import Store

    wanted = session.BisectRequest(
        recipe=recipe,
        good=good,
        bad=bad,
        runs=runs.absolute(),
        cache=opts.cache_directory(cache),
        lines=tuple(kernel_line or ()),
        role=role,
        tree=tree.absolute() if tree else None,
        first_parent=first_parent,
        criterion=Criterion(
            outcome=Outcome(outcome) if outcome else None, stage=reach, repeat=repeat, flaky=flaky
        ),
        checkpoint=checkpoint,
        options=tuple(options or ()),
        resume=resume,
    )
    _check(wanted)
    if mirror:
        wanted = msgspec.structs.replace(wanted, options=("--mirror", mirror, *wanted.options))
    debian = DebianSource(Store(wanted.cache), Quiet(), mirror=mirror, refresh=refresh)
    with BisectionDisplay(err()) as display:
        ended = session.run(wanted, debian, display)
    if as_json:
        print_json(as_document(ended))
    else:
        show(out(), ended, wanted.runs)
    raise typer.Exit((Outcome.PASS if len(ended.culprits) == 1 else Outcome.FAIL).exit_code)


def _check(wanted: BisectRequest) -> None:
    """Refuse what cannot be meant."""
    if wanted.recipe.startswith("-"):
        raise ConfigError("no recipe is named", hint="write it first: harness bisect RECIPE --good … --bad …")
    for option, value in (("--good", wanted.good), ("--bad", wanted.bad)):
        if not value:
            raise ConfigError(f"{option} is missing", hint="name a kernel or commit that is known to be so")
    if bool(wanted.lines) == (wanted.tree is not None):
        both = "not both" if wanted.lines else "one of the two"
        raise ConfigError(
            f"kernels or commits are searched, and {both} with --kernel-line and --tree",
            hint="name the lines that the kernels are of with --kernel-line, or a checkout with --tree DIR",
        )
    if wanted.criterion.outcome is not None and wanted.criterion.stage:
        raise ConfigError("--outcome and --reach both say what is bad", hint="leave one of them out")
    chosen = "--second" if wanted.role == "second" else "--kernel"
    refused = {**_OURS, **({chosen: "the bisection chooses it"} if wanted.lines else {})}
    for word in wanted.options:
        if (option := word.partition("=")[0]) in refused:
            hint = "leave it out there"
            raise ConfigError(f"{option} cannot be handed to the runs: {refused[option]}", hint=hint)
