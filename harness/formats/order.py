"""Merges, checks and sorts the entries of an image before writing."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.formats.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# The kernel skips entries whose name or link target is longer (PATH_MAX, with the NUL), without a word.
PATH_MAX = 4096
# Larger device numbers lose their upper bits in the kernel (include/linux/kdev_t.h).
_MAJOR_MAX, _MINOR_MAX = (1 << 12) - 1, (1 << 20) - 1
_ODD = re.compile(rb"(?:^|/)\.{0,2}(?:/|\Z)|\0")  # empty parts, . and .., NUL


def in_order(entries: Iterable[Entry]) -> dict[bytes, Entry]:
    """Check the entries, add missing parents as root's with mode 0755, sort by the bytes of the paths.

    Returns:
        The entries by their paths in bytes, in order.

    Raises:
        ConfigError: A path that is no plain relative path, exists twice or lies below what is no directory; a
            hard link to what is no file of the image; a device number that the kernel would cut.
    """
    tree: dict[bytes, Entry] = {}
    for entry in entries:
        path = _checked_path(entry)
        if path in tree:
            raise ConfigError(f"{entry.path!r} comes from both {_origin(tree[path])} and {_origin(entry)}")
        tree[path] = entry
    known: set[bytes] = {b""}
    for path, entry in list(tree.items()):
        parent = path.rpartition(b"/")[0]
        if parent not in known:
            _add_parents(tree, path, entry)
            known.add(parent)
    for entry in tree.values():
        if entry.link:
            _check_link(tree, entry)
    return dict(sorted(tree.items()))


def name(entry: Entry) -> str:
    """The entry in a sentence: its path and where it came from."""
    return f"{entry.path!r} (from {_origin(entry)})"


def _origin(entry: Entry) -> str:
    return entry.source or (str(entry.content) if isinstance(entry.content, Path) else "a recipe")


def _checked_path(entry: Entry) -> bytes:
    """Return the path as bytes when the kernel would unpack this entry where it says."""
    try:
        path, target = os.fsencode(entry.path), os.fsencode(entry.target) if entry.target else b""
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name(entry)} has no form in bytes: {error}") from None
    if _ODD.search(path) or b"\0" in target:
        hint = "write it like usr/bin/bash: no leading or double slash, no . or .., no NUL"
        raise ConfigError(f"{name(entry)} is no plain relative path", hint=hint)
    if len(path) >= PATH_MAX or len(target) >= PATH_MAX:
        raise ConfigError(f"{name(entry)} is longer than the kernel's {PATH_MAX - 1} bytes")
    if entry.is_file:
        return path
    if entry.is_symlink and not target:
        raise ConfigError(f"{name(entry)} is a symbolic link without a target")
    if not stat.S_IFMT(entry.mode):
        raise ConfigError(f"{name(entry)} has mode {entry.mode:o}, which names no file type")
    major, minor = entry.device
    if entry.is_device and not (0 <= major <= _MAJOR_MAX and 0 <= minor <= _MINOR_MAX):
        hint = f"major numbers go to {_MAJOR_MAX}, minor numbers to {_MINOR_MAX}"
        raise ConfigError(f"{name(entry)} has the device number {major}:{minor}", hint=hint)
    return path


def _add_parents(tree: dict[bytes, Entry], path: bytes, entry: Entry) -> None:
    while (end := path.rfind(b"/")) > 0:
        path = path[:end]
        known = path in tree
        if not known:
            tree[path] = Entry(os.fsdecode(path), stat.S_IFDIR | 0o755)
        parent = tree[path]
        # Below a link the kernel would often find no directory yet, and drop the file without a word.
        if not parent.is_directory:
            message = f"{name(entry)} lies below {name(parent)}, which is no directory"
            hint = f"write it below {parent.target}" if parent.is_symlink else ""
            raise ConfigError(message, hint=hint)
        if known:  # its own parents are looked at for its own sake
            return


def _check_link(tree: Mapping[bytes, Entry], entry: Entry) -> None:
    message = f"{name(entry)} is a hard link to {entry.link!r}, which is "
    target = tree.get(os.fsencode(entry.link))
    if target is None:
        raise ConfigError(f"{message}not in the image", hint="add that file too, or copy it instead")
    if target.link:
        raise ConfigError(f"{message}one itself", hint=f"link to {target.link!r}, the file with the content")
    if not target.is_file:
        raise ConfigError(f"{message}no regular file", hint="only files have hard links; use a symbolic link")


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
            message = f"two contents add {entry.path}: {earlier.source} and {entry.source}"
            raise ConfigError(message, hint="leave one of them out of the recipe")
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
