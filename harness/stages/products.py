"""What a run produced, as two files of its record.

`manifest.sha256` can be checked by sha256sum(1); `manifest.mtree` has modes and sizes as well, as mtree(5)
describes them. Paths are absolute, as the payload sees them, and sorted by their bytes, so that equal
products are equal files.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError, explaining

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

SUMS = "manifest.sha256"
TREE = "manifest.mtree"

# "*" for binary files; a backslash in front when the name has escapes (GNU coreutils, "md5sum invocation").
_LINE = re.compile(r"(?P<escaped>\\?)(?P<hash>[0-9a-f]{64}) [ *](?P<name>.+)")
_ESCAPES = {r"\\": "\\", r"\n": "\n", r"\r": "\r"}


class Produced(msgspec.Struct, frozen=True):
    """A regular file that the payload has."""

    path: bytes  # absolute, as the payload sees it
    mode: int  # permissions
    size: int  # in bytes
    sha256: str  # of its content, in hexadecimal


def write(files: Iterable[Produced], directory: Path) -> None:
    """Write both files into a record.

    Raises:
        OSError: The record cannot be written.
    """
    known = sorted(files, key=lambda file: file.path)
    write_sums({os.fsdecode(file.path): file.sha256 for file in known}, directory)
    (directory / TREE).write_bytes(b"#mtree\n" + b"".join(map(_tree_line, known)))


def write_sums(sums: Mapping[str, str], directory: Path) -> None:
    """Write the hashes alone, where nothing else is known; `sums` by path.

    Raises:
        OSError: The record cannot be written.
    """
    known = sorted((os.fsencode(path), sha256) for path, sha256 in sums.items())
    (directory / SUMS).write_bytes(b"".join(_sum_line(path, sha256) for path, sha256 in known))


def read(directory: Path) -> dict[str, str] | None:
    """The SHA-256 of each file, by path, in the manifest's order; None for a record without one."""
    path = directory / SUMS
    if not path.exists():
        return None
    with explaining(ConfigError, f"cannot read {path}"):
        text = path.read_text("utf-8", "surrogateescape")
    files: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            hint = "the record is damaged; look at the run's console for what the guest wrote"
            raise ConfigError(f"{path}: line {number} is none of sha256sum's: {line[:80]!r}", hint=hint)
        name = match["name"]
        if match["escaped"]:
            name = re.sub(r"\\[\\nr]", lambda found: _ESCAPES[found[0]], name)
        files[name] = match["hash"]
    return files


def _sum_line(path: bytes, sha256: str) -> bytes:
    """A line of sha256sum(1), which escapes what would end it, and says so in front."""
    escaped = path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    mark = b"\\" if escaped != path else b""
    return b"%s%s  %s\n" % (mark, sha256.encode(), escaped)


def _tree_line(file: Produced) -> bytes:
    """A line of mtree(5), whose names are relative, and escaped as by vis(3) in octal."""
    plain = b"." + file.path
    escaped = re.sub(rb"[^!-\"$-<>-\[\]-~]", lambda odd: b"\\%03o" % odd[0][0], plain)
    return b"%s type=file mode=%04o size=%d sha256digest=%s\n" % (
        escaped, file.mode, file.size, file.sha256.encode(),
    )  # fmt: skip


class Difference(msgspec.Struct, frozen=True):
    """Two sets of produced files, side by side."""

    same: int  # how many files are identical
    differing: tuple[str, ...]  # names of files that both have, with different hashes
    only_first: tuple[str, ...]  # names that only the first has
    only_second: tuple[str, ...]  # names that only the second has


def difference(first: Mapping[str, str], second: Mapping[str, str]) -> Difference:
    """Compare what two runs made, file by file, in the first one's order."""
    both = [name for name in first if name in second]
    return Difference(
        same=sum(first[name] == second[name] for name in both),
        differing=tuple(name for name in both if first[name] != second[name]),
        only_first=tuple(name for name in first if name not in second),
        only_second=tuple(name for name in second if name not in first),
    )


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
