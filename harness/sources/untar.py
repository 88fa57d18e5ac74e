"""Unpacks tar archives without root, with all their metadata.

The contents of files lie below `files/`, as plain files of the user that unpacked them. All else (kinds,
modes, owners, links, devices) is in `members`: on disk it would need root, or depend on this host.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import msgspec
import zstandard

from harness.core.errors import ConfigError
from harness.formats import compression
from harness.formats.tar_reader import DAMAGE, KINDS, Header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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


_BLOCK = 1 << 20
# What the libraries raise for damaged archives. OSError too: gzip and bz2 raise it without an errno.
_DAMAGE = (*DAMAGE, zlib.error, lzma.LZMAError, zstandard.ZstdError)
# Errors of making a file whose place is taken by a directory, or the other way round, or whose name no
# filesystem has.
_NO_PLACE = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


def unpack(tar: IO[bytes], directory: Path, what: str) -> None:
    """Unpack an uncompressed tar archive (ustar, pax or GNU), which is read once from its beginning."""
    members: dict[bytes, Unpacked] = {}
    files = directory / FILES
    files.mkdir()
    with (
        _damage_named(what),
        tarfile.open(
            fileobj=tar,
            mode="r|",
            bufsize=_BLOCK,
            tarinfo=Header,
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive,
    ):
        for info in archive:
            if name := _plain(info.name, what):
                members[name] = _member(name, info, members, what)
                if content := archive.extractfile(info) if info.isreg() else None:
                    _write(content, files, name, what)
    for member in members.values():
        if member.link and not stat.S_ISREG(members[member.link].mode):
            raise _wrong(what, member.name, "is a hard link to a file that another member replaces")
    write_members(directory, members.values())


def unpack_file(path: Path, directory: Path, what: str) -> None:
    """Unpack a tar archive that may be compressed by gzip, bzip2, xz or zstd; else as `unpack`."""
    with path.open("rb") as file:
        head = file.read(6)
        file.seek(0)
        with _decompressed(file, head) as tar:
            unpack(tar, directory, what)


def _decompressed(file: BinaryIO, head: bytes) -> BinaryIO:
    match compression.detect(head):
        case "gzip":
            return cast("BinaryIO", gzip.open(file))
        case "bzip2":
            return cast("BinaryIO", bz2.open(file))
        case "xz":
            return cast("BinaryIO", lzma.open(file))
        case "zstd":
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            return cast("BinaryIO", reader)
    return file


@contextmanager
def _damage_named(what: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise _damaged(what, error) from error
    except OSError as error:
        if error.errno is not None:  # a real one, of the disk
            raise
        raise _damaged(what, error) from error


def _damaged(what: str, error: Exception) -> ConfigError:
    return ConfigError(f"{what} is no tar archive, or a damaged one: {error}")


def _wrong(what: str, name: bytes, problem: str) -> ConfigError:
    return ConfigError(f"{what} cannot be unpacked: {os.fsdecode(name)!r} {problem}")


def _plain(name: str, what: str) -> bytes:
    """A member's name in its shortest form: "bin/sh" for "./bin//sh"; empty for the root."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    shown = os.fsencode(name)
    if name.startswith("/") or ".." in parts:
        raise _wrong(what, shown, "would leave the archive's root")
    if "\0" in name:
        raise _wrong(what, shown, "has a NUL in its name")
    return os.fsencode("/".join(parts))


def _member(name: bytes, info: tarfile.TarInfo, earlier: dict[bytes, Unpacked], what: str) -> Unpacked:
    if info.islnk():
        first = earlier.get(_plain(info.linkname, what))
        if first is None or stat.S_ISDIR(first.mode):
            raise _wrong(what, name, f"is a hard link to {info.linkname!r}, which is no file before it")
        link = (first.link or first.name) if stat.S_ISREG(first.mode) else b""
        return msgspec.structs.replace(first, name=name, link=link)
    if info.type not in KINDS:
        raise _wrong(what, name, f"is of the unknown kind {info.type!r}")
    target = os.fsencode(info.linkname) if info.issym() else b""
    if info.issym() and (not target or b"\0" in target):
        raise _wrong(what, name, "is a symbolic link without a target")
    return Unpacked(
        name=name,
        mode=KINDS[info.type] | stat.S_IMODE(info.mode),
        uid=info.uid,
        gid=info.gid,
        target=target,
        device=(info.devmajor, info.devminor) if info.ischr() or info.isblk() else (0, 0),
    )


def _write(content: IO[bytes], files: Path, name: bytes, what: str) -> None:
    place = files / os.fsdecode(name)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            shutil.copyfileobj(content, file, _BLOCK)
    except OSError as error:
        if error.errno in _NO_PLACE:
            raise _wrong(what, name, f"has no place: {error.strerror}") from error
        raise
