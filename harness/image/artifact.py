"""A built file: where it is, what it weighs, and its hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


class Artifact(msgspec.Struct, frozen=True):
    """A built image.

    Attributes:
        name: Name of the image in its recipe.
        kind: "initramfs", "disk", "iso" or "dib".
        path: The file. It is shared and never written to.
        size: In bytes.
        sha256: Of the file.
        manifest: What is in it, file by file, and where that came from; `image.manifest` has the format.
    """

    name: str
    kind: str
    path: Path
    size: int
    sha256: str
    manifest: Path
