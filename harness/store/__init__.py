"""The content-addressed store: each input is built once."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core import paths
from harness.core.errors import DISK_FULL, InfraError
from harness.core.files import remove
from harness.store import locks, seal
from harness.store.seal import SealedFile
from harness.store.uses import uses_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["SealedFile", "Store"]

UNFINISHED = ".unfinished"
_HINT = "choose another cache with --cache DIR or the environment variable HARNESS_CACHE"
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO}
_FULL = 64 << 10  # bytes: with less than this left, a program that failed has met a full disk
_NAMED = 3  # files in a message
_USE_IS_NEWS = 60.0  # seconds after which another use of an entry is written down


class Store:
    """Directories below the cache, each named by the digest of all that went into it.

    Safe for any number of processes: one builds, the others wait and share. An entry appears by an
    atomic rename, so a crash leaves nothing that looks finished, and what it leaves is removed by the next
    process that builds something of the kind. An entry that was damaged is built anew.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = paths.writable_directory(cache, "cache", _HINT)
        self.entries = cache / "store"
        self.locks = cache / "locks"
        self.uses = cache / "uses"
        with self._explained():
            self.locks.mkdir(exist_ok=True)

    def get(
        self,
        kind: str,
        inputs: Mapping[str, object],
        build: Callable[[Path], Mapping[str, str] | None],
    ) -> Path:
        """Return the directory for these inputs; build it first if it is not there, or not as it was built.

        It stays there for as long as this process lives.

        Args:
            kind: What it is ("initramfs", "deb"): a folder of the store.
            inputs: All that determines the content, as JSON values; kept beside it as `inputs.json`.
            build: Fills the empty directory that it is given. May return the SHA-256 of files directly in
                it, by name, so that they are not read again.
        """
        entry = self.place(kind, inputs)
        with self._explained():
            if not self._take(entry):
                with self.lock(f"{kind}-{entry.name}"):
                    if not self._take(entry):
                        self._build(entry, inputs, build)
        return entry

    def has(self, kind: str, inputs: Mapping[str, object]) -> bool:
        """Whether `get` would find the entry; if so, it stays there for as long as this process lives."""
        return self._take(self.place(kind, inputs))

    def holds(self, name: str) -> bool:
        """The same for an entry by its name, such as "initramfs/0a1b…"."""
        return self._take(self.entries / name)

    def adopt(self, name: str, fill: Callable[[Path], None]) -> None:
        """Take an entry as another store has it, unless it is there by now.

        Args:
            name: Of the entry, such as "initramfs/0a1b…".
            fill: Fills the empty directory that it is given, with the entry's seal.
        """
        entry = self.entries / name
        kind, _, digest = name.partition("/")

        def checked(directory: Path) -> None:
            fill(directory)
            if problems := seal.damage(directory):
                message = f"{name} came damaged from another store: {'; '.join(problems[:_NAMED])}"
                raise InfraError(message, hint="look at it there with `harness store verify`")

        with self._explained(), self.lock(f"{kind}-{digest}"):
            if not self._take(entry):
                self._fill(entry, checked)

    def place(self, kind: str, inputs: Mapping[str, object]) -> Path:
        """The directory that `get` would return, whether or not it is there."""
        digest = hashlib.sha256(_document(inputs).encode()).hexdigest()[:32]
        return self.entries / kind / digest

    def file(self, entry: Path, name: str) -> SealedFile:
        """Size and hash of a file directly in an entry, as they were recorded when it was built."""
        sealed = seal.read(entry)
        if sealed is None:
            raise InfraError(f"{entry} vanished from the store while it was used", hint="run again")
        return sealed.files[name]

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Keep other processes out of what `name` stands for; freed when the holder dies."""
        with locks.held(self.locks / f"{name}.lock"):
            yield

    @contextmanager
    def tidying(self, *, alone: bool) -> Iterator[None]:
        """Keep entries from being removed between a look at them and the note that they are used."""
        with locks.held(self.locks / "tidy.lock", shared=not alone):
            yield

    def _take(self, entry: Path) -> bool:
        """Note that the entry is used, and tell whether it is whole."""
        with self.tidying(alone=False):
            uses_of(self.uses, os.getpid()).note(f"{entry.parent.name}/{entry.name}")
            if not seal.is_whole(entry):
                return False
            last = (entry / seal.SEAL).stat().st_mtime
            if not 0 <= time.time() - last < _USE_IS_NEWS:
                os.utime(entry / seal.SEAL)  # the time of the last use, for `upkeep`
            return True

    def _build(
        self, entry: Path, inputs: Mapping[str, object], build: Callable[[Path], Mapping[str, str] | None]
    ) -> None:
        def fill(directory: Path) -> None:
            known = build(directory) or {}
            (directory / "inputs.json").write_text(_document(inputs), encoding="utf-8")
            seal.seal(directory, known)

        self._fill(entry, fill)

    def _fill(self, entry: Path, fill: Callable[[Path], None]) -> None:
        # The entry's lock is ours, so what lies here is a crashed builder's, or damaged.
        self._sweep(entry.parent)
        unfinished = entry.with_name(f"{entry.name}{UNFINISHED}")
        if entry.exists():
            remove(entry)
        remove(unfinished)
        try:
            with self._explained():  # while the disk is as full as it was
                unfinished.mkdir(parents=True)
                fill(unfinished)
                unfinished.rename(entry)
        except BaseException:
            remove(unfinished)
            raise

    def _sweep(self, kind: Path) -> None:
        """Remove what builders of this kind left that were killed."""
        for left in kind.glob(f"*{UNFINISHED}"):
            name = f"{kind.name}-{left.name.removesuffix(UNFINISHED)}.lock"
            with locks.held_if_free(self.locks / name) as free:
                if free:
                    remove(left)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what is wrong with the cache, when it is the cache."""
        try:
            yield
        except OSError as error:
            if error.errno in DISK_FULL:
                raise self._full() from error
            if error.errno in _REFUSED and Path(os.fsdecode(error.filename or "")).is_relative_to(self.cache):
                message = f"cannot use the cache: {error.filename}: {error.strerror}"
                raise InfraError(message, hint=_HINT) from error
            raise
        except InfraError as error:
            if shutil.disk_usage(self.cache).free < _FULL:  # a program said it in its own words
                raise self._full() from error
            raise

    def _full(self) -> InfraError:
        free = shutil.disk_usage(self.cache).free
        message = f"the disk of the cache {self.cache} is full ({free >> 20} MiB left)"
        return InfraError(message, hint=f"`harness store gc` removes what is not needed any more; or {_HINT}")


def _document(inputs: Mapping[str, object]) -> str:
    return json.dumps(inputs, sort_keys=True, indent=1) + "\n"
