"""An entry of an image as it was read, in any format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.formats.tree import Typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _nothing() -> Iterator[bytes]:
    return iter(())


class Member(msgspec.Struct, Typed, frozen=True):
    """One entry of an image as it was read.

    Attributes:
        path: Name as it is in the image, decoded with `os.fsdecode`; "" for the root. Names are not to be
            trusted: a foreign archive may have "../x" or "/x".
        mode: Full `st_mode`.
        uid: Owner.
        gid: Group.
        mtime: Seconds since 1970.
        size: Bytes of a regular file's content; 0 for everything else.
        target: A symbolic link's target.
        link: For a hard link, the path of the member, earlier or later, that carries the content; size and
            blocks are that member's.
        device: Major and minor number of a device node.
        blocks: Yields a regular file's content in pieces of bounded size, as often as it is called, until the
            image is closed. Raises ConfigError where the image is damaged.
    """

    path: str
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    target: str = ""
    link: str = ""
    device: tuple[int, int] = (0, 0)
    blocks: Callable[[], Iterator[bytes]] = _nothing
