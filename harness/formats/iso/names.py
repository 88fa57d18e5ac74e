"""Plain ISO 9660 names: eight letters, a dot, three letters, unique."""

from __future__ import annotations

import os
import re
from collections import Counter

from harness.core.errors import ConfigError

_NAME, _EXTENSION = 8, 3


class IsoNames:
    """The ISO 9660 paths of a tree, whose real names are in the Rock Ridge extensions."""

    def __init__(self) -> None:
        self._paths = {"": ""}
        self._taken: set[str] = set()
        self._numbers: Counter[str] = Counter()

    def add(self, path: str, *, directory: bool) -> str:
        """Give a path its place; parents come first, and the same order gives the same names.

        Args:
            path: Where it is in the tree, such as "boot/vmlinuz-6.1.0".
            directory: Whether it is a directory, which has no extension and no version.

        Returns:
            Its absolute path, such as "/BOOT/VMLINUZ.0;1".
        """
        parent, _, name = path.rpartition("/")
        above = self._paths[parent]
        stem, dot, extension = _letters(name).rpartition(".")
        if not dot or directory:
            stem, extension = _letters(name), ""
        stem, extension = stem.replace(".", "_") or "_", extension[:_EXTENSION]
        candidate = self._join(above, stem[:_NAME], extension, directory=directory)
        while candidate in self._taken:
            self._numbers[candidate_key := f"{above}/{stem[:2]}.{extension}"] += 1
            number = str(self._numbers[candidate_key])
            if len(number) > _NAME - 2:
                raise ConfigError(f"the directory {parent} has more files than an ISO image can name")
            candidate = self._join(
                above, stem[: _NAME - len(number)] + number, extension, directory=directory
            )
        self._taken.add(candidate)
        self._paths[path] = candidate
        return candidate

    def of(self, path: str) -> str:
        """The place of a path that was added."""
        return self._paths[path]

    def _join(self, above: str, stem: str, extension: str, *, directory: bool) -> str:
        return f"{above}/{stem}" if directory else f"{above}/{stem}.{extension};1"


def _letters(name: str) -> str:
    """The name in the letters that ISO 9660 allows, and dots."""
    return re.sub(r"[^A-Z0-9_.]", "_", os.fsencode(name).decode("latin-1").upper())
