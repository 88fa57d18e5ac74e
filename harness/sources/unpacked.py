"""Contents and members of an unpacked tar archive.

The contents of files lie below `files/`, as plain files of the user that unpacked them. All else (kinds,
modes, owners, links, devices) is in `members`: on disk it would need root, or depend on this host.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILES, _MEMBERS = "files", "members"


class Unpacked(msgspec.Struct, frozen=True, array_like=True):
    """One member of an archive."""

    name: bytes  # path below the archive's root, in bytes
    mode: int  # full `st_mode`
    uid: int = 0  # owner
    gid: int = 0  # group
    target: bytes = b""  # a symbolic link's target, in bytes
    link: bytes = b""  # for a hard link, the name of the file with the content, which is no link itself
    device: tuple[int, int] = (0, 0)  # major and minor number of a device node


def write_members(directory: Path, members: Iterable[Unpacked]) -> None:
    """Write the list."""
    (directory / _MEMBERS).write_bytes(msgspec.msgpack.encode(list(members)))


def members(directory: Path) -> list[Unpacked]:
    """What was unpacked into a directory, in the order of the archive."""
    return msgspec.msgpack.decode((directory / _MEMBERS).read_bytes(), type=list[Unpacked])


def content(directory: Path, member: Unpacked) -> Path:
    """Where the content of a regular file is that was unpacked into a directory."""
    return directory / FILES / os.fsdecode(member.link or member.name)
