"""`harness build` and `harness lock`: images without a run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import err, print_json, say
from harness.core.outcome import Outcome
from harness.core.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from harness.image.delivery import Delivered
    from harness.image.factory import Build
    from harness.image.manifest import Input, Origins
    from harness.image.reproducibility.check import Recheck

_FILES = 4  # more files beside the recipe are only counted
_DIFFERENCES = 40  # lines of an image; `harness image diff` has them all


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
    from harness.payload.chosen import recipe_for
    from harness.report.progress import TerminalProgress

    if output:
        paths.check_writable(output.absolute(), "output", "choose another with -o DIR")
    options = opts.build_options(
        kernel, cache, lock, mirror, refresh=refresh, second=second, only=only, dirty=dirty
    )
    compared = None
    with TerminalProgress(err()) as progress:
        built = build.build(recipe_for(recipe, kernel), options, progress)
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
        _show_build(built, made_from, delivered)
        if compared:
            _show_recheck(compared)
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
    from harness.core.errors import ConfigError, explaining
    from harness.core.files import write_atomically
    from harness.image import build
    from harness.payload.chosen import recipe_for
    from harness.report.progress import TerminalProgress

    wanted = recipe_for(recipe, kernel)
    path = output or Path(f"{wanted.name}.lock.json")
    with TerminalProgress(err()) as progress:
        options = opts.build_options(kernel, cache, None, mirror, refresh=refresh, second=second)
        built = build.build(wanted, options, progress)
    with explaining(ConfigError, f"cannot write {path}", "choose another with -o"):
        write_atomically(path, built.lock.to_json())
    packages = sum(len(resolution.packages) for resolution in built.lock.resolutions)
    say(f"{path}: {packages} packages")


def _show_build(built: Build, made_from: Mapping[str, Origins], delivered: Mapping[str, Delivered]) -> None:
    """Print path, size and hash of each image, and what went in."""
    for image in built.images.values():
        say(f"{image.name}  {image.kind}, {format_size(image.size)}", "bold")
        place = delivered.get(image.name)
        say(f"  path    {place.path if place else image.path}")
        say(f"  sha256  {image.sha256}" if image.sha256 else f"  digest  {image.digest}")
        for sentence in made_from[image.name].varies:
            say(f"  varies  {sentence}")
    inputs = {given for origins in made_from.values() for given in origins.inputs}
    names = set(built.images)
    lines = list(_describe(given for given in inputs if given.kind != "image" or given.name not in names))
    if lines:
        say("made from", "bold")
    width = max((len(what) for what, _ in lines), default=0)
    for what, origin in lines:
        say(f"  {what:<{width}}  {origin}")


def _show_recheck(compared: Recheck) -> None:
    """Print whether two builds are equal, what was varied, and what differs."""
    from harness.report.text import MARKS

    for each in compared.comparisons:
        if each.first == each.second:
            say(MARKS[True] + f" reproducible: {each.image}")
            continue
        say(MARKS[False] + f" not reproducible: {each.image}")
        say(f"  first   {each.first}")
        say(f"  second  {each.second}")
        for line in each.differences[:_DIFFERENCES]:
            say(f"  {line}")
        if len(each.differences) > _DIFFERENCES:
            say(f"  and {len(each.differences) - _DIFFERENCES} more")
    say("varied", "bold")
    for what, (first, second) in compared.varied.items():
        say(f"  {what:<18} {first} → {second}")
    if compared.same:
        say("not varied", "bold")
    for what, reason in compared.same.items():
        say(f"  {what:<18} {reason}")


def _describe(inputs: Iterable[Input]) -> Iterator[tuple[str, str]]:
    """What went in, and where it came from, in words."""
    given = sorted(inputs, key=lambda one: (one.kind, one.name))
    packages = Counter((one.origin, one.architecture) for one in given if one.kind == "package")
    suites: dict[str, list[str]] = {}
    for (suite, architecture), count in sorted(packages.items()):
        suites.setdefault(suite, []).append(f"{count} for {architecture}")
    for suite, counts in suites.items():
        yield "packages", f"{suite}: {', '.join(counts)}"
    files = [one for one in given if one.kind == "file"]
    for one in given:
        version = f" {one.version}" if one.version else ""
        match one.kind:
            case "kernel":
                yield f"kernel {one.name}", f"Linux{version} ({one.origin})"
            case "checkout":
                state = ", modified" if one.modified else ""
                yield f"checkout {one.name}", f"commit{version or ' none'}{state}"
            case "file" if len(files) <= _FILES:
                yield f"file {one.name}", "beside the recipe"
            case "download" | "image" | "element":
                yield f"{one.kind} {one.name}", one.origin or "the project"
    if len(files) > _FILES:
        yield f"{len(files)} files", "beside the recipe"
