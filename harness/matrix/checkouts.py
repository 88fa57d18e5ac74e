"""Looks at the checkouts of bootstraps that a matrix runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.core.errors import ConfigError
from harness.core.sizes import parse_size
from harness.machine.kinds.kind import DEFAULT_MEMORY, Kind
from harness.payload import stage0
from harness.payload.chosen import mode_of
from harness.payload.tree import recognise

if TYPE_CHECKING:
    from harness.matrix.document import Checkout


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
        raise ConfigError(
            f"{tree} is {found.era.payload} ({found.era.name}), and not {checkout.recipe}",
            hint=f'write recipe = "{found.era.payload}"',
        )
    tables: dict[str, Any] = found.mode(mode_of(kind.kind.value, kernel)).recipe
    memory = tables.get("boot", {}).get("memory", DEFAULT_MEMORY)
    return Outline(tables["plan"], parse_size(memory))
