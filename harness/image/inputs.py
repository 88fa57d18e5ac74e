"""Lists the inputs of an image, with origin, version and hash."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import recipe as r
from harness.core.digest import sha256_of_input
from harness.image import boot_loaders, builder_hex0, origins
from harness.image.manifest import Input, without_twins

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from harness.image.ingredients import Ingredients
    from harness.recipe import Content, Image
    from harness.sources.packages import Package


def inputs_of(
    image: Image, given: Ingredients, described: Sequence[Mapping[str, object]]
) -> tuple[Input, ...]:
    """All that an image is made from."""
    return without_twins(_inputs(image, given, described))


def _inputs(image: Image, given: Ingredients, described: Sequence[Mapping[str, object]]) -> Iterator[Input]:
    for content, description in zip(r.contents_of(image), described, strict=True):
        yield from _content(content, given, description)
    match image:
        case r.Initramfs():
            for name in image.behind:
                yield from _image(name, "", given)
        case r.Iso():
            yield from _packages(boot_loaders.SUITE, boot_loaders.packages(given).values())
            for entry in image.menu:
                yield from _kernel(entry.kernel, given)
                yield from _image(entry.initramfs, "", given)
            if image.disk is not None:
                yield from _image(image.disk, "", given)
        case r.BuilderHex0():
            for name, sha256 in builder_hex0.describe(image, given.recipe).items():
                yield Input("file", name, sha256=sha256)
        case r.Dib():
            place = given.recipe.debian
            yield from (Input("element", element) for element in image.elements)
            for package in image.packages:
                yield Input("package", package, architecture=place.architecture, origin=place.suite)


def _content(content: Content, given: Ingredients, described: Mapping[str, object]) -> Iterator[Input]:
    match content:
        case r.File() | r.Hex():
            yield Input("file", content.source, sha256=str(described["sha256"]))
        case r.Files():
            for name, file in origins.files(content, given).items():
                yield Input("file", f"{content.source}/{name}", sha256=sha256_of_input(file))
        case r.Packages():
            place = given.recipe.debian
            closure = given.workshop.debian.closure(place.suite, place.architecture, content.names)
            yield from _packages(place.suite, closure)
        case r.SourcePackage():
            suite, package = origins.source_package(content, given)
            yield from _packages(suite, [package])
        case r.Modules() | r.KernelFile():
            yield from _kernel(content.kernel, given)
        case r.Download() | r.Tarball():
            name = content.url.rstrip("/").rpartition("/")[2]
            yield Input("download", name, origin=content.url, sha256=content.sha256)
        case r.Checkout():
            yield Input(
                "checkout",
                content.source,
                version=str(described.get("commit", "")),
                sha256=str(described.get("sha256", "")),
                modified=bool(described.get("modified", False)),
            )
        case r.ImageFile():
            yield from _image(content.image, content.recipe, given)
        case r.Unpacked():
            yield from _image(content.image, "", given)


def _packages(suite: str, packages: Iterable[Package]) -> Iterator[Input]:
    for package in packages:
        yield Input("package", package.name, package.version, package.architecture, suite, package.sha256)


def _kernel(name: str, given: Ingredients) -> Iterator[Input]:
    kernel = given.kernel(name)
    # A kernel of the user's own is known by its file's name: the manifest says nothing about their disk.
    yield Input(
        "kernel",
        Path(kernel.name).name,
        version=kernel.image.version,
        origin=str(kernel.package or "a file"),
        sha256=kernel.image.sha256,
    )


def _image(name: str, recipe: str, given: Ingredients) -> Iterator[Input]:
    artifact = given.image(name, recipe)
    yield Input("image", artifact.name, origin=recipe or "this recipe", sha256=artifact.digest)
