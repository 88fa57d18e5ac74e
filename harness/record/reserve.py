"""Reserves disk space so that a record can be finished."""

from __future__ import annotations

import os
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO

from harness.core.errors import DISK_FULL, InfraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SIZE = 256 << 10  # bytes; run.json has some 10 KB, and is written anew before the old one goes


class Reserve:
    """Keeps some of a disk free for what is written in the end.

    When the disk is full the first writer is told, and what others write after that is left out until `give`:
    the console is still recorded then, and would take all the room that there is.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: BinaryIO | None = None
        self._full = False

    def take(self) -> None:
        """Keep the room; as a file without a name, which a killed process does not leave behind."""
        self.write(self._take)

    def _take(self) -> None:
        self._kept = TemporaryFile(dir=self._directory)  # noqa: SIM115 - open until `give`
        os.posix_fallocate(self._kept.fileno(), 0, _SIZE)

    def give(self) -> None:
        """Let the room be written to."""
        if self._kept is not None:
            self._kept.close()
        self._kept, self._full = None, False

    def write(self, action: Callable[[], object]) -> None:
        """Do what writes to the record, unless the disk has been full."""
        if self._full:
            return
        try:
            action()
        except OSError as error:
            self._full = error.errno in DISK_FULL
            raise InfraError(
                f"cannot write the run record {self._directory}: {error.strerror}",
                hint="free some space, or choose another directory with --runs DIR",
            ) from error
