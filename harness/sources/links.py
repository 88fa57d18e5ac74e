"""Symbolic links of a checkout, and what they lead to."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.sources.committed import CheckedOut


def followed(files: Sequence[CheckedOut]) -> tuple[CheckedOut, ...]:
    """The same files with copies in place of symbolic links, as cp -L and Python's copytree make them."""
    known = {file.path: file for file in files}
    found: dict[str, CheckedOut] = {}
    for file in files:
        if not stat.S_ISLNK(file.mode):
            found[file.path] = file
            continue
        path = _goal(file, known)
        if path in known:
            found[file.path] = msgspec.structs.replace(known[path], path=file.path)
            continue
        below = [other for other in files if other.path.startswith(f"{path}/")]
        if not below or f"{file.path}/".startswith(f"{path}/"):
            raise ConfigError(f"the link {file.place} leads to {file.target}, which is not in the checkout")
        for other in followed(below):
            inner = f"{file.path}{other.path.removeprefix(path)}"
            found[inner] = msgspec.structs.replace(other, path=inner)
    return tuple(found[path] for path in sorted(found, key=os.fsencode))


def _goal(link: CheckedOut, known: Mapping[str, CheckedOut]) -> str:
    """Where a link of a snapshot leads, over further links: a path that need not be there."""
    file, seen = link, set[str]()
    while stat.S_ISLNK(file.mode) and file.path not in seen:
        seen.add(file.path)
        path = os.path.normpath(os.path.join(os.path.dirname(file.path), file.target))  # noqa: PTH118, PTH120
        if path not in known:
            return path
        file = known[path]
    return file.path if file.path not in seen else ""
