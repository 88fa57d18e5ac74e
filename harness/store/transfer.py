"""Copies entries of a store to another one through a shared directory.

An archive there has an entry with its seal, which was made when it was built, and proves the content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core import programs
from harness.core.errors import InfraError, explaining
from harness.core.files import replaced

if TYPE_CHECKING:
    from pathlib import Path

    from harness.store import Store


def pack(store: Store, name: str, directory: Path) -> None:
    """Leave an entry in the directory, unless it lies there."""
    entry, archive = store.entries / name, _archive(directory, name)
    if not store.holds(name):
        raise InfraError(f"{entry} vanished from the store while it was used", hint="run again")
    if archive.exists():
        return
    names = sorted(path.name for path in entry.iterdir())
    with replaced(archive) as unfinished:
        # Unlike Python's tarfile, it leaves out holes, of which a disk of many GiB mostly consists.
        command = ["tar", "--create", "--sparse", "--format=pax", f"--file={unfinished}"]
        programs.output([*command, f"--directory={entry}", "--", *names], package="tar")


def accept(store: Store, name: str, directory: Path) -> None:
    """Take an entry into the store that was left in the directory, unless the store has it."""
    archive = _archive(directory, name)

    def unpack(place: Path) -> None:
        # Modes, times and links have to be those that were sealed, and the owner is who runs us.
        options = ["--extract", "--preserve-permissions", "--no-same-owner", f"--file={archive}"]
        done = programs.call(["tar", *options, f"--directory={place}"], package="tar")
        reason = done.stderr.partition("\n")[0]
        if done.returncode != 0:
            raise InfraError(f"cannot take {archive} into the cache {store.cache}: {reason}")

    if not store.holds(name):
        with explaining(InfraError, f"cannot take {archive} into the cache {store.cache}"):
            store.adopt(name, unpack)


def _archive(directory: Path, name: str) -> Path:
    return directory / f"{name.replace('/', '-')}.tar"
