"""Which recipe a command line means: one that stands for itself, or one that runs the user's checkout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.recipe import Recipe


def chosen(
    name: str, tree: Path | None, arch: str, builder: Path | None, *, instrument: bool
) -> tuple[Recipe, Mapping[str, str]]:
    """The recipe, with all filled in that it wants to be given, and the sha256 that its products should have.

    Raises:
        ConfigError: It needs a checkout and there is none, or the other way round.
    """
    from harness.payload import stage0
    from harness.recipe import load_recipe

    if name in stage0.RECIPES:
        if tree is None:
            raise ConfigError(
                f"the recipe {name} runs a checkout of yours, and none is named",
                hint="clone https://github.com/oriansj/stage0-posix with its submodules, then --tree DIR",
            )
        recipe = stage0.load(name, tree, arch=arch, builder=builder, instrument=instrument)
        return recipe, stage0.expected(tree, arch)
    if tree is not None or builder is not None or instrument:
        option = "--tree" if tree else "--builder" if builder else "--instrument"
        raise ConfigError(f"the recipe {name} has no use for {option}", hint=f"leave it out: {option}")
    return load_recipe(name), {}
