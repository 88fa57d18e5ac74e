"""Reads tar archives: ustar, pax and GNU."""

from __future__ import annotations

import stat
import tarfile
from typing import TYPE_CHECKING, Final, Self

from harness.core.errors import ConfigError
from harness.formats.tree import Member

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_BLOCK = 1 << 20
KINDS: Final[Mapping[bytes, int]] = {
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
    **dict.fromkeys(tarfile.REGULAR_TYPES, stat.S_IFREG),
}
# What tarfile raises for archives that are damaged, beside its own.
DAMAGE = (tarfile.TarError, EOFError, ValueError, OverflowError, KeyError, RecursionError)
_NO_END = "it ends without the blocks of zeros that end a tar archive"


class TarError(ConfigError):
    """A tar archive that is damaged or cut off."""


class NoEndError(tarfile.ReadError):
    """The file ends behind a member: GNU tar takes that for whole, and here it may be cut off."""


class Header(tarfile.TarInfo):
    """A header; where there is none, and no end either, it says so. tarfile itself would end in silence."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """The next header of an archive."""
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined] # typeshed lacks it
                raise
            # Behind a header that only says more of the next one, a file does not end.
            behind_a_file = archive.fileobj.tell() == archive.offset
            if isinstance(error, tarfile.EmptyHeaderError) and behind_a_file:  # type: ignore[attr-defined]
                raise NoEndError(f"{_NO_END}: it is cut off") from None
            raise tarfile.ReadError(f"{_NO_END}: it is cut off or damaged ({error})") from None


def open_tar(path: Path) -> tarfile.TarFile:
    """Open an uncompressed archive; one that is cut off or damaged anywhere raises one of `DAMAGE`."""
    return tarfile.open(path, "r:", tarinfo=Header, encoding="utf-8", errors="surrogateescape")


def members(path: Path) -> Iterator[Member]:
    """Read an uncompressed tar archive. A hard link whose file does not stand before it is empty."""
    files: dict[str, tarfile.TarInfo] = {}
    try:
        with open_tar(path) as tar:
            for info in tar:
                if info.isfile():
                    files[info.name] = info
                content = files.get(info.linkname) if info.islnk() else info
                if content is not None:
                    files[info.name] = content
                yield _member(path, info, content)
    except NoEndError:
        hint = f"if it is whole, append them: truncate -s +1K {path}"
        raise TarError(f"{path}: {_NO_END}: files may be missing", hint=hint) from None
    except DAMAGE as error:
        raise TarError(f"{path} is a damaged tar archive: {error}") from None


def _member(path: Path, info: tarfile.TarInfo, content: tarfile.TarInfo | None) -> Member:
    kind = KINDS.get(info.type, stat.S_IFREG)
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
    except DAMAGE as error:
        raise TarError(f"{path} is cut off or damaged in {info.name}: {error}") from None
