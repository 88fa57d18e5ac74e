"""What the contents of a recipe can refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from harness.core.progress import Progress
    from harness.image.artifact import Artifact
    from harness.kernel.catalogue import Kernel
    from harness.recipe import Recipe
    from harness.sources.debian import DebianSource
    from harness.sources.downloads import Downloads
    from harness.store import Store


class Workshop(msgspec.Struct, frozen=True):
    """Where images are made and what from.

    Attributes:
        store: Where artifacts are kept.
        debian: Where packages and catalogue kernels come from.
        downloads: Where files by address come from.
        progress: Where the work is shown.
        mtime: Time of all files in images, in seconds since 1970.
        dirty: Whether files that git does not track get into images made from checkouts.
    """

    store: Store
    debian: DebianSource
    downloads: Downloads
    progress: Progress
    mtime: int = 0
    dirty: bool = False


class Ingredients(Protocol):
    """What a recipe's contents refer to; each is made or fetched when it is first asked for."""

    @property
    def recipe(self) -> Recipe:
        """The recipe whose images are built."""

    @property
    def workshop(self) -> Workshop:
        """Where it is built."""

    def kernel(self, name: str) -> Kernel:
        """A kernel by its role in the recipe ("seed", "second"), or by its name in the catalogue."""

    def image(self, name: str, recipe: str = "") -> Artifact:
        """An image of this recipe, or of another one."""
