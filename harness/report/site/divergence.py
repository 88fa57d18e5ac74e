"""Compares products over many runs, and finds where they diverge."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.payload.packages import Packages
from harness.stages import products

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.record.console_log import TimedLine
    from harness.record.reading import Reading

_NAMES = 500  # differing files that are looked for on the console
_LONG = 400  # letters of a line
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class FileRow(msgspec.Struct, frozen=True):
    """A file over all runs: a letter for each, A for the most common bits, "" where it is missing."""

    name: str
    versions: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether all runs have it, with the same bits."""
        return len(set(self.versions)) == 1


class Step(msgspec.Struct, frozen=True):
    """Where on the console the first differing file is mentioned."""

    run: str  # id of the run whose console it is
    stage: str  # the stage that was going on
    package: str  # the package that was being built; "" where the console tells of none
    file: str  # the file
    line: str  # the line that mentions it; "" where none does
    offset: int  # where that line, or the stage, begins in `console.raw`


def rows(manifests: Sequence[Mapping[str, str]]) -> list[FileRow]:
    """All files of some runs, those that are not identical first, then by name."""
    names = sorted({name for manifest in manifests for name in manifest})
    found = []
    for name in names:
        digests = [manifest.get(name, "") for manifest in manifests]
        kinds = Counter(digest for digest in digests if digest).most_common()
        letters = {
            digest: _LETTERS[number] if number < len(_LETTERS) else str(number + 1)
            for number, (digest, _) in enumerate(kinds)
        }
        found.append(FileRow(name, tuple(letters.get(digest, "") for digest in digests)))
    return sorted(found, key=lambda row: row.same)


def manifest_of(directory: Path) -> dict[str, str] | None:
    """A run's produced files with their SHA-256; None without any, or with a list that cannot be read."""
    try:
        sums = products.read(directory)
    except ConfigError:
        return None
    if sums is None:
        return None
    # Names of guests may be any bytes; pages are UTF-8.
    return {
        name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"): digest
        for name, digest in sums.items()
    }


def first_divergent(reading: Reading, differing: Sequence[str]) -> Step:
    """With which file the differences began, as the console of a run tells.

    Files are made in order, and builds name what they make: the differing file that is mentioned first was
    probably the first to differ. Where the console names none of them, it is the stage that listed them.
    """
    stages = reading.stages()
    if (hit := _first_mention(reading, differing[:_NAMES])) is not None:
        line, name, package = hit
        stage = next((mark.text for mark in reversed(stages) if mark.offset <= line.offset), "")
        return Step(reading.document.id, stage, package, name, line.text[:_LONG], line.offset)
    listed = reading.document.produced
    stage = listed.stage if listed else ""
    offset = next((mark.offset for mark in stages if mark.text == stage), 0)
    return Step(reading.document.id, stage, "", differing[0], "", offset)


def _first_mention(reading: Reading, names: Sequence[str]) -> tuple[TimedLine, str, str] | None:
    files = {PurePosixPath(name).name: name for name in reversed(names)}
    some = "|".join(re.escape(name) for name in sorted(files, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.-])(?:{some})(?![\w-]|\.\w)")  # not hello.o for hello
    packages = Packages()
    for line in reading.lines():
        packages.heard(line.text, lambda: 0.0)
        if (match := pattern.search(line.text)) is not None:
            current = packages.current
            return line, files[match[0]], current.title if current else ""
    return None
