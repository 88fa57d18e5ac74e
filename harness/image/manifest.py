"""The manifest beside an artifact: its files and their origins.

`docs/builds.md` describes the fields. Nothing in it depends on who built the artifact, when, or where, except
`tools`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from harness.core.errors import InfraError
from harness.formats.names import printable
from harness.formats.tree import Written  # noqa: TC001 - msgspec reads annotations at run time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

T = TypeVar("T")


class Input(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that an artifact was made from."""

    kind: str  # "package", "kernel", "download", "checkout", "file", "image" or "element"
    name: str  # its name: of the package, of the kernel in the catalogue, of the file, of the image
    version: str = ""  # of a package or kernel; of a checkout, its commit
    architecture: str = ""  # Debian's name of it, of a package
    # where it came from: suite of the archive, address, package of a kernel, recipe of an image
    origin: str = ""
    # of the file; of a package, of its .deb file, or of its .dsc file if it is a source package; of an
    # image of more than 1 GiB, its digest
    sha256: str = ""
    modified: bool = False  # whether a checkout differed from its commit


class Origins(msgspec.Struct, frozen=True):
    """The part of a manifest that says what the artifact was made from, and with what."""

    inputs: tuple[Input, ...] = ()
    tools: dict[str, str] = {}
    varies: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True):
    """What an artifact is made of."""

    image: str  # name of the image in its recipe
    kind: str  # "initramfs", "disk", "iso" or "dib"
    file: str  # name of the artifact's file
    size: int  # in bytes
    sha256: str  # of the whole file, in hex; "" for a file of more than 1 GiB, unless it was asked for
    files: tuple[Written, ...]  # what is in it, in the order in which it was written
    inputs: tuple[Input, ...] = ()  # what it was made from
    # what made it, with versions. Where they change the bits, the harness notices: they are no part of the
    # artifact's key in the store
    tools: dict[str, str] = {}
    # what is not the same each time it is built, in sentences; empty for what is reproducible
    varies: tuple[str, ...] = ()
    digest: str = ""  # what identifies its content: `sha256`, or a digest by extents; "" in older manifests


def write(manifest: Manifest, path: Path) -> None:
    """Write a manifest; names with bytes that are no UTF-8 are written as `harness image ls` shows them."""
    document = msgspec.structs.replace(manifest, files=tuple(map(_as_text, manifest.files)))
    path.write_bytes(msgspec.json.encode(document))


def read(path: Path) -> Manifest:
    """Read a manifest."""
    return _read(path, Manifest)


def read_origins(path: Path) -> Origins:
    """Read what a manifest says about the whole, which takes no time even where there are many files."""
    return _read(path, Origins)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        hint = "`harness store verify` removes what is damaged; then build again"
        raise InfraError(f"cannot read the manifest {path}: {error}", hint=hint) from error


def without_twins(inputs: Iterable[Input]) -> tuple[Input, ...]:
    """Each input once, sorted by kind and name."""
    return tuple(sorted(set(inputs), key=lambda given: (given.kind, given.name, given.version, given.sha256)))


def _as_text(file: Written) -> Written:
    texts = (file.path, file.target, file.link, file.source)
    if all(text.isprintable() and "\\" not in text for text in texts):
        return file
    path, target, link, source = map(printable, texts)
    return msgspec.structs.replace(file, path=path, target=target, link=link, source=source)
