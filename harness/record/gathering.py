"""Finds what a run produced, in its root or on its console."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING

from harness.console.lines import LineCleaner
from harness.core.errors import InfraError
from harness.stages.products import Produced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SUM = re.compile(r"^(?P<sum>[0-9a-f]{64})  (?:\./|/)?(?P<path>\S.*)$")
_OK = re.compile(r"^(?:\./|/)?(?P<path>\S+): OK$")

# Of a file: size, times of content and inode in ns, and inode number. A change changes one of them.
State = tuple[int, int, int, int]


def look(root: Path) -> dict[str, State]:
    """All regular files below a directory, by absolute path in it."""
    return {path: (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for path, s in _files(str(root))}


def gathered(root: Path, before: Mapping[str, State]) -> list[Produced]:
    """All files below a directory that are new or changed."""
    try:
        return [_produced(root, path) for path, state in look(root).items() if before.get(path) != state]
    except OSError as error:
        raise InfraError(f"cannot read {error.filename}, which the run produced: {error.strerror}") from error


def shown(raw: Path, *, wraps: int = 0) -> tuple[dict[str, str], set[str]]:
    """The sums of files that a recorded console shows, by path, and the files that `-c` found to be right.

    Lines are as sha256sum prints them. The console went on in a new line after `wraps` columns, if not 0.
    """
    sums: dict[str, str] = {}
    approved: set[str] = set()
    text = ""
    for line in _lines(raw):
        text += line
        if wraps and len(line) == wraps:
            continue
        if match := _SUM.match(text):
            sums[f"/{match['path']}"] = match["sum"]
        elif match := _OK.match(text):
            approved.add(f"/{match['path']}")
        text = ""
    return sums, approved


def _lines(raw: Path) -> Iterator[str]:
    cleaner = LineCleaner(0)
    with raw.open("rb") as file:
        while data := file.read(1 << 16):
            yield from (line.text for line in cleaner.feed(data))
    yield from (line.text for line in cleaner.flush())


def _files(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Regular files, never through a link."""
    waiting = ["/"]
    while waiting:
        above = waiting.pop()
        try:
            with os.scandir(f"{root}{above}") as entries:
                for entry in entries:
                    path = f"{above}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{path}/")
                    elif stat.S_ISREG((status := entry.stat(follow_symlinks=False)).st_mode):
                        yield path, status
        except (FileNotFoundError, PermissionError):
            continue


def _produced(root: Path, path: str) -> Produced:
    descriptor = os.open(f"{root}{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Produced(os.fsencode(path), stat.S_IMODE(status.st_mode), status.st_size, sha256)
