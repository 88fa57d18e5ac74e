"""Names in images: made plain, matched, and printed safely."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LINKS_MAX = 40  # as the kernel (MAXSYMLINKS)


def plain(path: str) -> str | None:
    """Return where a name leads below the image's root: "bin/sh" for "./bin/sh" and "/bin//sh", "" for ".".

    Returns:
        None for what has no place below the root: a name with ".." or NUL in it, or one that has no form in
        bytes.
    """
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts or "\0" in path:
        return None
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return None
    return "/".join(parts)


def followed(path: str, target_of: Callable[[str], str]) -> tuple[str, list[str]]:
    """Where a path leads in a tree that is the root, which need not exist, and the links on the way.

    `target_of` gives the target of a symbolic link, and "" for all else. More than `LINKS_MAX` links are a
    circle, and end it.
    """
    at: list[str] = []
    links: list[str] = []
    rest = path.split("/")[::-1]
    while rest and len(links) <= LINKS_MAX:
        part = rest.pop()
        if part == "..":
            at = at[:-1]
        elif part not in {"", "."}:
            here = "/".join([*at, part])
            if target := target_of(here):
                links.append(here)
                rest += target.split("/")[::-1]
                at = [] if target.startswith("/") else at
            else:
                at.append(part)
    return "/".join(at), links


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a name, or a directory above it, matches one of the shell patterns; without patterns all do.

    `*` matches slashes too. Leading "/" and "./" do not count, on either side.
    """
    if not patterns:
        return True
    parts = [part for part in path.split("/") if part not in {"", "."}]
    above = ["/".join(parts[: end + 1]) for end in range(len(parts))] or [""]
    bare = [re.sub(r"^(\.?/)+", "", pattern).rstrip("/") for pattern in patterns]
    return any(fnmatchcase(name, pattern) for pattern in bare for name in above)


def printable(text: str) -> str:
    r"""Return text that a terminal only shows: controls and bytes that are no UTF-8 as \n, \x1b, \u202e."""
    return text if text.isprintable() and "\\" not in text else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character == "\\":
        return r"\\"
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
