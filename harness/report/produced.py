"""What a run produced: `manifest.sha256`, lines as sha256sum(1) writes them, sorted by path."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.console.lines import LineCleaner
from harness.errors import InfraError
from harness.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

NAME = "manifest.sha256"
_SUM = re.compile(r"^(?P<sum>[0-9a-f]{64})  (?:\./)?(?P<path>\S.*)$")
_OK = re.compile(r"^(?:\./)?(?P<path>\S+): OK$")

# Of a file: size, times of content and inode in ns, and inode number. A change changes one of them.
State = tuple[int, int, int, int]


def look(root: Path) -> dict[str, State]:
    """All regular files below a directory, by path."""
    return {path: (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for path, s in _files(str(root))}


def write(root: Path, before: Mapping[str, State], into: Path) -> int:
    """Write the manifest of all files below a directory that are new or changed; how many they are.

    Raises:
        InfraError: A file cannot be read, or the manifest not written.
    """
    found = look(root)
    try:
        sums = {path: _sha256(root, path) for path, state in found.items() if before.get(path) != state}
    except OSError as error:
        raise InfraError(f"cannot read {error.filename}, which the run produced: {error.strerror}") from error
    _write(sums, into)
    return len(sums)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a console said about files.

    Attributes:
        sums: The sha256 of files, by path.
        approved: Files whose sha256 was found to be right.
    """

    sums: Mapping[str, str]
    approved: frozenset[str]


def shown(raw: Path, *, wraps: int = 0) -> Shown:
    """Read a recorded console for lines as sha256sum prints them, with sums and with `-c`.

    Args:
        raw: The bytes as they came.
        wraps: Columns after which the console went on in a new line; 0: it did not.
    """
    sums: dict[str, str] = {}
    approved: set[str] = set()
    text = ""
    for line in _lines(raw):
        text += line
        if wraps and len(line) == wraps:
            continue
        if match := _SUM.match(text):
            sums[match["path"]] = match["sum"]
        elif match := _OK.match(text):
            approved.add(match["path"])
        text = ""
    return Shown(sums, frozenset(approved))


def write_shown(sums: Mapping[str, str], into: Path) -> None:
    """Write the manifest of what a console showed; nothing where it showed nothing."""
    if sums:
        _write(sums, into)


def read(manifest: Path) -> dict[str, str]:
    """The sha256 of each file of a manifest, by path; empty where there is none."""
    try:
        lines = manifest.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return {}
    return {match["path"]: match["sum"] for line in lines if (match := _SUM.match(line))}


def disproved(expected: Mapping[str, str], sums: Mapping[str, str], approved: Collection[str]) -> str:
    """What is wrong with the files of a run, in a sentence; "" where each has the sha256 that it should have.

    Args:
        expected: The sha256 that files should have, by path.
        sums: Those that files have, as far as the harness knows them.
        approved: Files that the payload itself found to be right; they count where the harness knows nothing.
    """
    for path, wanted in expected.items():
        if path in sums and sums[path] != wanted:
            return f"{path} has the sha256 {sums[path]} and should have {wanted}"
        if path not in sums and (sums or path not in approved):
            return f"{path}, which should have the sha256 {wanted}, was not made or not checked"
    return ""


def _lines(raw: Path) -> Iterator[str]:
    cleaner = LineCleaner(0)
    with raw.open("rb") as file:
        while data := file.read(1 << 16):
            yield from (line.text for line in cleaner.feed(data))
    yield from (line.text for line in cleaner.flush())


def _write(sums: Mapping[str, str], into: Path) -> None:
    rows = (f"{sums[path]}  {path}\n" for path in sorted(sums, key=os.fsencode))
    write_atomically(into, "".join(rows))


def _files(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Regular files, never through a link."""
    waiting = [""]
    while waiting:
        above = waiting.pop()
        try:
            with os.scandir(f"{root}/{above}") as entries:
                for entry in entries:
                    path = f"{above}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{path}/")
                    elif stat.S_ISREG((status := entry.stat(follow_symlinks=False)).st_mode):
                        yield path, status
        except (FileNotFoundError, PermissionError):
            continue


def _sha256(root: Path, path: str) -> str:
    descriptor = os.open(f"{root}/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
