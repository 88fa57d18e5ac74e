"""Expands a matrix file into cells."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.core import toml
from harness.core.errors import ConfigError
from harness.core.sizes import parse_size
from harness.machine.kinds import find_kind
from harness.machine.kinds.kind import DEFAULT_MEMORY, Kind, MachineRequest
from harness.machine.protocol import Firmware, Medium
from harness.matrix.document import Checkout, Include, Match, MatrixDocument, check, kernel_notes
from harness.payload import stage0
from harness.payload.chosen import PayloadRequest, mode_of
from harness.payload.tree import recognise
from harness.recipe import Recipe, load_recipe
from harness.record.index import cell_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from harness.matrix.document import Checkout
    from harness.run.request import RunRequest

_MATCHED = ("recipe", "kernel", "machine", "accelerator", "memory", "medium", "firmware")


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a matrix."""

    recipe: str  # its name, or the path of its file; for a checkout, what the matrix calls it
    kernel: str  # the seed kernel, by name or path; "" where the machine has none of its own
    machine: str  # "qemu", "chroot", "bwrap" or "board:NAME"
    accelerator: str  # "auto", "kvm" or "tcg"; "" where there is none to choose
    memory: int  # bytes; 0 on a board, which has what it has
    medium: str  # what is booted
    firmware: str  # what runs before it
    patience: float = 1.0  # multiplies all time budgets
    allowed: str = ""  # why it may fail today; "" if it may not
    checkout: Checkout | None = None  # what is run, where that is no recipe by itself

    @property
    def kind(self) -> Kind[Any]:
        """What kind of machine it runs on."""
        return find_kind(self.machine)

    @property
    def places(self) -> int:
        """How many of this host's places for guests it takes."""
        return self.kind.places(self.memory)

    @property
    def name(self) -> str:
        """What it is called, here and in the history."""
        return cell_name(
            recipe=Path(self.recipe).stem if self.recipe.endswith(".toml") else self.recipe,
            kernel=self.kernel,
            machine=self.machine,
            accelerator=self.accelerator,
            memory=self.memory,
            medium=self.medium,
            firmware=self.firmware,
        )

    def value(self, key: str) -> str:
        """What patterns are compared with: recipes and kernels by name, memory as "1024M"."""
        if key == "memory":
            return f"{self.memory >> 20}M"
        text = str(getattr(self, key))
        return Path(text).name.removesuffix(".toml") if key in {"recipe", "kernel"} else text


def asked(cell: Cell, request: RunRequest) -> RunRequest:
    """The request for a cell's run; what the cell does not say is as given."""
    changes: dict[str, Any] = {
        "recipe": cell.recipe,
        "machine": cell.machine,
        "accelerator": cell.accelerator or "auto",
        "memory": cell.memory or None,
        "medium": Medium(cell.medium),
        "firmware": Firmware(cell.firmware),
        "patience": request.patience * cell.patience,
        "build": msgspec.structs.replace(request.build, kernel=cell.kernel or None),
    }
    if checkout := cell.checkout:
        changes["recipe"] = checkout.recipe
        changes["payload"] = PayloadRequest(
            tree=Path(checkout.tree),
            arch=checkout.arch,
            builder=Path(checkout.builder) if checkout.builder else None,
            instrument=checkout.instrument,
            jobs=checkout.jobs,
            incomplete=checkout.incomplete,
        )
    return msgspec.structs.replace(request, **changes)


class Matrix(msgspec.Struct, frozen=True):
    """A matrix that has been read and checked."""

    name: str  # the file's name without suffix
    path: Path  # the file
    summary: str  # one line about it
    cells: tuple[Cell, ...]  # its cells, in the file's order
    # what a person should know about the file: rules that have expired, kernels that are not there
    notes: tuple[str, ...]


def load_matrix(path: Path, today: date) -> Matrix:
    """Read a matrix file and expand it."""
    path = path.absolute()
    document = toml.load(path, MatrixDocument)
    checkouts = {name: located(each, path.parent) for name, each in document.checkout.items()}
    recipes: dict[str, Recipe] = {}
    for key, name in document.recipe_names():
        if name in checkouts:
            continue
        try:
            recipes[name] = load_recipe(_located(name, path))
            recipes[name].boot  # noqa: B018 - without one there is nothing to run
        except ConfigError as error:
            there = f"checkouts of this file: {', '.join(checkouts)}; " if checkouts else ""
            raise ConfigError(f"{path}: key {key}: {error.message}", hint=f"{there}{error.hint}") from error
    check(path, document)
    cells: dict[str, Cell] = {}
    for one in (*_combined(document, recipes), *document.include):
        if one.recipe in checkouts:
            cell = _of_checkout(one, checkouts[one.recipe], path)
        else:
            cell = _cell(one, recipes[one.recipe], path)
        cells.setdefault(cell.name, cell)  # what a machine cannot choose makes several the same
    for number, excluded in enumerate(document.exclude):
        gone = [name for name, cell in cells.items() if _fits(cell, excluded)]
        if not gone:
            raise _unused(path, f"exclude[{number}]", cells)
        for name in gone:
            del cells[name]
    return _ruled(document, path, cells, today)


def _ruled(document: MatrixDocument, path: Path, cells: dict[str, Cell], today: date) -> Matrix:
    notes = list(kernel_notes(path, document))
    for number, rule in enumerate(document.rule):
        fitting = [name for name, cell in cells.items() if _fits(cell, rule)]
        if not fitting:
            raise _unused(path, f"rule[{number}]", cells)
        expired = rule.expires is not None and rule.expires < today
        if rule.allow and expired:
            notes.append(f"{path}: rule[{number}] expired on {rule.expires}: {rule.reason}")
        for name in fitting:
            cells[name] = replace_cell(
                cells[name],
                patience=cells[name].patience * rule.patience,
                allowed=rule.reason if rule.allow and not expired else cells[name].allowed,
            )
    if not cells:
        raise ConfigError(f"{path} has no cells: all are excluded", hint="see docs/matrix.md for the keys")
    return Matrix(path.stem, path, document.summary, tuple(cells.values()), tuple(notes))


