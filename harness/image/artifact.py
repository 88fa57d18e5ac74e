"""A built file: where it is, what it weighs, and its hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core.digest import sha256_of

if TYPE_CHECKING:
    from pathlib import Path


class Artifact(msgspec.Struct, frozen=True):
    """A built image.

    Attributes:
        name: Name of the image in its recipe.
        kind: "initramfs", "disk", "iso", "builder-hex0" or "dib".
        path: The file. It is shared and never written to.
        size: In bytes.
        digest: What identifies its content (`core.digest.digest_of`): its SHA-256, or one by extents.
        manifest: What is in it, file by file, and where that came from; `image.manifest` has the format.
        sha256: Of the whole file, in hex; "" for a file of more than 1 GiB, until `with_sha256` computes it.
    """

    name: str
    kind: str
    path: Path
    size: int
    digest: str
    manifest: Path
    sha256: str = ""

    def with_sha256(self) -> Artifact:
        """The same with the SHA-256 of the whole file, which takes a second for each 2 GiB.

        Raises:
            OSError: It cannot be read.
        """
        return self if self.sha256 else msgspec.structs.replace(self, sha256=sha256_of(self.path))
