"""Builds each image of a recipe once, through the store."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness import recipe as r
from harness.core.digest import EXTENTS, digest_of
from harness.core.errors import ConfigError, InfraError
from harness.core.sizes import format_size
from harness.image import origins
from harness.image.ingredients import Artifact, BuildContext
from harness.kernel import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.formats.tree import Entry, Written
    from harness.kernel.catalogue import Kernel
    from harness.recipe import Content, Image, Recipe
    from harness.sources.packages import Lock

# Part of every key: raise it when the same inputs give other bits than before.
_FORMAT = 7
_MANIFEST = "manifest.json"
_SUFFIXES = {
    "none": "",
    "gzip": ".gz",
    "xz": ".xz",
    "zstd": ".zst",
    "lz4": ".lz4",
    "bzip2": ".bz2",
    "lzma": ".lzma",
    "lzo": ".lzo",
}


class Build(msgspec.Struct, frozen=True):
    """All that a run boots."""

    recipe: Recipe  # what was built
    # kernels that it boots, by role: "seed", and "second" where the recipe has one
    kernels: Mapping[str, Kernel]
    images: Mapping[str, Artifact]  # artifacts that were asked for, by the name of their image
    lock: Lock  # the exact packages that went in


class Made(msgspec.Struct, frozen=True):
    """An image that a recipe asks for, what came of it, and where it was made, with all it refers to."""

    image: Image
    artifact: Artifact
    factory: Factory


class Factory(msgspec.Struct):
    """The work on one recipe; artifacts and kernels are made when they are first asked for."""

    recipe: Recipe  # the recipe
    context: BuildContext  # where and what from
    seed: str | None  # the seed kernel instead of the recipe's
    second: str | None = None  # the kernel behind kexec, likewise
    above: tuple[Path, ...] = ()  # the recipes that wait for an image of this one
    # the work on recipes that this one takes images of
    others: dict[Path, Factory] = msgspec.field(default_factory=dict)
    kernels: dict[str, Kernel] = msgspec.field(default_factory=dict)  # what there is so far, by role or name
    images: dict[str, Artifact] = msgspec.field(default_factory=dict)  # what there is so far, by name
    # all images so far, of other recipes too, each behind those that it was made from
    made: list[Made] = msgspec.field(default_factory=list)

    def build(self, only: str | None, names: tuple[str, ...] = (), *, wants_kernels: bool) -> Build:
        """Build images for the seed kernel, or find them in the store.

        Args:
            only: The kind of image that is wanted; others are built only where one of these needs them.
            names: The images that are wanted, instead of all; as above.
            wants_kernels: Whether kernels are wanted that only boot them.
        """
        wanted = [image for image in self.recipe.images if only in {None, _kind(image)}]
        if names:
            wanted = [image for image in wanted if image.name in names]
        if not wanted:
            kinds = ", ".join(sorted({_kind(image) for image in self.recipe.images}))
            raise ConfigError(f"the recipe {self.recipe.name} has no {only} image", hint=f"it has: {kinds}")
        self._require_host(wanted)
        roles: tuple[str, ...] = ()
        if self.recipe.document.kernels and self.recipe.boots and only is None and wants_kernels:
            roles = ("seed", "second") if self.recipe.kernels.second else ("seed",)
        kernels = {role: self.kernel(role) for role in roles}
        images = {image.name: self.image(image.name) for image in wanted}
        return Build(self.recipe, kernels, images, self.context.debian.given)

    def image(self, name: str, recipe: str = "") -> Artifact:
        """An image of this recipe, or of another one."""
        if recipe:
            return self._other(recipe).image(name)
        if name not in self.images:
            image = self.recipe.image(name)
            self.images[name] = self._artifact(image)
            self.made.append(Made(image, self.images[name], self))
        return self.images[name]

    def kernel(self, name: str) -> Kernel:
        """A kernel by its role in the recipe, or by its name in the catalogue."""
        if name not in self.kernels:
            found = catalogue.obtain(self._kernel_name(name), self.context.debian)
            if name in {"seed", "second"} and found.image.architecture != self.recipe.architecture:
                raise ConfigError(
                    f"the {name} kernel {found.name} is for {found.image.architecture}, and the recipe "
                    f"{self.recipe.name} is built for {self.recipe.architecture}",
                    hint="seed and second kernel must be for one architecture",
                )
            self.kernels[name] = found
        return self.kernels[name]

    def _kernel_name(self, name: str) -> str:
        if name not in {"seed", "second"}:
            return name
        kernels = self.recipe.kernels
        if name == "seed":
            return self.seed or kernels.seed
        seed = self.kernel("seed")
        return self.second or kernels.behind.get(seed.name) or catalogue.choose_second(kernels.second, seed)

    def _other(self, name: str) -> Factory:
        path = str(self.recipe.base / name) if name.endswith(".toml") else name
        other = r.load_recipe(path)
        if other.path in {*self.above, self.recipe.path}:
            raise ConfigError(f"{self.recipe.path} and {other.path} each need an image of the other")
        if other.path not in self.others:
            above = (*self.above, self.recipe.path)
            self.others[other.path] = Factory(other, self.context, None, above=above, made=self.made)
        return self.others[other.path]

    def _require_host(self, wanted: Iterable[Image]) -> None:
        """Say up front, before anything is downloaded, what an image that needs root asks for."""
        for image in wanted:
            if isinstance(image, r.Dib):
                from harness.image import dib

                if not self.context.store.has(_kind(image), self._described(image)):
                    dib.require_host(self.recipe, image, self.context.store.entries)

    def _artifact(self, image: Image) -> Artifact:
        inputs = self._described(image)
        kind, file_name = _kind(image), _file_name(image)

        def build_into(directory: Path) -> dict[str, str]:
            path = directory / file_name
            with (
                self.context.progress.task(f"building {image.name}"),
                tempfile.TemporaryDirectory(dir=directory) as work,
            ):
                written = self._write(image, path, Path(work))
                digest = digest_of(path)
            path.chmod(0o444)
            self._write_manifest(image, inputs, path, digest, written)
            return {file_name: digest}

        entry = self.context.store.get(kind, inputs, build_into)
        known = self.context.store.file(entry, file_name)
        return Artifact(
            name=image.name,
            kind=kind,
            path=entry / file_name,
            size=known.size,
            digest=known.digest,
            manifest=entry / _MANIFEST,
            sha256=_whole(known.digest),
        )

    def _write_manifest(
        self,
        image: Image,
        described: Mapping[str, object],
        artifact: Path,
        digest: str,
        written: list[Written],
    ) -> None:
        from harness.image import manifest
        from harness.image.inputs import inputs_of, tools_of

        document = manifest.Manifest(
            image=image.name,
            kind=_kind(image),
            file=artifact.name,
            size=artifact.stat().st_size,
            sha256=_whole(digest),
            digest=digest,
            files=tuple(written),
            inputs=inputs_of(image, self, msgspec.convert(described["contents"], list[dict[str, object]])),
            tools=tools_of(image),
            varies=msgspec.convert(described.get("not_reproducible", ()), tuple[str, ...]),
        )
        manifest.write(document, artifact.with_name(_MANIFEST))

    def _described(self, image: Image) -> dict[str, object]:
        """All that determines the image's bits, as JSON values."""
        settings = {key: value for key, value in msgspec.to_builtins(image).items() if key != "contents"}
        described: dict[str, object] = {
            "format": _FORMAT,
            "mtime": self.context.mtime,
            "image": settings,
            "contents": [origins.describe(content, self) for content in r.contents_of(image)],
        }
        match image:
            case r.Initramfs():
                from harness.image.inputs import compressor

                described["behind"] = [self.image(name).digest for name in image.behind]
                described["compressor"] = compressor(image.compression)
            case r.Iso():
                from harness.image import hybrid

                described |= hybrid.describe(image, self)
            case r.BuilderHex0():
                from harness.image import builder_hex0

                described |= builder_hex0.describe(image, self.recipe)
            case r.Dib():
                from harness.image import dib

                described |= dib.describe(image, self)
        return described

    def _write(self, image: Image, path: Path, work: Path) -> list[Written]:
        match image:
            case r.Initramfs():
                from harness.image import initramfs

                behind = [self.image(name).path for name in image.behind]
                tree = self._checked_tree(image.contents, path)
                return initramfs.write(
                    tree,
                    path,
                    compression=image.compression,
                    behind=behind,
                    mtime=self.context.mtime,
                )
            case r.Disk():
                from harness.image import disk

                places = image.partition or (image,)
                trees = [self._checked_tree(place.contents, path) for place in places]
                return disk.write(image, trees, path, work=work, mtime=self.context.mtime)
            case r.Iso():
                from harness.image import hybrid

                return hybrid.write(image, self, self._checked_tree(image.contents, path), path, work=work)
            case r.BuilderHex0():
                from harness.image import builder_hex0

                return builder_hex0.write(image, self.recipe, self._checked_tree(image.contents, path), path)
            case r.Dib():
                from harness.image import dib

                return dib.write(image, self, path, work=work)

    def tree(self, added: Sequence[Content]) -> list[Entry]:
        """What contents of an image add, as one tree."""
        from harness.image import contents  # images are built rarely, and booted often

        return contents.tree(added, self)

    def _checked_tree(self, added: Sequence[Content], path: Path) -> list[Entry]:
        tree = self.tree(added)
        needed = sum(_size(entry) for entry in tree)
        free = shutil.disk_usage(path.parent).free
        if needed > free:
            raise InfraError(
                f"the cache {self.context.store.cache} has {format_size(free)} left, and the files of "
                f"{path.name} alone take {format_size(needed)}",
                hint="free some space (`harness store gc`), or choose another cache with --cache DIR",
            )
        return tree


def _kind(image: Image) -> str:
    return str(image.__struct_config__.tag)


def _file_name(image: Image) -> str:
    ending = {"initramfs": "cpio", "iso": "iso", "dib": "tar"}.get(_kind(image), "img")
    if isinstance(image, r.Initramfs):
        ending += _SUFFIXES[image.compression]
    elif isinstance(image, r.Disk) and image.format != "raw":
        ending = image.format
    return f"{image.name}.{ending}"


def _size(entry: Entry) -> int:
    """Bytes of an entry's own content; one that cannot be read is the writer's to complain about."""
    if not entry.is_file or entry.link:
        return 0
    if isinstance(entry.content, bytes):
        return len(entry.content)
    try:
        return entry.content.stat().st_size
    except OSError:
        return 0


def _whole(digest: str) -> str:
    """The SHA-256 of a whole file, if that is its digest."""
    return "" if digest.startswith(EXTENTS) else digest
