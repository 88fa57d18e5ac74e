"""Builds the images of a recipe with the user's options."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.image.factory import Build, Factory
from harness.image.ingredients import BuildContext
from harness.sources.debian import DebianSource
from harness.sources.downloads import Downloads
from harness.sources.packages import read_lock
from harness.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from harness.core.progress import Progress
    from harness.recipe import Recipe


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How images are built."""

    cache: Path  # the cache directory
    kernel: str | None = None  # seed kernel, by name or path, instead of the recipe's
    second: str | None = None  # kernel behind kexec, likewise
    lock: Path | None = None  # lock file to repeat
    mirror: str | None = None  # Debian archive to use instead of the machine's own
    refresh: bool = False  # whether to fetch the newest indexes first
    only: str | None = None  # kind of image to build, instead of all
    names: tuple[str, ...] = ()  # images to build, instead of all; what they need comes along
    dirty: bool = False  # whether files that git does not track get into images made from checkouts
    kernels: bool = True  # whether kernels are wanted that only boot the images


def build(recipe: Recipe, options: BuildOptions, progress: Progress) -> Build:
    """Build all that a run of the recipe boots, or find it in the store."""
    factory = Factory(recipe, build_context(options, progress), options.kernel, options.second)
    return factory.build(options.only, options.names, wants_kernels=options.kernels)


def build_context(options: BuildOptions, progress: Progress) -> BuildContext:
    """Where images are made, and what from."""
    store = Store(options.cache)
    debian = DebianSource(
        store,
        progress,
        mirror=options.mirror,
        lock=read_lock(options.lock) if options.lock else None,
        refresh=options.refresh,
    )
    downloads = Downloads(store, progress)
    return BuildContext(store, debian, downloads, progress, dirty=options.dirty, mtime=_source_date())


def _source_date() -> int:
    """The time that all files in images have (https://reproducible-builds.org/specs/source-date-epoch/)."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not text.isdecimal() or int(text) >= 1 << 32:
        raise ConfigError(
            f"the environment variable SOURCE_DATE_EPOCH is {text!r}, and no number of seconds since 1970",
            hint="unset it, or set it to such as `git log -1 --format=%ct` prints",
        )
    return int(text)
