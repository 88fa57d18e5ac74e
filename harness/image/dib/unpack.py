"""A root that diskimage-builder made, as part of another image."""

from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING

import msgspec

from harness.formats.names import matches
from harness.formats.tar_reader import KINDS, open_tar
from harness.formats.tree import Entry
from harness.image.dib import root as dib_root

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator
    from pathlib import Path

    from harness.image.artifact import Artifact
    from harness.recipe import Unpacked
    from harness.store import Store


def entries(artifact: Artifact, content: Unpacked, store: Store) -> Iterator[Entry]:
    """What is in a root, for another image.

    Args:
        artifact: The root's archive, as `dib.write` made it.
        content: Where it goes, and what is left out.
        store: Where its files are unpacked, once.
    """
    prefix = f"{content.path}/" if content.path else ""
    numbers: dict[str, int] = {}  # files by path; a hard link has the number of its file
    placed: dict[int, str] = {}  # where a file went first
    with open_tar(artifact.path) as tar:
        files = store.get("unpacked", {"tar": artifact.digest}, lambda place: _unpack(tar, place)) / "files"
        owner = dib_root.owners(tar)
        for info in tar:
            if info.isreg():
                numbers[info.name] = len(numbers)
            elif info.islnk():
                numbers[info.name] = numbers[info.linkname]
            if content.drop and matches(info.name, content.drop):
                continue
            entry = Entry(
                prefix + info.name,
                KINDS.get(info.type, stat.S_IFREG) | info.mode,
                target=info.linkname if info.issym() else "",
                device=(info.devmajor, info.devminor) if info.isdev() else (0, 0),
                uid=info.uid,
                gid=info.gid,
                source=owner.get(info.name, dib_root.MADE_HERE),
            )
            if entry.is_file:
                number = numbers[info.name]
                if number in placed:
                    entry = msgspec.structs.replace(entry, link=placed[number])
                else:
                    placed[number] = entry.path
                    entry = msgspec.structs.replace(entry, content=files / str(number))
            yield entry


def _unpack(tar: tarfile.TarFile, directory: Path) -> None:
    """Write the archive's files under plain numbers: its names mean nothing on this host."""
    (directory / "files").mkdir()
    for number, info in enumerate(info for info in tar if info.isreg() or info.islnk()):
        if info.isreg():
            with dib_root.content(tar, info) as source, (directory / f"files/{number}").open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
