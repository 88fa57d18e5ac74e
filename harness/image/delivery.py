"""Copies artifacts to the user's directory."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from harness.core import paths
from harness.core.digest import data_ranges, sha256_of
from harness.core.errors import DISK_FULL, ConfigError, InfraError
from harness.core.files import replaced

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.image.ingredients import Artifact

_FICLONE = 0x40049409  # ioctl_ficlone(2): share the blocks until one of the files is written to
_BLOCK = 8 << 20
_HINT = "choose another directory with -o DIR"


class Delivered(msgspec.Struct, frozen=True):
    """What was put into the user's directory for one artifact."""

    path: Path  # the artifact
    manifest: Path  # its manifest
    sbom: Path  # its bill of materials, in CycloneDX


def deliver(artifact: Artifact, directory: Path) -> Delivered:
    """Copy an artifact and its manifest into a directory, and write its bill of materials there.

    Each file appears whole or not at all, and replaces one of the same name.
    """
    from harness.image import manifest, sbom

    paths.writable_directory(directory, "output", _HINT)
    delivered = Delivered(
        directory / artifact.path.name,
        directory / f"{artifact.name}.manifest.json",
        directory / f"{artifact.name}.cdx.json",
    )
    with _written(delivered.path) as unfinished:
        copy(artifact.path, unfinished)
    said = manifest.read(artifact.manifest)
    with _written(delivered.manifest) as unfinished:
        if artifact.sha256 in {"", said.sha256}:
            copy(artifact.manifest, unfinished)
        else:  # it was asked for
            said = msgspec.structs.replace(said, sha256=artifact.sha256)
            unfinished.write_bytes(msgspec.json.encode(said))
    with _written(delivered.sbom) as unfinished:
        unfinished.write_text(sbom.document(said), encoding="utf-8")
    return delivered


def put(content: Path | bytes, path: Path, sha256: str) -> bool:
    """Put a file where the user wants it, whole or not at all; whether it was written.

    One that is there and right stays.
    """
    paths.writable_directory(path.parent, "output", _HINT)
    try:
        if sha256_of(path) == sha256:
            return False
    except OSError:
        pass  # it is written, and what is in the way is named then
    with _written(path) as unfinished:
        if isinstance(content, bytes):
            unfinished.write_bytes(content)
        else:
            copy(content, unfinished)
    return True


def copy(source: Path, target: Path) -> None:
    """Copy a file's content: shared with the source where the filesystem can, with its holes elsewhere."""
    with source.open("rb") as origin, target.open("wb") as copied:
        try:
            fcntl.ioctl(copied.fileno(), _FICLONE, origin.fileno())
        except OSError:
            size = os.fstat(origin.fileno()).st_size
            for start, end in data_ranges(origin.fileno(), 0, size):
                _copy_range(origin.fileno(), copied.fileno(), start, end)
            copied.truncate(size)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    os.lseek(target, start, os.SEEK_SET)
    while start < end:
        data = os.pread(source, min(_BLOCK, end - start), start)
        if not data:
            raise InfraError("a file of the cache became shorter while it was copied", hint="run again")
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
        start += len(data)


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """A file to write, which replaces `path` when it is whole; errors name the user's options."""
    try:
        with replaced(path) as unfinished:
            yield unfinished
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        if error.errno in {*DISK_FULL, errno.EIO}:
            raise InfraError(message, hint=f"free some space, or {_HINT}") from error
        raise ConfigError(message, hint=_HINT) from error
