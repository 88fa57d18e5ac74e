"""Recipes: the contents of images, the boot, and the plan.

`docs/recipes.md` describes every key.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.core import paths, toml
from harness.core.errors import ConfigError
from harness.recipe.check import problems
from harness.recipe.contents import (
    Checkout,
    Content,
    Device,
    Directory,
    Download,
    File,
    Files,
    HardLink,
    Hex,
    ImageFile,
    KernelFile,
    Modules,
    Packages,
    SourcePackage,
    Symlink,
    Tarball,
    Text,
    Unpacked,
)
from harness.recipe.document import Boot, Debian, Drive, Kernels, Native, NativeCall, Recipe, RecipeDocument
from harness.recipe.images import (
    BuilderHex0,
    Dib,
    Disk,
    Image,
    Initramfs,
    Iso,
    MenuEntry,
    Partition,
    contents_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Boot",
    "BuilderHex0",
    "Checkout",
    "Content",
    "Debian",
    "Device",
    "Dib",
    "Directory",
    "Disk",
    "Download",
    "Drive",
    "File",
    "Files",
    "HardLink",
    "Hex",
    "Image",
    "ImageFile",
    "Initramfs",
    "Iso",
    "KernelFile",
    "Kernels",
    "MenuEntry",
    "Modules",
    "Native",
    "NativeCall",
    "Packages",
    "Partition",
    "Recipe",
    "RecipeDocument",
    "SourcePackage",
    "Symlink",
    "Tarball",
    "Text",
    "Unpacked",
    "contents_of",
    "load_recipe",
    "problems",
    "recipe_files",
]


def recipe_files() -> dict[str, Path]:
    """The recipes that come with the project, by name."""
    return {path.stem: path for path in sorted((paths.data_root() / "images/recipes").glob("*.toml"))}


def load_recipe(name: str, given: Mapping[str, str] | None = None) -> Recipe:
    """Read a recipe by name, or by the path of its TOML file, and check what can be checked without building.

    Raises:
        ConfigError: There is no such recipe, or a key is wrong; the message names file and key.
    """
    known = recipe_files()
    path = Path(name) if name.endswith(".toml") else known.get(name)
    if path is None:
        raise ConfigError(
            f"there is no recipe {name!r}",
            hint=f"known recipes: {', '.join(known)}; the path of a .toml file of your own works too",
        )
    path = path.absolute()
    recipe = Recipe(path.stem, path, toml.load(path, RecipeDocument, given or {}))
    for key, problem in problems(recipe):
        raise recipe.wrong(key, problem)
    return recipe
