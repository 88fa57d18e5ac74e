"""Built images, and what contents of a recipe refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from harness.core.digest import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from harness.core.progress import Progress
    from harness.kernel.catalogue import Kernel
    from harness.recipe import Recipe
    from harness.sources.debian import DebianSource
    from harness.sources.downloads import Downloads
    from harness.store import Store


class BuildContext(msgspec.Struct, frozen=True):
    """Where images are made and what from."""

    store: Store  # where artifacts are kept
    debian: DebianSource  # where packages and catalogue kernels come from
    downloads: Downloads  # where files by address come from
    progress: Progress  # where the work is shown
    mtime: int = 0  # time of all files in images, in seconds since 1970
    dirty: bool = False  # whether files that git does not track get into images made from checkouts


class Ingredients(Protocol):
    """What a recipe's contents refer to; each is made or fetched when it is first asked for."""

    @property
    def recipe(self) -> Recipe:
        """The recipe whose images are built."""

    @property
    def context(self) -> BuildContext:
        """Where it is built."""

    def kernel(self, name: str) -> Kernel:
        """A kernel by its role in the recipe ("seed", "second"), or by its name in the catalogue."""

    def image(self, name: str, recipe: str = "") -> Artifact:
        """An image of this recipe, or of another one."""


class Artifact(msgspec.Struct, frozen=True):
    """A built image."""

    name: str  # name of the image in its recipe
    kind: str  # "initramfs", "disk", "iso", "builder-hex0" or "dib"
    path: Path  # the file. It is shared and never written to
    size: int  # in bytes
    digest: str  # what identifies its content (`core.digest.digest_of`): its SHA-256, or one by extents
    manifest: Path  # what is in it, file by file, and where that came from; `image.manifest` has the format
    # of the whole file, in hex; "" for a file of more than 1 GiB, until `with_sha256` computes it
    sha256: str = ""

    def with_sha256(self) -> Artifact:
        """The same with the SHA-256 of the whole file, which takes a second for each 2 GiB."""
        return self if self.sha256 else msgspec.structs.replace(self, sha256=sha256_of(self.path))
