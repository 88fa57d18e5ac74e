"""`harness derivation`: what a derivation of Guix or Nix takes to build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import err, print_json, say
from harness.core.outcome import Outcome

app = typer.Typer(
    help="Look at derivations of Guix and Nix, which `run derivation` builds.", no_args_is_help=True
)


@app.command()
def show(
    drv: Annotated[Path, typer.Argument(metavar="X.drv", help="The file HASH-NAME.drv.")],
    store: opts.Store = None,
    take: opts.Take = None,
    cache: opts.OnlyCache = None,
    as_json: opts.Json = False,
) -> None:
    """Show what would be built in which order, what is taken as it is, and what is missing."""
    from harness.derivation import graph, payload, replay
    from harness.report.progress import TerminalProgress

    with TerminalProgress(err()) as progress:
        wanted = payload.DerivationRequest(path=drv, store=store, take=tuple(take or ()))
        found = payload.opened(wanted, opts.cache_directory(cache), progress)
        wrong = found.problems or replay.wrong_inputs(found, {})
        problems = [*wrong, *graph.wrong_paths(found.graph)]
    derivations = found.graph.derivations
    if as_json:
        print_json(
            {
                "derivation": found.graph.root,
                "build": {
                    path: {name: output.path for name, output in derivations[path].outputs.items()}
                    for path in found.build
                },
                "taken": {path: found.graph.outputs[path][0] for path in found.taken},
                "sources": list(found.sources),
                "problems": problems,
            }
        )
    else:
        say(f"{found.graph.root}: {payload.described(found)}")
        for number, path in enumerate(found.build, start=1):
            about = derivations[path]
            say(f"{number:5} {path}  {about.system}, makes {' '.join(sorted(about.outputs))}")
        for path in found.taken:
            say(f"taken {path}  of {found.graph.outputs[path][0]}")
        for path in found.sources:
            say(f"source {path}")
        for problem in problems:
            say(f"problem: {problem}")
    if problems:
        raise typer.Exit(Outcome.CONFIG.exit_code)


@app.command()
def manifest(
    record: Annotated[str, typer.Argument(metavar="RUN", help="A run that built a derivation.")],
    runs: opts.Runs = Path("runs"),
) -> None:
    """Print the outputs that a run built, each with the SHA-256 of its NAR, to publish or for --expect."""
    from harness.core.errors import ConfigError
    from harness.record.reading import find_run

    file = find_run(record, runs) / "manifest.nar"
    if not file.is_file():
        raise ConfigError(f"the run {record} built no derivation: it has no {file.name}")
    say(file.read_text("utf-8").rstrip())
