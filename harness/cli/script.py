"""`harness script`: a shell script that makes the same images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli import options as opts
from harness.cli.printing import err, print_json, say

if TYPE_CHECKING:
    from harness.derivation.payload import DerivationRequest


def script(
    recipe: opts.Recipe = "relay",
    drv: opts.DrvFile = None,
    store: opts.Store = None,
    take: opts.Take = None,
    daemon: opts.Daemon = None,
    bare: opts.Bare = False,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Script to write; inputs/ goes beside it.")
    ] = Path("build.sh"),
    tree: Annotated[
        Path | None, typer.Option(help="Your checkout of live-bootstrap or stage0-posix.")
    ] = None,
    only: opts.Only = None,
    inputs: Annotated[
        bool,
        typer.Option(" /--no-inputs", help="Write the script alone; it says what has to lie in inputs/."),
    ] = True,
    arch: Annotated[Literal["x86", "AMD64"], typer.Option(help="Architecture of stage0-posix.")] = "x86",
    builder: Annotated[
        Path | None, typer.Option(help="Your checkout of builder-hex0, for the recipe of that name.")
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Leave out distfiles of a tree that are not at hand.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Build jobs of a tree's guest.")] = 1,
    disk_size: Annotated[str, typer.Option(help="Size of a tree's disk, instead of its era's.")] = "",
    kernel: opts.Kernel = None,
    second: opts.Second = None,
    dirty: opts.Dirty = False,
    cache: opts.OnlyCache = None,
    lock: opts.Lock = None,
    mirror: opts.Mirror = None,
    refresh: opts.Refresh = False,
    as_json: opts.Json = False,
) -> None:
    """Write a shell script that makes a recipe's images with plain tools, to be read and run by sceptics."""
    from harness.core.sizes import format_size
    from harness.image.script import INPUTS, write
    from harness.payload.chosen import PayloadRequest, chosen
    from harness.report.progress import TerminalProgress

    options = opts.build_options(
        kernel,
        cache or (store if drv is None else None),
        lock,
        mirror,
        refresh=refresh,
        second=second,
        only=only,
        dirty=dirty,
    )
    about = opts.derivation_request(drv, store, take, None, daemon, bare=bare)
    if about is not None and recipe == "derivation":
        _write_replay(about, options.cache, output)
        return
    with TerminalProgress(err()) as progress:
        payload = chosen(
            recipe,
            PayloadRequest(
                tree=tree,
                mode="qemu",
                arch=arch,
                builder=builder,
                kernel=kernel,
                jobs=jobs,
                disk_size=disk_size,
                incomplete=incomplete,
                derivation=about,
            ),
            options.cache,
            progress,
        )
        roots = {name: path for name, path in (("tree", tree), ("builder-hex0", builder)) if path}
        found = write(payload.recipe, options, output, progress, roots=roots, with_inputs=inputs)
    size = sum(each.size for each in found.inputs)
    if as_json:
        print_json(
            {
                "script": str(output),
                "inputs": {each.name: each.sha256 for each in found.inputs},
                "images": dict(found.images),
            }
        )
        return
    for name, sha256 in found.images.items():
        say(f"{sha256}  {name}")
    where = output.absolute().with_name(INPUTS)
    what = "are in" if inputs else "have to lie in"
    say(f"{output} makes them; its {len(found.inputs)} inputs ({format_size(size)}) {what} {where}")


def _write_replay(about: DerivationRequest, cache: Path, output: Path) -> None:
    """Write the script that builds a derivation in a root that has its inputs, as a run executes it."""
    from harness.core.progress import Quiet
    from harness.derivation import payload, script

    found = payload.opened(about, cache, Quiet())
    found.check()
    daemon = script.daemon_of(found.graph.store, about.daemon)
    output.write_bytes(script.written(found, daemon, bare=about.bare))
    say(f"{output} builds {found.graph.root}: {payload.described(found)}")
