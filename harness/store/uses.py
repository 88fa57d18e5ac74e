"""Entries of a store that running processes use.

They are not removed. A process keeps a file with the names of the entries that it was given, locked for as
long as it lives: with its end the lock is free, however it ends.
"""

from __future__ import annotations

import atexit
import fcntl
import os
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from harness.store.locks import held_if_free

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_watching: list[set[str]] = []  # sets that collect the names of entries in use


class Uses:
    """The entries that this process uses."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._path = directory / f"{os.getpid()}-{os.urandom(4).hex()}"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._noted: set[str] = set()
        atexit.register(self._forget, os.getpid())

    def note(self, name: str) -> None:
        """Remember that an entry is used until this process ends."""
        for names in _watching:
            names.add(name)
        if name not in self._noted:
            os.write(self._file, f"{name}\n".encode())
            self._noted.add(name)

    def _forget(self, owner: int) -> None:
        if os.getpid() == owner:  # a forked process ends without taking our uses along
            self._path.unlink(missing_ok=True)


@contextmanager
def watched() -> Iterator[set[str]]:
    """The names of all entries that this process is given meanwhile, such as "initramfs/0a1b…"."""
    names: set[str] = set()
    _watching.append(names)
    try:
        yield names
    finally:
        _watching.remove(names)


@cache
def uses_of(directory: Path, _process: int) -> Uses:
    """The one file of a process: what it was given stays in use when the store object is gone."""
    return Uses(directory)


def names_in_use(directory: Path) -> set[str]:
    """Entries that any living process uses; files that dead ones left are removed."""
    names: set[str] = set()
    for file in directory.iterdir() if directory.is_dir() else ():
        with held_if_free(file) as abandoned:
            if abandoned:
                file.unlink(missing_ok=True)
            else:
                names |= set(file.read_text(encoding="utf-8").splitlines())
    return names
