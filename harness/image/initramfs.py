"""Builds initramfs images: cpio archives, compressed or behind others."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, BinaryIO

from harness.core.errors import InfraError, explaining
from harness.core.files import replaced
from harness.formats import compression as streams
from harness.formats import cpio

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from harness.formats.tree import Entry, Written


def write(
    entries: Iterable[Entry],
    path: Path,
    *,
    compression: str = "none",
    behind: Sequence[Path] = (),
    mtime: int = 0,
) -> list[Written]:
    """Write an initramfs image, and return what became of `entries`; when that fails, nothing is left of it.

    The compression is "none", or one of `compression.MAGICS`; archives `behind` stand in front, as they are.
    `mtime` is the time of what is in it, in seconds since 1970.
    """
    explained = explaining(InfraError, f"cannot write {path}", "make room, and build again")
    with explained, replaced(path) as unfinished, unfinished.open("wb") as file:
        for archive in behind:
            _copy(archive, file)
        with streams.writer(file, compression) as stream:
            return cpio.write(entries, stream, mtime=mtime)


def _copy(archive: Path, file: BinaryIO) -> None:
    """Copy an archive, and end it as the kernel needs it.

    What follows a plain archive starts at a multiple of 4 bytes, and an lz4 stream ends with 4 zeros where
    the size of a further block would stand.
    """
    with archive.open("rb") as source:
        shutil.copyfileobj(source, file, 1 << 20)
    file.write(bytes(4 + -file.tell() % 4))
