"""What tests of ext filesystems share: entries, and e2fsprogs as the second opinion."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from harness.formats.ext import writer as ext_writer
from harness.formats.ext.groups import Identity
from harness.formats.ext.layout import KINDS
from harness.formats.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.formats.tree import Written

MIB = 1 << 20
SBIN = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # not every user's PATH has it
IDENTITY = Identity(b"root", UUID("05b16a01-46c6-56dd-bd6e-c6dfb4a1427a"), 0)

needs_e2fsprogs = pytest.mark.skipif(
    not all(shutil.which(program, path=SBIN) for program in ("mke2fs", "debugfs", "e2fsck")),
    reason="e2fsprogs is not installed",
)


def mke2fs_usage() -> str:
    """How this release of mke2fs is called; "" where there is none."""
    program = shutil.which("mke2fs", path=SBIN)
    return subprocess.run([program], capture_output=True, text=True, check=False).stderr if program else ""


def regular(
    path: str, content: bytes | Path = b"", mode: int = 0o644, owner: tuple[int, int] = (0, 0)
) -> Entry:
    return Entry(path, stat.S_IFREG | mode, content=content, uid=owner[0], gid=owner[1])


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, stat.S_IFDIR | mode)


def symlink(path: str, target: str) -> Entry:
    return Entry(path, stat.S_IFLNK | 0o777, target=target)


def hardlink(path: str, link: str) -> Entry:
    return Entry(path, stat.S_IFREG, link=link)


def device(path: str, kind: int, major: int, minor: int, mode: int = 0o600) -> Entry:
    return Entry(path, kind | mode, device=(major, minor))


def make(
    image: Path, entries: Sequence[Entry], *, kind: str = "ext4", size: int = 16 * MIB, mtime: int = 0
) -> list[Written]:
    """Write a filesystem of our own, over a whole file."""
    identity = Identity(IDENTITY.label, IDENTITY.uuid, mtime)
    planned = ext_writer.plan(KINDS[kind], size, entries, identity)
    with image.open("wb") as file:
        file.truncate(size)
        return planned.write(file.fileno(), 0)


def e2fs(*command: str | Path, accepted: Sequence[int] = (0,)) -> str:
    program = shutil.which(str(command[0]), path=SBIN)
    assert program
    result = subprocess.run(
        [program, *map(str, command[1:])],
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "DEBUGFS_PAGER": "__none__"},
    )
    assert result.returncode in accepted, result.stdout + result.stderr
    return result.stdout


def assert_clean(image: Path) -> None:
    """Have e2fsck look at all of it; it changes nothing and ends with 0 if it finds nothing."""
    found = e2fs("e2fsck", "-fn", image)
    assert "Pass 5" in found
    assert "?" not in found, found  # it asks "Fix? no"
