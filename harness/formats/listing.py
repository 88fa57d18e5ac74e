"""Lists members of an image, for people and for programs."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.formats.tree import Member


def line(member: Member) -> str:
    """Describe a member as `ls -l` does, with owners in numbers and the time in UTC.

    Names are as they are in the image: a terminal wants them through `names.printable`.
    """
    owner = f"{member.uid}:{member.gid}"
    size = "{}, {}".format(*member.device) if member.is_device else str(member.size)
    described = f"{stat.filemode(member.mode)} {owner:>9} {size:>11} {_time(member.mtime)} {name(member)}"
    if member.is_symlink:
        return f"{described} -> {member.target}"
    return f"{described} link to {member.link}" if member.link else described


def name(member: Member) -> str:
    """The name of a member; the root is a dot."""
    return member.path or "."


def value(member: Member) -> dict[str, object]:
    """Describe a member for JSON. Bytes of names that are no UTF-8 are surrogates, as in `os.fsdecode`."""
    described: dict[str, object] = {
        "path": name(member),
        "mode": stat.filemode(member.mode),
        "permissions": f"{stat.S_IMODE(member.mode):04o}",
        "uid": member.uid,
        "gid": member.gid,
        "size": member.size,
        "mtime": member.mtime,
    }
    if member.is_symlink:
        described["target"] = member.target
    if member.link:
        described["link"] = member.link
    if member.is_device:
        described["device"] = list(member.device)
    return described


def _time(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):  # no year that the calendar has
        return f"@{seconds:<15}"
