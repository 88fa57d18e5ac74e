"""The file that pycdlib writes an image to, with seeks."""

from __future__ import annotations

import hashlib
import os
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Self

from harness.core.errors import ConfigError, InfraError, explaining

if TYPE_CHECKING:
    from pathlib import Path

    from harness.formats.tree import Entry

_BUFFER = 1 << 20
_SECTOR = 2048


class Output:
    """A new file with a buffer that is written out when it is full, or when the next byte belongs elsewhere.

    Every seek costs a buffered file its buffer. For each of many thousands of files, pycdlib seeks to where
    it is already, and over the rest of the last sector.
    """

    mode = "wb"  # pycdlib asks whether it takes bytes

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=_BUFFER)
        self._at = 0
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left, and close the file."""
        self._file.close()

    def write(self, data: bytes) -> int:
        """Write, and remember where."""
        self._at += self._file.write(data)
        self._end = max(self._end, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, if that is elsewhere; a small gap at the end becomes zeros, as it would anyway."""
        if whence == os.SEEK_END:
            self._at = self._file.seek(offset, whence)
            return self._at
        goal = offset + self._at if whence == os.SEEK_CUR else offset
        gap = goal - self._at
        if self._at == self._end and 0 < gap < _SECTOR:
            self.write(bytes(gap))
        elif gap:
            self._at = self._file.seek(goal)
        return self._at

    def tell(self) -> int:
        """Where the next byte goes."""
        return self._at


class Content:
    """A file that is read from its beginning to its end, once or several times.

    Many thousands of them wait at a time, so it is small, and open from its first byte to its last only.
    """

    __slots__ = ("_entry", "_file", "_hash", "_left", "sha256", "size")

    mode = "rb"  # pycdlib asks whether it gives bytes

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._file: BinaryIO | None = None
        self._hash: hashlib._Hash | None = None
        self._left = 0
        content = entry.content
        with explaining(ConfigError, f"cannot read {content!s}, which is {entry.path} in the image"):
            self.size = len(content) if isinstance(content, bytes) else content.stat().st_size
        # In hex; known once all was read. An empty file is never read.
        self.sha256 = "" if self.size else hashlib.sha256().hexdigest()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Start again from the beginning, or skip bytes from here; pycdlib does nothing else."""
        if (offset, whence) == (0, os.SEEK_SET):
            self._begin()
        elif whence == os.SEEK_CUR:
            self.read(offset)
        else:
            raise NotImplementedError(f"seek to {offset}, {whence}")
        return self.size - self._left

    def read(self, size: int) -> bytes:
        """The next bytes."""
        if self._file is None or self._hash is None:
            return b""
        data = self._file.read(size)
        self._hash.update(data)
        self._left -= len(data)
        if self._left == 0:
            self.sha256 = self._hash.hexdigest()
            self._end()
        return data

    def check(self) -> None:
        """See to it that all was read."""
        if not self.sha256:
            self._end()
            raise InfraError(f"{self._entry.content!s} became shorter while it was read", hint="run again")

    def _begin(self) -> None:
        self._end()
        content = self._entry.content
        if isinstance(content, bytes):
            self._file = BytesIO(content)
        else:
            what = f"cannot read {content}, which is {self._entry.path} in the image"
            with explaining(ConfigError, what):
                self._file = content.open("rb", buffering=0)
        self._hash = hashlib.sha256()
        self._left = self.size

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._hash = None, None
