"""Inputs and tools of an image, with origins, versions and hashes."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from harness import recipe as r
from harness.core import programs
from harness.core.digest import sha256_of_input
from harness.core.errors import ConfigError
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
            closure = given.context.debian.closure(place.suite, place.architecture, content.names)
            yield from _packages(place.suite, closure)
        case r.SourcePackage():
            suite, package = origins.source_package(content, given)
            yield from _packages(suite, [package])
        case r.Modules() | r.KernelFile():
            yield from _kernel(content.kernel, given)
        case r.Download() | r.Tarball():
            name = content.url.rstrip("/").rpartition("/")[2]
            yield Input("download", name, origin=content.url, sha256=content.sha256)
        case r.StorePath():
            yield Input("store path", f"/{content.path}", sha256=content.sha256)
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


def tools_of(image: Image) -> dict[str, str]:
    """The programs and libraries that an image of this kind is made with, and their versions."""
    tools = {"harness": harness.__version__, "python": platform.python_version()}
    if any(isinstance(content, r.Packages | r.Modules | r.KernelFile) for content in r.contents_of(image)):
        tools |= _programs("dpkg-deb")
    match image:
        case r.Initramfs():
            tools |= compressor(image.compression)
        case r.Disk():
            if image.table != "none":
                tools |= _programs("sfdisk")
            if image.format == "qcow2":
                tools |= _programs("qemu-img")
        case r.Iso():
            from importlib.metadata import version

            tools |= {"pycdlib": version("pycdlib"), **_programs("mformat")}
        case r.Dib():
            tools |= _programs("disk-image-create", "debootstrap")
    return tools


def compressor(compression: str) -> dict[str, str]:
    """The library that compresses so, and its version, on which the bits depend."""
    match compression:
        case "gzip":
            import zlib

            return {"zlib": zlib.ZLIB_RUNTIME_VERSION}
        case "zstd":
            import zstandard

            return {"zstd": ".".join(map(str, zstandard.ZSTD_VERSION))}
        case "lz4":
            import lz4

            return {"lz4": str(lz4.library_version_string())}
        case "lzo":
            from importlib.metadata import version

            return {"lzallright": version("lzallright")}
        case "xz" | "lzma" | "bzip2":
            return {compression: f"that of Python {platform.python_version()}"}
    return {}


def _programs(*names: str) -> dict[str, str]:
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        result = programs.call([name, "--version"])
    except ConfigError:
        return "not installed"
    first = (result.stdout or result.stderr).strip().partition("\n")[0]
    return first or "does not say"
