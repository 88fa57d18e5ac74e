"""Recipes: the contents of images, the boot, and the plan.

`docs/recipes.md` describes every key.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.core import paths, toml
from harness.core.architecture import DEFAULT, architecture_files, load_architecture
from harness.core.errors import ConfigError
from harness.recipe.check import problems as problems
from harness.recipe.contents import Checkout as Checkout
from harness.recipe.contents import Content as Content
from harness.recipe.contents import Device as Device
from harness.recipe.contents import Directory as Directory
from harness.recipe.contents import Download as Download
from harness.recipe.contents import File as File
from harness.recipe.contents import Files as Files
from harness.recipe.contents import HardLink as HardLink
from harness.recipe.contents import Hex as Hex
from harness.recipe.contents import ImageFile as ImageFile
from harness.recipe.contents import KernelFile as KernelFile
from harness.recipe.contents import Modules as Modules
from harness.recipe.contents import Packages as Packages
from harness.recipe.contents import SourcePackage as SourcePackage
from harness.recipe.contents import StorePath as StorePath
from harness.recipe.contents import Symlink as Symlink
from harness.recipe.contents import Tarball as Tarball
from harness.recipe.contents import Text as Text
from harness.recipe.contents import Unpacked as Unpacked
from harness.recipe.document import Boot as Boot
from harness.recipe.document import Debian as Debian
from harness.recipe.document import Drive as Drive
from harness.recipe.document import Kernels as Kernels
from harness.recipe.document import Native as Native
from harness.recipe.document import NativeCall as NativeCall
from harness.recipe.document import Recipe as Recipe
from harness.recipe.document import RecipeDocument as RecipeDocument
from harness.recipe.images import BuilderHex0 as BuilderHex0
from harness.recipe.images import Dib as Dib
from harness.recipe.images import Disk as Disk
from harness.recipe.images import Image as Image
from harness.recipe.images import Initramfs as Initramfs
from harness.recipe.images import Iso as Iso
from harness.recipe.images import MenuEntry as MenuEntry
from harness.recipe.images import Partition as Partition
from harness.recipe.images import contents_of as contents_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def recipe_files() -> dict[str, Path]:
    """The recipes that come with the project, by name."""
    return {path.stem: path for path in sorted((paths.data_root() / "images/recipes").glob("*.toml"))}


def _architectures(path: Path) -> list[str]:
    """The architectures that a recipe names; what they give is needed to read the rest of it."""
    names, known = toml.read(path).get("architectures", []), list(architecture_files())
    if not isinstance(names, list) or any(name not in known for name in names):
        message = f"{path}: key architectures: it is no list of known architectures"
        raise ConfigError(message, hint=f"known are: {', '.join(known)}")
    return names


def load_recipe(name: str, given: Mapping[str, str] | None = None, architecture: str = "") -> Recipe:
    """Read a recipe by name, or by the path of its TOML file, and check what can be checked without building.

    Args:
        name: A name or path.
        given: What the command line fills in.
        architecture: Of the kernels that boot it; "" for the first that the recipe is for.

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
    several = _architectures(path)
    known_for = several or [DEFAULT]
    architecture = architecture or known_for[0]
    if architecture not in known_for:
        hint = f"choose another kernel with --kernel; the recipe is for {', '.join(known_for)}"
        raise ConfigError(f"the recipe {path.stem} is not for kernels of {architecture}", hint=hint)
    known_of_it = load_architecture(architecture).given if several else {}
    document = toml.load(path, RecipeDocument, {**known_of_it, **(given or {})})
    recipe = Recipe(path.stem, path, document, architecture)
    for key, problem in problems(recipe):
        raise recipe.wrong(key, problem)
    return recipe
