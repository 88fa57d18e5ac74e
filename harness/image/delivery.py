"""Copies of artifacts where the user wants them, to do with as they please."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from harness.core import paths
from harness.core.errors import DISK_FULL, ConfigError, InfraError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.image.artifact import Artifact

_FICLONE = 0x40049409  # ioctl_ficlone(2): share the blocks until one of the files is written to
_BLOCK = 8 << 20
_HINT = "choose another directory with -o DIR"


class Delivered(msgspec.Struct, frozen=True):
    """What was put into the user's directory for one artifact.

    Attributes:
        path: The artifact.
        manifest: Its manifest.
        sbom: Its bill of materials, in CycloneDX.
    """

    path: Path
    manifest: Path
    sbom: Path


def deliver(artifact: Artifact, directory: Path) -> Delivered:
    """Copy an artifact and its manifest into a directory, and write its bill of materials there.

    Each file appears whole or not at all, and replaces one of the same name.

    Raises:
        ConfigError: The directory cannot be made or written to.
        InfraError: Its disk is full or fails.
    """
    from harness.image import manifest, sbom

    paths.writable_directory(directory, "output", _HINT)
    delivered = Delivered(
        directory / artifact.path.name,
        directory / f"{artifact.name}.manifest.json",
        directory / f"{artifact.name}.cdx.json",
    )
    with _replaced(delivered.path) as unfinished:
        copy(artifact.path, unfinished)
    with _replaced(delivered.manifest) as unfinished:
        copy(artifact.manifest, unfinished)
    with _replaced(delivered.sbom) as unfinished:
        unfinished.write_text(sbom.document(manifest.read(artifact.manifest)), encoding="utf-8")
    return delivered


def put(content: Path | bytes, path: Path, sha256: str) -> bool:
    """Put a file where the user wants it, whole or not at all; one that is there and right stays.

    Args:
        content: The file, or its bytes.
        path: Where it goes.
        sha256: Of its content, in hex.

    Returns:
        Whether it was written.

    Raises:
        ConfigError: The directory cannot be made or written to.
        InfraError: Its disk is full or fails.
    """
    paths.writable_directory(path.parent, "output", _HINT)
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                return False
    except OSError:
        pass  # it is written, and what is in the way is named then
    with _replaced(path) as unfinished:
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
            for start, end in _data(origin.fileno(), size):
                _copy_range(origin.fileno(), copied.fileno(), start, end)
            copied.truncate(size)


def _data(file: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that are no holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, end


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
def _replaced(path: Path) -> Iterator[Path]:
    """A file to write, that takes the place of `path` when it is whole."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        message = f"cannot write {path}: {error.strerror}"
        if error.errno in {*DISK_FULL, errno.EIO}:
            raise InfraError(
                message, hint="free some space, or choose another directory with -o DIR"
            ) from error
        raise ConfigError(message, hint="choose another directory with -o DIR") from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
