"""Chooses the recipe, or the checkout, that a name and options mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from harness.core.errors import ConfigError
from harness.payload import stage0
from harness.recipe import load_recipe, recipe_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.core.progress import Progress
    from harness.payload.era import ModeName
    from harness.recipe import Recipe

WITHOUT_LINUX: Final = "builder-hex0"  # in the place of a seed kernel: a tree's mode that boots without one


class PayloadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says about a payload.

    Attributes:
        tree: The user's checkout.
        mode: Where it runs.
        arch: Of stage0-posix.
        builder: A checkout of builder-hex0.
        instrument: Whether a script is added that tells more.
        kernel: The seed kernel, or `WITHOUT_LINUX`.
        jobs: Build jobs of a tree's guest.
        disk_size: Of a tree's disk, instead of its era's.
        incomplete: Whether distfiles may be missing.
    """

    tree: Path | None = None
    mode: ModeName = "qemu"
    arch: str = "x86"
    builder: Path | None = None
    instrument: bool = False
    kernel: str | None = None
    jobs: int = 1
    disk_size: str = ""
    incomplete: bool = False


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What is built and booted.

    Attributes:
        recipe: How, with all filled in that it wants to be given.
        expected: The sha256 that its products should have, by absolute path.
        packages: What it will build, in order; None where it has no packages.
        notes: What the record says about it.
        offered: The distfiles that a guest on the restricted network can fetch, by name or address.
    """

    recipe: Recipe
    expected: Mapping[str, str] = msgspec.field(default_factory=dict)
    packages: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    offered: Mapping[str, Path] = msgspec.field(default_factory=dict)


def chosen(name: str, wanted: PayloadRequest, cache: Path, progress: Progress) -> Payload:
    """The payload that is meant, with its distfiles at hand.

    Raises:
        ConfigError: It needs a checkout and there is none, or the other way round; or the checkout is not
            whole, or not what was named; or distfiles cannot be had.
    """
    tree = wanted.tree
    mine = name in stage0.RECIPES
    unfit = {
        "--builder": wanted.builder is not None and not mine,
        "--instrument": wanted.instrument and not mine and tree is None,
        "--jobs": wanted.jobs != 1 and (mine or tree is None),
        "--disk-size": bool(wanted.disk_size) and (mine or tree is None),
        "--incomplete": wanted.incomplete and (mine or tree is None),
        f"--kernel {WITHOUT_LINUX}": wanted.kernel == WITHOUT_LINUX and (mine or tree is None),
    }
    for option in (option for option, given in unfit.items() if given):
        raise ConfigError(f"the recipe {name} has no use for {option}", hint=f"leave it out: {option}")
    if mine:
        if tree is None:
            raise ConfigError(
                f"the recipe {name} runs a checkout of yours, and none is named",
                hint="clone https://github.com/oriansj/stage0-posix with its submodules, then --tree DIR",
            )
        recipe = stage0.load(
            name, tree, arch=wanted.arch, builder=wanted.builder, instrument=wanted.instrument
        )
        return Payload(recipe=recipe, expected=stage0.expected(tree, wanted.arch))
    if tree is None:
        # All eras are read for what may be one of their payloads alone: that takes as long as all else here.
        stands = name.endswith(".toml") or name in recipe_files()
        if not stands and _is_payload(name):
            raise ConfigError(
                f"{name} is a checkout of yours, and none is named",
                hint=f"harness run {name} --tree DIR; docs/{name}.md says which ones are known",
            )
        return Payload(recipe=load_recipe(name))
    from harness.payload.prepared import prepare  # runs of other recipes need none of it

    ready = prepare(
        tree,
        name,
        mode_of(wanted.mode, wanted.kernel),
        cache,
        progress,
        kernel=wanted.kernel,
        jobs=wanted.jobs,
        disk_size=wanted.disk_size,
        incomplete=wanted.incomplete,
        instrument=wanted.instrument,
    )
    return Payload(recipe=ready.recipe, packages=ready.packages, notes=ready.notes, offered=ready.offered)


def _is_payload(name: str) -> bool:
    from harness.payload.era import load_eras

    return name in {era.payload for era in load_eras()}


def mode_of(machine: ModeName, kernel: str | None) -> ModeName:
    """The way of an era's that is meant by a kind of machine and a seed kernel.

    Raises:
        ConfigError: They do not go together.
    """
    if kernel != WITHOUT_LINUX:
        return machine
    if machine != "qemu":
        raise ConfigError(
            f"--kernel {WITHOUT_LINUX} is for --machine qemu, and {machine} was asked for",
            hint="leave out one of the two",
        )
    return WITHOUT_LINUX
