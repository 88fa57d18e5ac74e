"""What goes into an image: entries of a file tree, before any format is chosen."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory, symbolic link or device node of an image.

    Attributes:
        path: Where it goes: relative, '/'-separated, no leading slash; bytes that are no UTF-8 are
            carried as surrogate escapes (`os.fsdecode`).
        mode: Full `st_mode`: type and permission bits.
        content: A regular file's bytes, or the file on this host that holds them.
        target: A symbolic link's target.
        device: Major and minor number of a device node.
        uid: Owner in the image.
        gid: Group in the image.
        source: Where it came from, in words for a manifest ("bash 5.2.15-2+b13", "images/relay/sysa-init").
    """

    path: str
    mode: int
    content: Path | bytes = b""
    target: str = ""
    device: tuple[int, int] = (0, 0)
    uid: int = 0
    gid: int = 0
    source: str = ""

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
