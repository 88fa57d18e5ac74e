"""Chooses the recipe, or the checkout, that a name and options mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from harness.core.architecture import DEFAULT
from harness.core.errors import ConfigError
from harness.derivation import RECIPE
from harness.kernel.catalogue import architecture_of
from harness.payload import stage0
from harness.recipe import Recipe, load_recipe, recipe_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.core.progress import Progress
    from harness.derivation.payload import DerivationRequest, Prepared
    from harness.payload.distfiles import Found
    from harness.payload.era import ModeName
    from harness.payload.tree import SourceTree

_SHOWN = 8  # stray files
_WITH_BUILDER = ("builder-hex0", "genesis-builder-hex0")
WITHOUT_LINUX: Final = "builder-hex0"  # in the place of a seed kernel: a tree's mode that boots without one


class PayloadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says about a payload."""

    tree: Path | None = None  # the user's checkout
    mode: ModeName = "qemu"  # where it runs
    arch: str = "x86"  # of stage0-posix
    builder: Path | None = None  # a checkout of builder-hex0
    instrument: bool = False  # whether a script is added that tells more
    kernel: str | None = None  # the seed kernel, or `WITHOUT_LINUX`
    jobs: int = 1  # build jobs of a tree's guest
    disk_size: str = ""  # of a tree's disk, instead of its era's
    incomplete: bool = False  # whether distfiles may be missing
    derivation: DerivationRequest | None = None  # the user's derivation, for the recipe of that name


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What is built and booted."""

    recipe: Recipe  # how, with all filled in that it wants to be given
    # the sha256 that its products should have, by absolute path
    expected: Mapping[str, str] = msgspec.field(default_factory=dict)
    packages: tuple[str, ...] | None = None  # what it will build, in order; None where it has no packages
    notes: tuple[str, ...] = ()  # what the record says about it
    # the distfiles that a guest on the restricted network can fetch, by name or address
    offered: Mapping[str, Path] = msgspec.field(default_factory=dict)
    derivation: Prepared | None = None  # what is built of a derivation, and what its outputs should be


def chosen(name: str, wanted: PayloadRequest, cache: Path, progress: Progress) -> Payload:
    """The payload that is meant, with its distfiles at hand."""
    tree = wanted.tree
    mine = name in stage0.RECIPES
    unfit = {
        "--builder": wanted.builder is not None and name not in _WITH_BUILDER,
        "--instrument": wanted.instrument and not mine and tree is None,
        "--jobs": wanted.jobs != 1 and (mine or tree is None),
        "--disk-size": bool(wanted.disk_size)
        and (mine or tree is None)
        and not (wanted.derivation and not wanted.derivation.bare),
        "--incomplete": wanted.incomplete and (mine or tree is None),
        f"--kernel {WITHOUT_LINUX}": wanted.kernel == WITHOUT_LINUX and (mine or tree is None),
    }
    if wanted.derivation is not None:
        unfit |= {"--tree": tree is not None, str(wanted.derivation.path): name != RECIPE}
    for option in (option for option, given in unfit.items() if given):
        raise ConfigError(f"the recipe {name} has no use for {option}", hint=f"leave it out: {option}")
    if name == RECIPE:
        return _derivation(wanted, cache, progress)
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
        stands = name.endswith(".toml") or name in recipe_files()
        if not stands and _is_of_an_era(name):
            raise ConfigError(
                f"{name} is a checkout of yours, and none is named",
                hint=f"harness run {name} --tree DIR; docs/{name}.md says which ones are known",
            )
        if name in _WITH_BUILDER:
            return Payload(
                recipe=load_recipe(name, {"builder": str(stage0.builder_of(name, wanted.builder))})
            )
        return Payload(recipe=recipe_for(name, wanted.kernel, wanted.arch))
    return _prepared(tree, name, wanted, cache, progress)


def _is_of_an_era(name: str) -> bool:
    # All eras are read for what may be one of their payloads alone: that takes as long as all else here.
    from harness.payload.era import load_eras

    return name in {era.payload for era in load_eras()}


def recipe_for(name: str, kernel: str | None, arch: str = DEFAULT) -> Recipe:
    """A recipe as it is for the architecture of a seed kernel, or for the one of --arch."""
    asked = "" if arch == DEFAULT else arch
    found = architecture_of(kernel) if kernel else asked
    if asked and asked != found:
        message = f"--arch {asked} was asked for, and the kernel {kernel} is for {found}"
        raise ConfigError(message, hint="leave out one of --arch and --kernel")
    return load_recipe(name, architecture=found)


def _derivation(wanted: PayloadRequest, cache: Path, progress: Progress) -> Payload:
    from harness.derivation.payload import prepare  # and readers of archives, which few runs need

    if wanted.derivation is None:
        raise ConfigError(
            "the recipe derivation builds a derivation of yours, and none is named",
            hint="harness run derivation HASH-NAME.drv; docs/derivations.md says what can be built",
        )
    about = msgspec.structs.replace(wanted.derivation, disk=wanted.disk_size)
    prepared = prepare(about, cache, progress)
    taken = tuple(f"taken: {path}" for path in prepared.replay.taken)
    return Payload(recipe=prepared.recipe, derivation=prepared, notes=taken)


def _prepared(path: Path, name: str, wanted: PayloadRequest, cache: Path, progress: Progress) -> Payload:
    """Find out what a checkout is, get its distfiles, and make a recipe of it."""
    from harness.payload import assembly, distfiles, packages  # runs of other recipes need none of it
    from harness.payload.tree import recognise
    from harness.sources.downloads import Downloads
    from harness.store import Store

    mode = mode_of(wanted.mode, wanted.kernel)
    tree = recognise(path)
    _check_payload(tree, name)
    groups = assembly.groups_of(tree, mode)
    if wanted.instrument:
        assembly.hook(tree, mode)  # its refusal must not wait for downloads
    progress.note(f"{path} is {tree.era.name}: {tree.era.summary}")
    notes = [f"tree {tree.era.name}", *_strays(tree, progress)]
    downloads = Downloads(Store(cache), progress, tries=2)
    needed = distfiles.needed(tree, groups) if groups else ()
    found = distfiles.obtain(tree, needed, downloads, incomplete=wanted.incomplete)
    without = frozenset(one.distfile.sha256 for one in distfiles.missing(found))
    if without and not wanted.incomplete:
        raise distfiles.lacking(tree, found)
    if without:
        count = len({one.sha256 for one in needed})
        notes.append(f"incomplete: {len(without)} of {count} distfiles are left out")
        progress.note(notes[-1])
    choices = assembly.Choices(
        jobs=wanted.jobs,
        own_kernel=wanted.kernel is not None and ("/" in wanted.kernel or Path(wanted.kernel).is_file()),
        without=without,
        disk_size=wanted.disk_size,
        instrument=wanted.instrument,
    )
    recipe = assembly.assemble(tree, mode, choices)
    if wanted.instrument:
        notes.append(f"instrumented: {', '.join(assembly.added(tree, mode))} is added")
    settings = assembly.config_values(tree, mode, choices)
    return Payload(
        recipe=recipe,
        packages=packages.expected(tree, settings),
        notes=tuple(notes),
        offered=dict(_offered(distfiles.status(distfiles.needed(tree), downloads))),
    )


def _check_payload(tree: SourceTree, name: str) -> None:
    if name not in {tree.era.payload, tree.era.name, "relay"}:  # relay: no name was given
        message = f"{tree.path} is {tree.era.payload} ({tree.era.name}), and not {name}"
        raise ConfigError(message, hint=f"harness run {tree.era.payload} --tree {tree.path}")


def _offered(found: Sequence[Found]) -> Iterator[tuple[str, Path]]:
    """What is at hand, by name, and by the addresses in the lists, which may call it otherwise."""
    for one in found:
        if one.place is not None:
            yield one.distfile.name, one.place
            yield from ((url.partition("://")[2], one.place) for url in one.distfile.urls)


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


def mode_of(machine: ModeName, kernel: str | None) -> ModeName:
    """The way of an era's that is meant by a kind of machine and a seed kernel."""
    if kernel != WITHOUT_LINUX:
        return machine
    if machine != "qemu":
        message = f"--kernel {WITHOUT_LINUX} is for --machine qemu, and {machine} was asked for"
        raise ConfigError(message, hint="leave out one of the two")
    return WITHOUT_LINUX
