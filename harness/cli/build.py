"""`harness build` and `harness lock`: images without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import err, print_json, say
from harness.core.outcome import Outcome


def build(
    recipe: opts.Recipe = "relay",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Directory for copies, with manifests and bills of materials."),
    ] = None,
    only: opts.Only = None,
    check: Annotated[
        bool, typer.Option("--check", help="Build all again in other surroundings, and compare.")
    ] = False,
    sha256: Annotated[
        bool, typer.Option("--sha256", help="Hash images of more than 1 GiB too, with all their zeros.")
    ] = False,
    kernel: opts.Kernel = None,
    second: opts.Second = None,
    dirty: opts.Dirty = False,
    cache: opts.Cache = None,
    lock: opts.Lock = None,
    mirror: opts.Mirror = None,
    refresh: opts.Refresh = False,
    as_json: opts.Json = False,
) -> None:
    """Build a recipe's images, or find them in the cache, and say where they are and what went in."""
    from msgspec import structs, to_builtins

    from harness.core import paths
    from harness.image import build, manifest
    from harness.image.delivery import deliver
    from harness.recipe import load_recipe
    from harness.report.progress import TerminalProgress

    if output:
        paths.check_writable(output.absolute(), "output", "choose another with -o DIR")
    options = opts.build_options(
        kernel, cache, lock, mirror, refresh=refresh, second=second, only=only, dirty=dirty
    )
    compared = None
    with TerminalProgress(err()) as progress:
        built = build.build(load_recipe(recipe), options, progress)
        if check:
            from harness.image.reproducibility.check import recheck

            compared = recheck(built, options, progress)
        if sha256:
            with progress.task("hashing whole images"):
                images = {name: image.with_sha256() for name, image in built.images.items()}
                built = structs.replace(built, images=images)
        delivered = {image.name: deliver(image, output) for image in built.images.values()} if output else {}
    made_from = {name: manifest.read_origins(image.manifest) for name, image in built.images.items()}
    if as_json:
        print_json(
            {
                "images": list(built.images.values()),
                "made_from": made_from,
                "output": delivered,
                "check": compared and {"reproducible": compared.reproducible, **to_builtins(compared)},
            }
        )
    else:
        from harness.cli.build_summary import show_build, show_recheck

        show_build(built, made_from, delivered)
        if compared:
            show_recheck(compared)
    if compared and not compared.reproducible:
        raise typer.Exit(Outcome.FAIL.exit_code)


def lock(
    recipe: opts.Recipe = "relay",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Lock file to write.")] = None,
    kernel: opts.Kernel = None,
    second: opts.Second = None,
    cache: opts.Cache = None,
    mirror: opts.Mirror = None,
    refresh: opts.Refresh = False,
) -> None:
    """Write a lock file: the exact packages of a build, to be committed and repeated with --lock."""
    from harness.core.errors import ConfigError
    from harness.core.files import write_atomically
    from harness.image import build
    from harness.recipe import load_recipe
    from harness.report.progress import TerminalProgress

    wanted = load_recipe(recipe)
    path = output or Path(f"{wanted.name}.lock.json")
    with TerminalProgress(err()) as progress:
        options = opts.build_options(kernel, cache, None, mirror, refresh=refresh, second=second)
        built = build.build(wanted, options, progress)
    try:
        write_atomically(path, built.lock.to_json())
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="choose another with -o") from error
    packages = sum(len(resolution.packages) for resolution in built.lock.resolutions)
    say(f"{path}: {packages} packages")
