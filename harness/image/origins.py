"""Describes the sources of an image for its key.

Errors name recipe and key. Each run asks for the keys of images that are built already, so what only making
them needs is not imported.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from harness import recipe as r
from harness.core.digest import sha256_of_input
from harness.core.errors import ConfigError
from harness.formats.names import matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.image.ingredients import Ingredients
    from harness.recipe import Content
    from harness.sources.checkout import Snapshot
    from harness.sources.packages import Package


def describe(content: Content, given: Ingredients) -> dict[str, object]:
    """All that determines what a content adds, as JSON values: part of the image's key in the store."""
    found: dict[str, object] = {}
    match content:
        case r.File():
            with named(content, "source", given):
                found["sha256"] = sha256_of_input(given.recipe.base / content.source)
        case r.Hex():
            with named(content, "source", given):
                found["sha256"] = hashlib.sha256(spelled_out(content, given)).hexdigest()
        case r.Files():
            with named(content, "source", given):
                found["files"] = [
                    [path, sha256_of_input(place)] for path, place in files(content, given).items()
                ]
        case r.Checkout():
            snapshot = look(content, given)
            found["commit"] = snapshot.commit
            found["modified"] = bool(snapshot.differing)
            found["sha256"] = snapshot.sha256
        case r.Packages():
            found["packages"] = [package.sha256 for package in packages(content, given)]
        case r.SourcePackage():
            found["files"] = [file.sha256 for file in source_package(content, given)[1].files]
        case r.Modules() | r.KernelFile():
            kernel = given.kernel(content.kernel)
            found["sha256"] = kernel.image.sha256
            found["package"] = kernel.package.sha256 if kernel.package else ""
            if isinstance(content, r.Modules) and kernel.package is None and kernel.modules is not None:
                from harness.kernel import modules

                found["modules"] = [
                    hashlib.sha256(module.data).hexdigest()
                    for module in modules.closure(kernel.modules, content.names)
                ]
        case r.ImageFile():
            found["sha256"] = given.image(content.image, content.recipe).digest
        case r.Unpacked():
            found["sha256"] = given.image(content.image).digest
        case _:
            pass  # all stands in the recipe; downloads have their hash there
    return {**msgspec.to_builtins(content), **found}


def files(content: r.Files, given: Ingredients) -> dict[str, Path]:
    """The files that a directory adds, by their paths below it, sorted."""
    top = given.recipe.base / content.source
    found = {str(place.relative_to(top)): place for place in sorted(top.rglob("*")) if place.is_file()}
    kept = {path: place for path, place in found.items() if not is_dropped(path, content.drop)}
    if not kept:
        raise ConfigError(f"{top} has no files to add", hint="check `source` and `drop`")
    return kept


def spelled_out(content: r.Hex, given: Ingredients) -> bytes:
    """The bytes of a hexadecimal listing: pairs of digits, with comments from `#` to the end of a line."""
    place = given.recipe.base / content.source
    try:
        lines = place.read_text("ascii").splitlines()
    except OSError as error:
        raise ConfigError(f"cannot read {place}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{place} is no hexadecimal listing: it is not ASCII text") from error
    data = b""
    for number, line in enumerate(lines, start=1):
        digits = line.partition("#")[0]
        try:
            data += bytes.fromhex(digits)
        except ValueError as error:
            raise ConfigError(
                f"{place}:{number}: {digits.strip()!r} is not pairs of hexadecimal digits"
            ) from error
    if not data:
        raise ConfigError(f"{place} spells out no byte")
    return data


def look(content: r.Checkout, given: Ingredients) -> Snapshot:
    """The checkout as it is, and which of its files go in."""
    from harness.sources import checkout

    with named(content, "source", given):
        dirty = content.dirty or given.context.dirty
        return checkout.look(
            given.recipe.base / content.source,
            dirty=dirty,
            partial=content.partial,
            leave=lambda path: is_dropped(path, content.drop),
        )


def packages(content: r.Packages, given: Ingredients) -> tuple[Package, ...]:
    """The packages that are named, and all that they need."""
    place = given.recipe.debian
    with named(content, "names", given):
        return given.context.debian.closure(place.suite, place.architecture, content.names)


def source_package(content: r.SourcePackage, given: Ingredients) -> tuple[str, Package]:
    """The suite that a source package is from, and the package."""
    suite = content.suite or given.recipe.debian.suite
    with named(content, "version" if content.version else "name", given):
        return suite, given.context.debian.source(suite, content.name, content.version)


def is_dropped(path: str, drop: Sequence[str]) -> bool:
    """Whether a path is left out by one of these patterns, or below one that is."""
    return bool(drop) and matches(path, drop)  # without patterns everything would match


@contextmanager
def named(content: Content, key: str, given: Ingredients) -> Iterator[None]:
    """Say where in the recipe stands what is wrong."""
    try:
        yield
    except ConfigError as error:
        raise at(content, key, given, error) from error


def at(content: Content, key: str, given: Ingredients, error: ConfigError) -> ConfigError:
    """An error that says where in the recipe stands what is wrong."""
    where = f"{given.recipe.path}: key {given.recipe.key_of(content)}.{key}"
    return ConfigError(f"{where}: {error.message}", hint=error.hint)
