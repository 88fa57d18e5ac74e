"""The file that pycdlib writes an image to, with seeks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
