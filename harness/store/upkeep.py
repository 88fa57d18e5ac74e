"""Lists, verifies and removes entries of a store."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from harness.core.files import remove
from harness.store import UNFINISHED, Store, seal
from harness.store.locks import held_if_free
from harness.store.uses import names_in_use

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from harness.core.progress import Progress


class Stored(msgspec.Struct, frozen=True):
    """One entry of a store."""

    kind: str  # what it is, such as "initramfs", "deb" or "resolution"
    name: str  # what it is of, in words: an image's name, a package's file name
    size: int  # bytes of disk space that it takes
    built: float  # when it was built, in seconds since 1970
    used: float  # when it was used last, in seconds since 1970
    in_use: bool  # whether a running process uses it
    path: Path  # the directory


class Damaged(msgspec.Struct, frozen=True):
    """An entry that is not as it was built."""

    entry: Stored  # which
    problems: tuple[str, ...]  # what is wrong with which of its files, in words


class Tidied(msgspec.Struct, frozen=True):
    """What was removed."""

    entries: tuple[Stored, ...]  # entries, the least recently used first
    leftovers: tuple[Path, ...]  # what crashed processes left, and caches of apt


def contents(store: Store) -> list[Stored]:
    """All entries, the least recently used first."""
    in_use = names_in_use(store.uses)
    found = (
        _stored(path, in_use) for path in store.entries.glob("*/*") if not path.name.endswith(UNFINISHED)
    )
    return sorted((entry for entry in found if entry), key=lambda entry: entry.used)


def tidy(
    store: Store, *, older_than: float | None, keep: int | None, everything: bool, dry_run: bool
) -> Tidied:
    """Remove entries that no running process uses, the least recently used first, and what crashes left.

    Args:
        store: The store.
        older_than: Remove what was not used for so many seconds.
        keep: Remove until no more than so many bytes are left.
        everything: Remove all entries and apt's indexes.
        dry_run: Only say what would be removed.
    """
    entries = contents(store)
    left = sum(entry.size for entry in entries)
    chosen = []
    for entry in entries:
        old = older_than is not None and time.time() - entry.used >= older_than
        too_much = keep is not None and left > keep
        if not entry.in_use and (everything or old or too_much):
            chosen.append(entry)
            left -= entry.size
    leftovers = list(_leftovers(store, everything=everything))
    if dry_run:
        return Tidied(tuple(chosen), tuple(path for path, _ in leftovers))
    gone = _remove_entries(store, chosen)
    cleared = [path for path, lock in leftovers if _remove_leftover(path, lock)]
    for lock in store.locks.glob("*.lock"):
        with held_if_free(lock) as free:
            if free:  # a process that waits for it notices, and takes a new one
                lock.unlink()
    return Tidied(tuple(gone), tuple(cleared))


def verify(store: Store, progress: Progress) -> list[Damaged]:
    """Read every entry, and remove those that are not as they were built: they are rebuilt when next used."""
    entries = contents(store)
    total = sum(entry.size for entry in entries) or 1
    damaged, done = [], 0
    with progress.task("reading the store") as task:
        for entry in entries:
            if problems := seal.damage(entry.path):
                damaged.append(Damaged(entry, tuple(problems)))
            done += entry.size
            task.update(done / total)
    _remove_entries(store, [found.entry for found in damaged], although_used=True)
    return damaged


def remove_entries(store: Store, paths: Iterable[Path]) -> list[Path]:
    """Remove entries that no running process uses, and say which are gone."""
    wanted = set(paths)
    chosen = (entry for entry in contents(store) if entry.path in wanted)
    return [entry.path for entry in _remove_entries(store, chosen)]


def _stored(path: Path, in_use: set[str]) -> Stored | None:
    try:
        used = (path / seal.SEAL).stat().st_mtime
    except FileNotFoundError:  # built before there were seals, or damaged
        try:
            used = path.stat().st_mtime
        except FileNotFoundError:  # just removed by another process
            return None
    sealed = seal.read(path)
    return Stored(
        kind=path.parent.name,
        name=_name(path),
        size=sealed.space if sealed else sum(place.lstat().st_blocks * 512 for place in path.rglob("*")),
        built=sealed.built if sealed else used,
        used=used,
        in_use=f"{path.parent.name}/{path.name}" in in_use,
        path=path,
    )


def _name(entry: Path) -> str:
    """What an entry is of, from its inputs."""
    try:
        inputs = json.loads((entry / "inputs.json").read_bytes())
    except (OSError, ValueError):
        return entry.name
    match inputs:
        case {"image": {"name": str(name)}} | {"package": str(name)} | {"url": str(name)}:
            return name
        case {"recipe": str(recipe), "stage": str(stage)}:
            return f"{recipe} at {stage}"
        case {"suite": suite, "architecture": architecture, "request": list(request)}:
            return f"{suite}/{architecture}: {' '.join(map(str, request))}"
    return entry.name


def _remove_entries(store: Store, entries: Iterable[Stored], *, although_used: bool = False) -> list[Stored]:
    """Remove entries, unless a process began to use them meanwhile, and say which are gone."""
    trash = store.cache / "trash"
    trash.mkdir(exist_ok=True)
    gone = []
    with store.tidying(alone=True):
        in_use = set() if although_used else names_in_use(store.uses)
        for entry in entries:
            used = f"{entry.kind}/{entry.path.name}" in in_use
            with held_if_free(store.locks / f"{entry.kind}-{entry.path.name}.lock") as free:
                if free and not used and entry.path.exists():
                    entry.path.rename(trash / os.urandom(8).hex())
                    gone.append(entry)
    remove(trash)
    return gone


def _leftovers(store: Store, *, everything: bool) -> Iterator[tuple[Path, list[Path]]]:
    """What is not needed, each with the locks that tell whether a process uses it."""
    for path in store.entries.glob(f"*/*{UNFINISHED}"):
        name = path.name.removesuffix(UNFINISHED)
        yield path, [store.locks / f"{path.parent.name}-{name}.lock"]
    for root in (store.cache / "apt").glob("*"):
        locks = [lock for lock in store.locks.glob("apt-*.lock") if f"apt-{root.name}".startswith(lock.stem)]
        if everything:
            yield root, locks
        else:
            yield from ((archive, locks) for archive in (root / "archives").glob("**/*.deb"))


def _remove_leftover(path: Path, locks: list[Path]) -> bool:
    with ExitStack() as held:
        if not all(held.enter_context(held_if_free(lock)) for lock in locks):
            return False
        if path.is_dir():
            remove(path)
        else:
            path.unlink(missing_ok=True)
    return True
