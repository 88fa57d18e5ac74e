"""A recipe: what goes into the images of a bootstrap, how it is booted, and which plan follows it.

`docs/recipes.md` describes every key.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import msgspec

from harness import places, toml
from harness.errors import ConfigError
from harness.size import parse_size

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._+-]*$")]
Mode = Annotated[int, msgspec.Meta(ge=0, le=0o7777)]
KernelRole = Literal["seed", "second"]


class File(toml.Table, frozen=True, tag_field="add", tag="file"):
    """A file from beside the recipe; `source` is relative to the directory that holds `recipes/`."""

    path: str
    source: str
    mode: Mode = 0o644


class Text(toml.Table, frozen=True, tag_field="add", tag="text"):
    """A file whose content stands in the recipe."""

    path: str
    text: str
    mode: Mode = 0o644


class Directory(toml.Table, frozen=True, tag_field="add", tag="directory"):
    """An empty directory."""

    path: str
    mode: Mode = 0o755


class Symlink(toml.Table, frozen=True, tag_field="add", tag="symlink"):
    """A symbolic link."""

    path: str
    target: str


class Device(toml.Table, frozen=True, tag_field="add", tag="device"):
    """A device node."""

    path: str
    type: Literal["char", "block"]
    major: Annotated[int, msgspec.Meta(ge=0, le=4095)]
    minor: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    mode: Mode = 0o600


class Packages(toml.Table, frozen=True, tag_field="add", tag="packages"):
    """Debian packages with all that they depend on.

    With `keep`, only these programs and what they need to run (libraries, interpreters, links).
    `drop` leaves out whole directories.
    """

    names: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class Modules(toml.Table, frozen=True, tag_field="add", tag="modules"):
    """Modules of a kernel with all that they depend on, below `path`; the load order is in `path`/order."""

    path: str
    kernel: KernelRole
    names: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class KernelFile(toml.Table, frozen=True, tag_field="add", tag="kernel"):
    """The bootable file of a kernel."""

    path: str
    kernel: KernelRole


class ImageFile(toml.Table, frozen=True, tag_field="add", tag="image"):
    """Another image of the same recipe, which stands before this one."""

    path: str
    image: Name


Content = File | Text | Directory | Symlink | Device | Packages | Modules | KernelFile | ImageFile


class Initramfs(toml.Table, frozen=True, tag_field="kind", tag="initramfs"):
    """A cpio archive that the kernel unpacks as its first root."""

    name: Name
    contents: tuple[Content, ...]


class Disk(toml.Table, frozen=True, tag_field="kind", tag="disk"):
    """A disk image that is one ext4 filesystem, without a partition table."""

    name: Name
    size: str
    contents: tuple[Content, ...]
    label: Annotated[str, msgspec.Meta(max_length=16)] = ""

    @property
    def size_bytes(self) -> int:
        """Size of the whole image in bytes."""
        return parse_size(self.size)


Image = Initramfs | Disk


class Debian(toml.Table, frozen=True):
    """Where the payload's packages come from: a suite of the Debian archive, for an architecture."""

    suite: Name
    architecture: Name


class Kernels(toml.Table, frozen=True):
    """Which kernels of the catalogue boot the recipe.

    `second` lists candidates for the kernel behind kexec: the first whose version is not the seed
    kernel's is taken. `qualified` are the seed kernels that the test suite boots.
    """

    seed: Name
    second: tuple[Name, ...] = ()
    qualified: tuple[Name, ...] = ()


class Boot(toml.Table, frozen=True):
    """The machine that the recipe asks for."""

    initramfs: Name
    command_line: str
    disk: Name | None = None
    memory: str = "1G"
    cpu: str = ""

    @property
    def memory_bytes(self) -> int:
        """Size of the guest's memory in bytes."""
        return parse_size(self.memory)


