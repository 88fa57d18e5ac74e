"""Merges entries from several places into one tree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from harness.formats.tree import Entry


def merge(added: Iterable[Entry]) -> list[Entry]:
    """One tree of all entries, sorted by path.

    Directories may be added any number of times, the last one's mode holds: packages share them. Hard links
    get content, mode and owner of their file, and lead to it directly.

    Raises:
        ConfigError: Two entries are at one path, one is below another that is no directory, or a hard link
            leads to no file.
    """
    tree: dict[str, Entry] = {}
    for entry in added:
        earlier = tree.get(entry.path)
        if earlier is not None and not (earlier.is_directory and entry.is_directory):
            raise ConfigError(
                f"two contents add {entry.path}: {earlier.source} and {entry.source}",
                hint="leave one of them out of the recipe",
            )
        tree[entry.path] = entry
    _check_parents(tree)
    ordered = sorted(tree, key=os.fsencode)
    return [_resolved(tree, tree[path]) if tree[path].link else tree[path] for path in ordered]


def chosen(tree: Mapping[str, Entry], paths: Iterable[str]) -> Iterator[Entry]:
    """The entries at some paths; where a hard link loses its file, its first link becomes the file."""
    kept = set(paths)
    heirs: dict[str, str] = {}
    for path in sorted(kept):
        entry = tree[path]
        if entry.link and entry.link not in kept:
            heir = heirs.setdefault(entry.link, path)
            entry = msgspec.structs.replace(entry, link="" if heir == path else heir)
        yield entry


def _check_parents(tree: Mapping[str, Entry]) -> None:
    good: set[str] = set()
    for entry in tree.values():
        path = entry.path
        while (path := path.rpartition("/")[0]) and path not in good:
            above = tree.get(path)
            if above is not None and not above.is_directory:
                what = f"symbolic link to {above.target}" if above.is_symlink else "file"
                raise ConfigError(
                    f"{entry.path} ({entry.source}) would be below {path}, a {what} ({above.source})",
                    hint="leave one of them out of the recipe, or add the files at the link's target",
                )
            good.add(path)


def _resolved(tree: Mapping[str, Entry], entry: Entry) -> Entry:
    target, seen = entry, set[str]()
    while target.link:
        seen.add(target.path)
        following = tree.get(target.link)
        if following is None or not following.is_file or following.path in seen:
            raise ConfigError(
                f"the hard link {entry.path} ({entry.source}) leads to {target.link}, which is no file there",
                hint="a hard link is another name of a regular file; use a symlink for anything else",
            )
        target = following
    return msgspec.structs.replace(
        entry, link=target.path, content=target.content, mode=target.mode, uid=target.uid, gid=target.gid
    )
