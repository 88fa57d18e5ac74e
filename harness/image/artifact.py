"""A built file: where it is, what it weighs, and its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec


class Artifact(msgspec.Struct, frozen=True):
    """A built image.

    Attributes:
        name: Name of the image in its recipe.
        kind: "initramfs" or "disk".
        path: The file. It is shared and never written to.
        size: In bytes.
        sha256: Of the file.
    """

    name: str
    kind: str
    path: Path
    size: int
    sha256: str


def artifact_of(name: str, kind: str, path: Path) -> Artifact:
    """Describe a file that has just been built."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Artifact(name=name, kind=kind, path=path, size=path.stat().st_size, sha256=sha256)
