"""Prepares a checkout for a run: era, distfiles, recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.payload import assembly, distfiles, packages
from harness.payload.tree import recognise
from harness.sources.downloads import Downloads
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.core.progress import Progress
    from harness.payload.distfiles import Found
    from harness.payload.era import ModeName
    from harness.payload.source_lists import Distfile
    from harness.payload.tree import SourceTree
    from harness.recipe import Recipe

_SHOWN = 8  # stray files


class TreeRun(msgspec.Struct, frozen=True):
    """A tree that is ready to be built and booted.

    Attributes:
        recipe: How.
        packages: What it will build, in order, as far as it says so.
        notes: What the record says about it.
        offered: The distfiles at hand, by name, and by address without scheme: those that its guest may still
            ask for among them.
    """

    recipe: Recipe
    packages: tuple[str, ...]
    notes: tuple[str, ...]
    offered: Mapping[str, Path]


def check_payload(tree: SourceTree, name: str) -> None:
    """Make sure that a tree is of the payload that was named.

    Raises:
        ConfigError: It is another one.
    """
    if name not in {tree.era.payload, tree.era.name, "relay"}:  # relay: nothing was named
        raise ConfigError(
            f"{tree.path} is {tree.era.payload} ({tree.era.name}), and not {name}",
            hint=f"harness run {tree.era.payload} --tree {tree.path}",
        )


def prepare(
    path: Path,
    name: str,
    mode: ModeName,
    cache: Path,
    progress: Progress,
    *,
    kernel: str | None = None,
    jobs: int = 1,
    disk_size: str = "",
    incomplete: bool = False,
    instrument: bool = False,
) -> TreeRun:
    """Find out what a checkout is, get its distfiles, and make a recipe of it.

    Args:
        path: The checkout.
        name: The payload that was named on the command line.
        mode: How it is run.
        cache: The cache directory.
        progress: Where waiting is shown.
        kernel: The seed kernel that was asked for.
        jobs: Build jobs of the guest.
        disk_size: Size of its disk instead of the era's.
        incomplete: Leave out what cannot be had instead of refusing, and fetch nothing.
        instrument: Add a script that opens a shell at the end.

    Raises:
        ConfigError: The tree is not whole or not what was named, has no hook for the script, or distfiles
            cannot be had.
    """
    tree = recognise(path)
    check_payload(tree, name)
    groups = assembly.groups_of(tree, mode)
    if instrument:
        assembly.hook(tree, mode)  # its refusal must not wait for downloads
    progress.note(f"{path} is {tree.era.name}: {tree.era.summary}")
    notes = [f"tree {tree.era.name}"]
    notes += _strays(tree, progress)
    downloads = Downloads(Store(cache), progress, tries=2)
    needed = distfiles.needed(tree, groups) if groups else ()
    found = get(tree, needed, downloads, incomplete=incomplete)
    without = frozenset(one.distfile.sha256 for one in distfiles.missing(found))
    if without and not incomplete:
        raise distfiles.lacking(tree, found)
    if without:
        notes.append(
            f"incomplete: {len(without)} of {len({one.sha256 for one in needed})} distfiles are left out"
        )
        progress.note(notes[-1])
    choices = assembly.Choices(
        jobs=jobs,
        own_kernel=kernel is not None and ("/" in kernel or Path(kernel).is_file()),
        without=without,
        disk_size=disk_size,
        instrument=instrument,
    )
    recipe = assembly.assemble(tree, mode, choices)
    if instrument:
        notes.append(f"instrumented: {', '.join(assembly.added(tree, mode))} is added")
    settings = assembly.config_values(tree, mode, choices)
    all_found = distfiles.status(distfiles.needed(tree, ()), downloads)
    return TreeRun(recipe, packages.expected(tree, settings), tuple(notes), dict(_offered(all_found)))


def _offered(found: Sequence[Found]) -> Iterator[tuple[str, Path]]:
    """What is at hand, by name, and by the addresses in the lists, which may call it otherwise."""
    for one in found:
        if one.place is not None:
            yield one.distfile.name, one.place
            yield from ((url.partition("://")[2], one.place) for url in one.distfile.urls)


def get(
    tree: SourceTree, needed: Sequence[Distfile], downloads: Downloads, *, incomplete: bool = False
) -> Sequence[Found]:
    """What a tree's distfiles are: at hand, in the tree, or fetched."""
    near = [str(place) for place in distfiles.directories(tree)]
    if incomplete:  # only what is near
        needed = [msgspec.structs.replace(distfile, urls=()) for distfile in needed]
    return distfiles.fetch(needed, downloads, near)


def _strays(tree: SourceTree, progress: Progress) -> list[str]:
    """Say what is left out because git does not track it; distfiles of the tree's own are no strays."""
    own = tuple(f"{wanted.directory}/" for wanted in tree.era.distfiles)
    strays = [name for name in tree.stray or () if not name.startswith(own)]
    if not strays:
        return []
    shown = ", ".join(strays[:_SHOWN]) + (f" and {len(strays) - _SHOWN} more" if len(strays) > _SHOWN else "")
    text = f"left out, as git does not track it: {shown}"
    progress.note(text)
    return [text]
