"""Entries of a file tree: to write, as written, as read, listed."""

from __future__ import annotations

import stat
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from harness.formats.names import LINKS_MAX, followed, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path


class Typed:
    """A base for all that has a mode, and so a type."""

    __slots__ = ()
    mode: int

    @property
    def is_file(self) -> bool:
        """Whether this is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_symlink(self) -> bool:
        """Whether this is a symbolic link."""
        return stat.S_ISLNK(self.mode)

    @property
    def is_device(self) -> bool:
        """Whether this is a character or block device node."""
        return stat.S_ISCHR(self.mode) or stat.S_ISBLK(self.mode)


class Entry(msgspec.Struct, Typed, frozen=True):
    """One file, directory, symbolic link, hard link or device node of an image."""

    # where it goes: relative, '/'-separated, no leading slash; bytes that are no UTF-8 are carried as
    # surrogate escapes (`os.fsdecode`)
    path: str
    mode: int  # full `st_mode`: type and permission bits
    content: Path | bytes = b""  # a regular file's bytes, or the file on this host that holds them
    target: str = ""  # a symbolic link's target
    device: tuple[int, int] = (0, 0)  # major and minor number of a device node
    uid: int = 0  # owner in the image
    gid: int = 0  # group in the image
    # for a hard link, the path of the entry whose content it shares; that entry is a regular file of the
    # same tree and no link itself. Mode and owner are those of that entry
    link: str = ""
    # where it came from, in words for a manifest ("bash 5.2.15-2+b13", "images/relay/sysa-init")
    source: str = ""


class Written(msgspec.Struct, frozen=True):
    """One entry as it was written into an image, for the manifest."""

    path: str  # path in the image
    mode: int  # full `st_mode`
    uid: int  # owner
    gid: int  # group
    size: int  # content in bytes: of a file, or of a symbolic link's target
    sha256: str  # of a regular file's content, in hex; "" for everything else
    target: str = ""  # a symbolic link's target
    link: str = ""  # for a hard link, the path of the entry whose content it shares
    device: tuple[int, int] = (0, 0)  # major and minor number of a device node
    source: str = ""  # where the entry came from, in words; "" for a directory that was added

    @classmethod
    def of(cls, entry: Entry, main: Entry, size: int, sha256: str) -> Written:
        """An entry with mode and owner of `main`: itself, or the file that it is a hard link to."""
        return cls(
            path=entry.path,
            mode=main.mode,
            uid=main.uid,
            gid=main.gid,
            size=size,
            sha256=sha256,
            target=entry.target,
            link=entry.link,
            device=entry.device,
            source=entry.source,
        )


class Member(msgspec.Struct, Typed, frozen=True):
    """One entry of an image as it was read."""

    # name as it is in the image, decoded with `os.fsdecode`; "" for the root. Names are not to be trusted:
    # a foreign archive may have "../x" or "/x"
    path: str
    mode: int  # full `st_mode`
    uid: int = 0  # owner
    gid: int = 0  # group
    mtime: int = 0  # seconds since 1970
    size: int = 0  # bytes of a regular file's content; 0 for everything else
    target: str = ""  # a symbolic link's target
    # for a hard link, the path of the member, earlier or later, that carries the content; size and blocks
    # are that member's
    link: str = ""
    device: tuple[int, int] = (0, 0)  # major and minor number of a device node
    # yields a regular file's content in pieces of bounded size, as often as it is called, until the image
    # is closed. Raises ConfigError where the image is damaged
    blocks: Callable[[], Iterator[bytes]] = partial(iter, ())


class Part(msgspec.Struct, frozen=True):
    """A run of an image's bytes that has a name."""

    name: str  # in words, such as "p1 (ext4)" or "content of bin/sh"
    offset: int  # its first byte
    size: int  # in bytes


def by_path(members: Iterable[Member]) -> dict[str, Member]:
    """Members by their plain path, the last of each; a name that leads out of the image stays as it is."""
    found = {}
    for member in members:
        path = plain(member.path)
        found[member.path if path is None else path] = member
    return found


class MemberTree:
    """All members of an image by path; content stays in the image.

    Some directories are roots of their own: "" for most images, "p1", "p2", … for partitions. Links below one
    of them never lead out of it.
    """

    def __init__(self, members: Iterable[Member], roots: Sequence[str] = ("",)) -> None:
        self.members = by_path(members)
        self._roots = roots

    def find(self, path: str) -> Member | None:
        """Return what a path leads to through all symbolic links; None for nothing, or a circle of links."""
        at = self.resolve(path)
        return None if at is None else self.members.get(at)

    def resolve(self, path: str) -> str | None:
        """Return where a path leads, which need not exist; None for a circle of links."""
        parts = [part for part in path.split("/") if part not in {"", "."}]
        root = f"{parts.pop(0)}/" if parts and parts[0] in self._roots else ""
        at, links = followed("/".join(parts), lambda here: self._target(root + here))
        return None if len(links) > LINKS_MAX else (root + at).rstrip("/")

    def _target(self, path: str) -> str:
        member = self.members.get(path)
        return member.target if member and member.is_symlink else ""


def ls_line(member: Member) -> str:
    """Describe a member as `ls -l` does, with owners in numbers and the time in UTC.

    Names are as they are in the image: a terminal wants them through `names.printable`.
    """
    owner = f"{member.uid}:{member.gid}"
    size = "{}, {}".format(*member.device) if member.is_device else str(member.size)
    described = (
        f"{stat.filemode(member.mode)} {owner:>9} {size:>11} {_time(member.mtime)} {member.path or '.'}"
    )
    if member.is_symlink:
        return f"{described} -> {member.target}"
    return f"{described} link to {member.link}" if member.link else described


def described(member: Member) -> dict[str, object]:
    """Describe a member for JSON. Bytes of names that are no UTF-8 are surrogates, as in `os.fsdecode`."""
    found: dict[str, object] = {
        "path": member.path or ".",
        "mode": stat.filemode(member.mode),
        "permissions": f"{stat.S_IMODE(member.mode):04o}",
        "uid": member.uid,
        "gid": member.gid,
        "size": member.size,
        "mtime": member.mtime,
    }
    if member.is_symlink:
        found["target"] = member.target
    if member.link:
        found["link"] = member.link
    if member.is_device:
        found["device"] = list(member.device)
    return found


def _time(seconds: int) -> str:
    from datetime import UTC, datetime

    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):  # no year that the calendar has
        return f"@{seconds:<15}"
