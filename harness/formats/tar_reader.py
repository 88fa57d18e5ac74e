"""Reads tar archives (ustar, pax and GNU), which diskimage-builder and others make."""

from __future__ import annotations

import stat
import tarfile
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.formats.member import Member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = 1 << 20
_TYPES = {
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}
# What tarfile raises for archives that are damaged, beside its own.
_DAMAGE = (tarfile.TarError, EOFError, ValueError, OverflowError, KeyError, RecursionError)


class TarError(ConfigError):
    """A tar archive that is damaged or cut off."""


def members(path: Path) -> Iterator[Member]:
    """Read an uncompressed tar archive.

    Yields:
        Members in the order of the archive. A hard link whose file does not stand before it is empty.

    Raises:
        TarError: The archive is damaged.
    """
    files: dict[str, tarfile.TarInfo] = {}
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            for info in tar:
                if info.isfile():
                    files[info.name] = info
                content = files.get(info.linkname) if info.islnk() else info
                if content is not None:
                    files[info.name] = content
                yield _member(path, info, content)
    except _DAMAGE as error:
        raise TarError(f"{path} is a damaged tar archive: {error}") from None


def _member(path: Path, info: tarfile.TarInfo, content: tarfile.TarInfo | None) -> Member:
    kind = _TYPES.get(info.type, stat.S_IFREG)
    is_file = kind == stat.S_IFREG and content is not None
    return Member(
        path=info.name,
        mode=kind | stat.S_IMODE(info.mode),
        uid=info.uid,
        gid=info.gid,
        mtime=int(info.mtime),
        size=content.size if is_file and content else 0,
        target=info.linkname if info.issym() else "",
        link=info.linkname if info.islnk() else "",
        device=(info.devmajor, info.devminor) if info.isdev() and not info.isfifo() else (0, 0),
        blocks=lambda: _blocks(path, content) if is_file and content else iter(()),
    )


def _blocks(path: Path, info: tarfile.TarInfo) -> Iterator[bytes]:
    """Read a file's content; the archive is opened anew, so readers do not disturb each other."""
    try:
        with path.open("rb") as file, tarfile.TarFile(fileobj=file) as tar:
            content = tar.extractfile(info)
            while content and (block := content.read(_BLOCK)):
                yield block
    except _DAMAGE as error:
        raise TarError(f"{path} is cut off or damaged in {info.name}: {error}") from None
