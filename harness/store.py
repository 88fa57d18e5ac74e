"""The content-addressed store: what was built once from the same inputs is not built again."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock

from harness import places
from harness.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_HINT = "choose another cache with --cache DIR or the environment variable HARNESS_CACHE"


class Store:
    """Directories below the cache, each named by the digest of all that went into it.

    Safe for any number of processes: one builds, the others wait and share. An entry appears by an
    atomic rename, so a crash leaves nothing that looks finished.

    Raises:
        ConfigError: The cache directory cannot be created or written to.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = places.writable_directory(cache, "cache", _HINT)
        self._entries = cache / "store"
        self._locks = cache / "locks"
        self._locks.mkdir(exist_ok=True)

    def get(self, kind: str, inputs: Mapping[str, object], build: Callable[[Path], None]) -> Path:
        """Return the directory for these inputs; build it first if it is not there.

        Args:
            kind: What it is ("initramfs", "deb"): a folder of the store.
            inputs: All that determines the content, as JSON values; kept beside it as `inputs.json`.
            build: Fills the empty directory that it is given.

        Raises:
            InfraError: The disk is full or fails while building.
        """
        entry = self._entry(kind, inputs)
        if entry.is_dir():
            return entry
        with self.lock(f"{kind}-{entry.name}"):
            if not entry.is_dir():
                self._build(entry, inputs, build)
        return entry

    def has(self, kind: str, inputs: Mapping[str, object]) -> bool:
        """Whether `get` would find the entry."""
        return self._entry(kind, inputs).is_dir()

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Keep other processes out of what `name` stands for; freed when the holder dies."""
        with FileLock(self._locks / f"{name}.lock"):
            yield

    def _entry(self, kind: str, inputs: Mapping[str, object]) -> Path:
        digest = hashlib.sha256(_document(inputs).encode()).hexdigest()[:32]
        return self._entries / kind / digest

    def _build(self, entry: Path, inputs: Mapping[str, object], build: Callable[[Path], None]) -> None:
        # The lock is ours, so whatever a crashed builder left here is nobody's.
        unfinished = entry.with_name(f"{entry.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir(parents=True)
            build(unfinished)
            (unfinished / "inputs.json").write_text(_document(inputs), encoding="utf-8")
            unfinished.rename(entry)
        except OSError as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                free = shutil.disk_usage(self.cache).free
                raise InfraError(
                    f"the disk of the cache {self.cache} is full ({free >> 20} MiB left)",
                    hint=f"free some space, or {_HINT}",
                ) from error
            raise
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def _document(inputs: Mapping[str, object]) -> str:
    return json.dumps(inputs, sort_keys=True, indent=1) + "\n"


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old content or the new, never half of it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(path)
