"""The files that a guest made, by hash: `manifest.sha256` of a record, in the format of `sha256sum`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from harness.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "manifest.sha256"

# "*" for binary files; a backslash in front when the name has escapes (GNU coreutils, "md5sum invocation").
_LINE = re.compile(r"(?P<escaped>\\?)(?P<hash>[0-9a-f]{64}) [ *](?P<name>.+)")
_ESCAPES = {r"\\": "\\", r"\n": "\n", r"\r": "\r"}


class Difference(msgspec.Struct, frozen=True):
    """Two sets of produced files, side by side.

    Attributes:
        same: How many files are identical.
        differing: Names of files that both have, with different hashes.
        only_first: Names that only the first has.
        only_second: Names that only the second has.
    """

    same: int
    differing: tuple[str, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


def produced(directory: Path) -> dict[str, str] | None:
    """Names and SHA-256 of the files that a run's guest made, in the manifest's order; None without one.

    Raises:
        ConfigError: The manifest cannot be read, or a line of it is none of sha256sum's.
    """
    path = directory / MANIFEST
    try:
        text = path.read_text("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    files: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigError(
                f"{path}: line {number} is none of sha256sum's: {line[:80]!r}",
                hint="the record is damaged; look at the run's console for what the guest wrote",
            )
        name = match["name"]
        if match["escaped"]:
            name = re.sub(r"\\[\\nr]", lambda found: _ESCAPES[found[0]], name)
        files[name] = match["hash"]
    return files


def difference(first: Mapping[str, str], second: Mapping[str, str]) -> Difference:
    """Compare what two runs made, file by file, in the first one's order."""
    both = [name for name in first if name in second]
    return Difference(
        same=sum(first[name] == second[name] for name in both),
        differing=tuple(name for name in both if first[name] != second[name]),
        only_first=tuple(name for name in first if name not in second),
        only_second=tuple(name for name in second if name not in first),
    )
