"""The distfiles of a tree: needed, at hand, fetched."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import msgspec

from harness.core.digest import sha256_of_input
from harness.core.errors import ConfigError, HarnessError, InfraError
from harness.core.files import replaced
from harness.payload import source_lists

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.payload.source_lists import Distfile
    from harness.payload.tree import SourceTree
    from harness.sources.downloads import Downloads

_SHOWN = 5  # of files that cannot be had, in the sentence; the list has them all


class Found(msgspec.Struct, frozen=True):
    """A distfile and where it is."""

    distfile: Distfile  # which
    place: Path | None  # the file in the store, whose content has been checked; None if it is not at hand
    problem: str = ""  # why it cannot be had, once that was tried


class Wrong(msgspec.Struct, frozen=True):
    """A file in a directory of distfiles that is not what its name says."""

    path: Path
    sha256: str
    wanted: str


def needed(tree: SourceTree, groups: Sequence[str] = ()) -> tuple[Distfile, ...]:
    """All that a tree needs, in the order of its era's lists; a file of several stages once for each."""
    known = [wanted.name for wanted in tree.era.distfiles]
    for group in groups:
        if group not in known:
            hint = f"it has: {', '.join(known) or 'none'}"
            raise ConfigError(f"{tree.era.name} has no distfiles {group!r}", hint=hint)
    return tuple(
        distfile
        for wanted in tree.era.distfiles
        if not groups or wanted.name in groups
        for distfile in source_lists.read(tree.path, wanted)
    )


def status(distfiles: Sequence[Distfile], downloads: Downloads) -> tuple[Found, ...]:
    """What is at hand; nothing is fetched."""
    return tuple(Found(distfile, downloads.at_hand(distfile.sha256)) for distfile in distfiles)


def directories(tree: SourceTree) -> tuple[Path, ...]:
    """Where the tree's own scripts keep distfiles, as far as they are there."""
    named = dict.fromkeys(tree.path / wanted.directory for wanted in tree.era.distfiles)
    return tuple(path for path in named if path.is_dir())


def addresses(distfile: Distfile, places: Sequence[str]) -> tuple[str, ...]:
    """Where a distfile may be, nearest first: directories, mirrors in their order, and its own addresses.

    `places`, directories and mirrors, have all files side by side under their names.
    """
    near = []
    far = []
    for place in places:
        parts = urlsplit(place)
        if parts.scheme in {"http", "https"}:
            far.append(f"{place.rstrip('/')}/{quote(distfile.name)}")
            continue
        directory = Path(parts.path if parts.scheme == "file" else place)
        if (directory / distfile.name).is_file():
            near.append(str((directory / distfile.name).absolute()))
    return (*near, *far, *distfile.urls)


def check_places(places: Sequence[str]) -> None:
    """Find out whether directories and mirrors could be any."""
    for place in places:
        parts = urlsplit(place)
        if parts.scheme in {"http", "https"} and parts.hostname:
            continue
        directory = Path(parts.path if parts.scheme == "file" else place)
        if parts.scheme not in {"", "file"} or not directory.is_dir():
            raise ConfigError(
                f"the mirror {place} is no directory and no address",
                hint="give http://…, https://…, file:///… or a directory, with all files side by side",
            )


def fetch(
    distfiles: Sequence[Distfile], downloads: Downloads, places: Sequence[str], *, jobs: int = 4
) -> tuple[Found, ...]:
    """Get what is not at hand, several at a time; what cannot be had does not stop the others."""
    once = tuple({distfile.sha256: distfile for distfile in distfiles}.values())

    def get(distfile: Distfile) -> tuple[Path | None, str]:
        if (there := downloads.at_hand(distfile.sha256)) is not None:
            return there, ""
        candidates = addresses(distfile, places)
        if not candidates:
            return None, "it has no address, only mirrors have it"
        try:
            return downloads.get_from(candidates, distfile.sha256), ""
        except (ConfigError, InfraError) as error:
            return None, error.message

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            came = dict(zip((one.sha256 for one in once), pool.map(get, once), strict=True))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return tuple(Found(distfile, *came[distfile.sha256]) for distfile in distfiles)


def obtain(
    tree: SourceTree, needed: Sequence[Distfile], downloads: Downloads, *, incomplete: bool = False
) -> Sequence[Found]:
    """What a tree's distfiles are: at hand, in the tree, or fetched."""
    near = [str(place) for place in directories(tree)]
    if incomplete:  # only what is near
        needed = [msgspec.structs.replace(distfile, urls=()) for distfile in needed]
    return fetch(needed, downloads, near)


def verify(distfiles: Sequence[Distfile], places: Sequence[Path], downloads: Downloads) -> Iterator[Wrong]:
    """Read every file again, in the store and in directories; yields those that are others."""
    seen: set[str] = set()
    for distfile in distfiles:
        kept = downloads.at_hand(distfile.sha256)
        candidates = [place / distfile.name for place in places]
        if kept is not None and distfile.sha256 not in seen:
            candidates.append(kept)
        seen.add(distfile.sha256)
        for path in candidates:
            if path.is_file() and (sha256 := sha256_of_input(path)) != distfile.sha256:
                yield Wrong(path, sha256, distfile.sha256)


def missing(found: Sequence[Found]) -> tuple[Found, ...]:
    """What is not at hand, each file once."""
    return tuple({one.distfile.sha256: one for one in found if one.place is None}.values())


def lacking(tree: SourceTree, found: Sequence[Found]) -> HarnessError:
    """The error that sums up what is not at hand."""
    gone = missing(found)
    names = ", ".join(one.distfile.name for one in gone[:_SHOWN])
    more = f" and {len(gone) - _SHOWN} more" if len(gone) > _SHOWN else ""
    what = "distfile is" if len(gone) == 1 else "distfiles are"
    return ConfigError(
        f"{len(gone)} {what} missing for {tree.path}: {names}{more}",
        hint=f"harness distfiles --tree {tree.path} fetch; --incomplete boots without them",
    )


def deliver(found: Sequence[Found], directory: Path) -> int:
    """Lay what is at hand side by side under its names, as mirrors have it; the number of files."""
    count = 0
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for one in found:
            target = directory / one.distfile.name
            if one.place is None or (target.is_file() and sha256_of_input(target) == one.distfile.sha256):
                continue
            with replaced(target) as unfinished:
                shutil.copyfile(one.place, unfinished)
            count += 1
    except OSError as error:
        raise InfraError(f"cannot write {error.filename or directory}: {error.strerror}") from error
    return count
