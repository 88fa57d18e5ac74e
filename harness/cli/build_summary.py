"""What `harness build` prints: images, inputs, reproducibility."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness.cli.printing import say
from harness.core.sizes import format_size
from harness.report.text import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from harness.image.delivery import Delivered
    from harness.image.factory import Build
    from harness.image.manifest import Input, Origins
    from harness.image.reproducibility.check import Recheck

_FILES = 4  # more files beside the recipe are only counted
_DIFFERENCES = 40  # lines of an image; `harness image diff` has them all


def show_build(built: Build, made_from: Mapping[str, Origins], delivered: Mapping[str, Delivered]) -> None:
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


def show_recheck(compared: Recheck) -> None:
    """Print whether two builds are equal, what was varied, and what differs."""
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
