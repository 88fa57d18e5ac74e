"""Entries of a file tree: to write, as written, as read."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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


def _nothing() -> Iterator[bytes]:
    return iter(())


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
    blocks: Callable[[], Iterator[bytes]] = _nothing