def replace_cell(cell: Cell, **changes: object) -> Cell:
    """The same cell with something changed."""
    changed: Cell = msgspec.structs.replace(cell, **changes)
    return changed


def _located(name: str, path: Path) -> str:
    """Recipes by path are relative to the matrix file."""
    return str(path.parent / name) if name.endswith(".toml") else name


def _combined(document: MatrixDocument, recipes: dict[str, Recipe]) -> Iterator[Include]:
    axes = document.axes
    for recipe, machine, accelerator, medium, firmware in product(
        axes.recipes, axes.machines, axes.accelerators, axes.media, axes.firmware
    ):
        own: Sequence[str | None] = (None,)
        if recipe in recipes:
            own = recipes[recipe].kernels.qualified or own
        for kernel, memory in product(axes.kernels or own, axes.memory or (None,)):
            yield Include(
                recipe=recipe,
                kernel=kernel,
                machine=machine,
                accelerator=accelerator,
                memory=memory,
                medium=medium,
                firmware=firmware,
            )


def _cell(one: Include, recipe: Recipe, path: Path) -> Cell:
    kind = find_kind(one.machine)
    try:
        kind.images(recipe, MachineRequest())
    except ConfigError as error:
        raise ConfigError(f"{path}: on {one.machine}: {error.message}", hint=error.hint) from error
    memory = parse_size(one.memory) if one.memory else recipe.boot.memory_bytes
    kernel = _beside(one.kernel or recipe.kernels.seed, path) if kind.kernels else ""
    return _fitted(one, _located(one.recipe, path), kernel, memory)


def _of_checkout(one: Include, checkout: Checkout, path: Path) -> Cell:
    """Its kernel is the one that goes with it, unless another is named."""
    try:
        known = outline(checkout, find_kind(one.machine), one.kernel or "")
    except ConfigError as error:
        raise ConfigError(f"{path}: key checkout.{one.recipe}: {error.message}", hint=error.hint) from error
    memory = parse_size(one.memory) if one.memory else known.memory
    cell = _fitted(one, one.recipe, _beside(one.kernel or "", path), memory)
    return replace_cell(cell, checkout=checkout)


def _fitted(one: Include, recipe: str, kernel: str, memory: int) -> Cell:
    """A cell without what its machine cannot choose."""
    takes = find_kind(one.machine).takes
    return Cell(
        recipe=recipe,
        kernel=kernel if takes("--kernel") else "",
        machine=one.machine,
        accelerator=one.accelerator if takes("--accelerator") else "",
        memory=memory if takes("--memory") else 0,
        medium=one.medium if takes("--medium") else "direct",
        firmware=one.firmware if takes("--firmware") else "bios",
    )


def _beside(kernel: str, path: Path) -> str:
    """Kernels by path are relative to the matrix file."""
    return str(path.parent / kernel) if "/" in kernel else kernel


def _fits(cell: Cell, match: Match) -> bool:
    for key in _MATCHED:
        pattern = getattr(match, key)
        if pattern is None:
            continue
        if key == "memory" and pattern[:1].isdigit() and "*" not in pattern:
            if cell.memory != _size(pattern):
                return False
        elif not fnmatchcase(cell.value(key), pattern):
            return False
    return True


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError:
        return -1


def _unused(path: Path, key: str, cells: dict[str, Cell]) -> ConfigError:
    values = {name: sorted({cell.value(name) for cell in cells.values()}) for name in _MATCHED}
    known = "; ".join(f"{name}: {', '.join(some)}" for name, some in values.items() if some)
    return ConfigError(f"{path}: key {key} fits no cell", hint=f"there are {known}" if known else "")


class Outline(msgspec.Struct, frozen=True):
    """What is known of a checkout on a kind of machine."""

    plan: str  # name of the plan that is followed, or path of its file
    memory: int  # bytes that it asks for


def located(checkout: Checkout, home: Path) -> Checkout:
    """The same with paths that hold everywhere: `~` is the user's home, others are relative to `home`."""
    return msgspec.structs.replace(
        checkout,
        tree=str(home / Path(checkout.tree).expanduser()),
        builder=str(home / Path(checkout.builder).expanduser()) if checkout.builder else "",
    )


def outline(checkout: Checkout, kind: Kind[Any], kernel: str) -> Outline:
    """Look at a checkout."""
    tree = Path(checkout.tree)
    if checkout.recipe in stage0.RECIPES:
        builder = Path(checkout.builder) if checkout.builder else None
        recipe = stage0.load(
            checkout.recipe, tree, arch=checkout.arch, builder=builder, instrument=checkout.instrument
        )
        return Outline(str(recipe.plan), recipe.boot.memory_bytes)
    found = recognise(tree)
    if checkout.recipe not in {found.era.payload, found.era.name}:
        message = f"{tree} is {found.era.payload} ({found.era.name}), and not {checkout.recipe}"
        raise ConfigError(message, hint=f'write recipe = "{found.era.payload}"')
    tables: dict[str, Any] = found.mode(mode_of(kind.kind.value, kernel)).recipe
    memory = tables.get("boot", {}).get("memory", DEFAULT_MEMORY)
    return Outline(tables["plan"], parse_size(memory))