class _Document(toml.Table, frozen=True):
    summary: str
    plan: Name
    debian: Debian
    kernels: Kernels
    boot: Boot
    image: Annotated[tuple[Image, ...], msgspec.Meta(min_length=1)]


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe that has been read and checked.

    Attributes:
        name: The file's name without suffix.
        path: The TOML file.
        summary: One line for `harness list`.
        plan: The plan's file.
        debian: Where packages come from.
        kernels: Seed kernel and second kernel.
        boot: The machine.
        images: What is built, in order.
    """

    name: str
    path: Path
    summary: str
    plan: Path
    debian: Debian
    kernels: Kernels
    boot: Boot
    images: tuple[Image, ...]

    @property
    def base(self) -> Path:
        """Directory that `source` keys are relative to: the one that holds `recipes/`."""
        return self.path.parent.parent

    def image(self, name: str) -> Image:
        """The image with this name."""
        return next(image for image in self.images if image.name == name)


def recipe_files() -> dict[str, Path]:
    """The recipes that come with the project, by name."""
    return {path.stem: path for path in sorted((places.data_root() / "images/recipes").glob("*.toml"))}


def load_recipe(name: str) -> Recipe:
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
    document = toml.load(path, _Document)
    recipe = Recipe(
        name=path.stem,
        path=path,
        summary=document.summary,
        plan=path.parent.parent / "plans" / f"{document.plan}.toml",
        debian=document.debian,
        kernels=document.kernels,
        boot=document.boot,
        images=document.image,
    )
    _check(recipe)
    return recipe


def _check(recipe: Recipe) -> None:
    """Check what the types cannot: that everything a key refers to is there."""
    if not recipe.plan.is_file():
        raise _wrong(recipe, "plan", f"there is no plan {recipe.plan}")
    earlier: dict[str, Image] = {}
    for index, image in enumerate(recipe.images):
        key = f"image[{index}]"
        if image.name in earlier:
            raise _wrong(recipe, f"{key}.name", f"{image.name!r} is the name of an earlier image")
        if isinstance(image, Disk):
            _check_size(recipe, f"{key}.size", image.size)
        for number, content in enumerate(image.contents):
            _check_content(recipe, f"{key}.contents[{number}]", content, earlier)
        earlier[image.name] = image
    if not isinstance(earlier.get(recipe.boot.initramfs), Initramfs):
        raise _wrong(recipe, "boot.initramfs", f"no initramfs image is named {recipe.boot.initramfs!r}")
    if recipe.boot.disk is not None and not isinstance(earlier.get(recipe.boot.disk), Disk):
        raise _wrong(recipe, "boot.disk", f"no disk image is named {recipe.boot.disk!r}")
    _check_size(recipe, "boot.memory", recipe.boot.memory)


def _check_content(recipe: Recipe, key: str, content: Content, earlier: dict[str, Image]) -> None:
    if not isinstance(content, Packages) and not _is_plain(content.path):
        raise _wrong(recipe, f"{key}.path", f"{content.path!r} is no plain path below the image's root")
    if isinstance(content, File) and not (recipe.base / content.source).is_file():
        raise _wrong(recipe, f"{key}.source", f"there is no file {recipe.base / content.source}")
    if isinstance(content, ImageFile) and content.image not in earlier:
        raise _wrong(recipe, f"{key}.image", f"no earlier image is named {content.image!r}")
    if isinstance(content, Modules | KernelFile) and content.kernel == "second" and not recipe.kernels.second:
        raise _wrong(recipe, f"{key}.kernel", "the recipe has no second kernel (key kernels.second)")


def _is_plain(text: str) -> bool:
    """Whether this is a relative path in its shortest form, of letters that every format can carry."""
    path = PurePosixPath(text)
    shortest = bool(path.parts) and str(path) == text
    carried = all(letter.isprintable() and letter != '"' for letter in text)
    return shortest and carried and not path.is_absolute() and ".." not in path.parts


def _check_size(recipe: Recipe, key: str, text: str) -> None:
    try:
        parse_size(text)
    except ValueError as error:
        raise _wrong(recipe, key, str(error)) from error


def _wrong(recipe: Recipe, key: str, problem: str) -> ConfigError:
    return ConfigError(f"{recipe.path}: key {key}: {problem}", hint="see docs/recipes.md for the keys")
