"""SHA-256 of files; digests of large files without their zeros."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError, explaining

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGE = 1 << 30  # bytes; to hash the zeros of a disk takes a second for each 2 GiB
EXTENTS = "extents:"
_BLOCK = 64 << 10
_READ = 64  # blocks read at once
_ZEROS = bytes(_BLOCK)


def sha256_of(path: Path) -> str:
    """SHA-256 of a whole file, in hex. Holes of a large file are hashed as zeros without reading them."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= LARGE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        found = hashlib.sha256()
        done = 0
        for start, end in [*data_ranges(file.fileno(), 0, size), (size, size)]:
            for at in range(done, start, len(_ZEROS)):
                found.update(_ZEROS[: start - at])
            for at in range(start, end, _READ * _BLOCK):
                found.update(os.pread(file.fileno(), min(_READ * _BLOCK, end - at), at))
            done = end
        return found.hexdigest()


def sha256_of_input(path: Path) -> str:
    """SHA-256 of a file that the user gave, in hex."""
    with explaining(ConfigError, f"cannot read {path}"):
        return sha256_of(path)


def digest_of(path: Path) -> str:
    """What identifies a file by its content: its SHA-256 in hex, or by extents if it is larger than 1 GiB.

    A digest by extents is `extents:` and the SHA-256, in hex, over each block of 64 KiB that is not all
    zeros, each behind its number (8 bytes, little-endian), and over the file's size (8 bytes) at the end. Its
    cost grows with the data in the file, not with its size, and it is the same for a copy without holes.
    """
    size = path.stat().st_size
    if size <= LARGE:
        return sha256_of(path)
    found = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        done = 0
        for start, end in data_ranges(file.fileno(), 0, size):
            first = max(start // _BLOCK, done)
            done = -(-end // _BLOCK)
            for number in range(first, done, _READ):
                data = os.pread(file.fileno(), min(_READ, done - number) * _BLOCK, number * _BLOCK)
                for at in range(0, len(data), _BLOCK):
                    block = data[at : at + _BLOCK]
                    if block != _ZEROS[: len(block)]:
                        found.update((number + at // _BLOCK).to_bytes(8, "little"))
                        found.update(block)
    found.update(size.to_bytes(8, "little"))
    return EXTENTS + found.hexdigest()


def data_ranges(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a range of a file that are stored (SEEK_DATA of lseek(2)): first and end."""
    while start < end:
        try:
            first = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        if first >= end:
            return
        start = min(os.lseek(descriptor, first, os.SEEK_HOLE), end)
        yield first, start
