"""The image factory: a recipe and two kernels become artifacts, each built once."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness import recipe as r
from harness.errors import ConfigError
from harness.image import contents, cpio, disk
from harness.image.artifact import Artifact, artifact_of
from harness.kernel import catalogue
from harness.size import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.kernel.catalogue import Kernel
    from harness.progress import Progress
    from harness.recipe import Image, Recipe
    from harness.sources.debian import DebianSource
    from harness.sources.packages import Lock
    from harness.store import Store

# Part of every key: raise it when the same inputs give other bits than before.
_FORMAT = 3


@dataclass(frozen=True, slots=True)
class Build:
    """All that a run boots.

    Attributes:
        recipe: What was built.
        kernels: Kernels by role: "seed", and "second" where the recipe has one.
        images: Artifacts by the name of their image.
        lock: The exact packages that went in.
    """

    recipe: Recipe
    kernels: Mapping[str, Kernel]
    images: Mapping[str, Artifact]
    lock: Lock


def build(recipe: Recipe, seed: str, *, store: Store, debian: DebianSource, progress: Progress) -> Build:
    """Build all images of a recipe for a seed kernel, or find them in the store.

    Args:
        recipe: The recipe.
        seed: The seed kernel: a name of the catalogue or the path of a vmlinuz.
        store: Where artifacts are kept.
        debian: Where packages and catalogue kernels come from.
        progress: Where the work is shown.

    Raises:
        ConfigError: The recipe asks for what cannot be had, or the kernel is none.
        InfraError: A download or a tool failed, or the disk is full.
    """
    kernels = {"seed": catalogue.obtain(seed, debian)}
    if recipe.kernels.second:
        second = catalogue.choose_second(recipe.kernels.second, kernels["seed"])
        kernels["second"] = catalogue.obtain(second, debian)
    images: dict[str, Artifact] = {}
    for image in recipe.images:
        given = contents.Ingredients(recipe=recipe, kernels=kernels, debian=debian, images=images)
        images[image.name] = _artifact(image, given, store, progress)
    return Build(recipe=recipe, kernels=kernels, images=images, lock=debian.given)


def _artifact(image: Image, given: contents.Ingredients, store: Store, progress: Progress) -> Artifact:
    described = [contents.describe(content, given) for content in image.contents]
    settings = {key: value for key, value in msgspec.to_builtins(image).items() if key != "contents"}
    inputs = {"format": _FORMAT, "image": settings, "contents": described}

    def build_into(directory: Path) -> None:
        if isinstance(image, r.Disk):
            _check_space(directory, image)
        with progress.task(f"building {image.name}"):
            tree = contents.merge(
                entry for content in image.contents for entry in contents.entries(content, given)
            )
            path = directory / _file_name(image)
            match image:
                case r.Initramfs():
                    with path.open("wb") as file:
                        cpio.write(tree, file)
                case r.Disk():
                    with tempfile.TemporaryDirectory(dir=directory) as work:
                        disk.write_ext4(
                            tree,
                            path,
                            size=image.size_bytes,
                            label=image.label or image.name,
                            work=Path(work),
                        )
            artifact = artifact_of(image.name, _kind(image), path)
            path.chmod(0o444)
            (directory / "artifact.json").write_bytes(
                msgspec.json.encode({"size": artifact.size, "sha256": artifact.sha256})
            )

    entry = store.get(_kind(image), inputs, build_into)
    known = msgspec.json.decode((entry / "artifact.json").read_bytes())
    path = entry / _file_name(image)
    return Artifact(image.name, _kind(image), path, size=known["size"], sha256=known["sha256"])


def _check_space(directory: Path, image: r.Disk) -> None:
    free = shutil.disk_usage(directory).free
    needed = image.size_bytes * 2  # the image, and the tree on its way into it
    if free < needed:
        raise ConfigError(
            f"{directory} has {format_size(free)} left, and {image.name} may take {format_size(needed)}",
            hint="free some space, or choose another cache with --cache DIR",
        )


def _kind(image: Image) -> str:
    return "initramfs" if isinstance(image, r.Initramfs) else "disk"


def _file_name(image: Image) -> str:
    return f"{image.name}.cpio" if isinstance(image, r.Initramfs) else f"{image.name}.img"
