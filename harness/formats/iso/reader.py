"""Reads ISO 9660 images, our own and others': with Rock Ridge, else Joliet, else the plain names.

pycdlib reads the directories; contents are read from the file when they are asked for.
"""

from __future__ import annotations

import calendar
import os
import stat
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pycdlib import PyCdlib

from harness.core.errors import ConfigError
from harness.formats.member import Member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    # Places in the image and lengths, in bytes.
    Extents = tuple[tuple[int, int], ...]

_BLOCK = 1 << 20
_SYSTEM_AREA = 16 * 2048  # in front of the filesystem: boot records and partition tables
_READS_MAX = 4  # times the image's size that its directories may make us read
_PLAIN_FILE, _PLAIN_DIRECTORY = stat.S_IFREG | 0o444, stat.S_IFDIR | 0o555
_DAMAGED = "fetch or build it again"


def members(path: Path) -> Iterator[Member]:
    """Yield what is in an image, parents first.

    Files that share their content are hard links to the first of them.

    Raises:
        ConfigError: It is damaged, cut off or no ISO image; where a file's content lies outside of the image,
            when its blocks are asked for.
    """
    try:
        with path.open("rb") as file:
            yield from _members(path, file)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def places(path: Path) -> dict[str, Extents]:
    """Where the content of each file lies in an image: offsets and lengths in bytes, by the file's path.

    Raises:
        ConfigError: As `members`.
    """
    found: dict[str, Extents] = {}
    try:
        with path.open("rb") as file:
            for _ in _members(path, file, found):
                pass
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    return found


def _members(path: Path, file: BinaryIO, places: dict[str, Extents] | None = None) -> Iterator[Member]:
    iso = PyCdlib()
    try:
        iso.open_fp(cast("BinaryIO", _Filesystem(path, file)))
        yield from _Walk(path, iso, {} if places is None else places).members()
    except (ConfigError, OSError):
        raise
    except Exception as error:  # the library meets damage with exceptions of every kind
        what = str(error) or type(error).__name__
        raise ConfigError(f"{path} is a damaged ISO 9660 image, or none: {what}", hint=_DAMAGED) from error


class _Walk:
    """Goes through the directories that pycdlib has read.

    The kind of names is the best one that the image has.
    """

    def __init__(self, path: Path, iso: PyCdlib, places: dict[str, Extents]) -> None:
        self._path = path
        self._places = places
        self._block = iso.logical_block_size
        self._links: dict[Extents, str] = {}
        self._rock_ridge = iso.has_rock_ridge()
        self._joliet = iso.has_joliet() and not self._rock_ridge
        self._root: Any = iso.get_record(joliet_path="/") if self._joliet else iso.get_record(iso_path="/")

    def members(self) -> Iterator[Member]:
        waiting = [("", self._root)]
        while waiting:
            above, directory = waiting.pop()
            below = []
            for records in _by_name(directory.children):
                record = self._relocated(records[0])
                name = self._name(records[0])
                if record is None or not name:
                    continue
                path = f"{above}{name}"
                yield self._member(path, record, records)
                if record.is_dir():
                    below.append((f"{path}/", record))
            waiting += reversed(below)

    def _relocated(self, record: Any) -> Any:
        """The record, or the one that Rock Ridge moved elsewhere because it lay too deep; None there."""
        extension = record.rock_ridge if self._rock_ridge else None
        if extension is None:
            return record
        if extension.child_link_record_exists():
            return extension.cl_to_moved_dr
        return None if extension.relocated_record() else record

    def _name(self, record: Any) -> str:
        if self._rock_ridge:
            return os.fsdecode(record.rock_ridge.name()) if record.rock_ridge else ""
        identifier = record.file_identifier()
        if self._joliet:
            return str(identifier.decode("utf-16-be", "replace")).partition(";")[0]
        # As Linux shows them: in small letters, without the version and a dot that nothing follows.
        return str(identifier.decode("latin-1")).partition(";")[0].removesuffix(".").lower()

    def _member(self, path: str, record: Any, records: list[Any]) -> Member:
        extension = record.rock_ridge if self._rock_ridge else None
        attributes = _first(extension, "px_record")
        numbers = _first(extension, "pn_record")
        mode = _PLAIN_DIRECTORY if record.is_dir() else _PLAIN_FILE
        owner = (0, 0)
        if attributes is not None:
            mode = attributes.posix_file_mode
            owner = (attributes.posix_user_id, attributes.posix_group_id)
        target, link, size = "", "", 0
        extents: Extents = ()
        if extension is not None and extension.is_symlink():
            mode = stat.S_IFLNK | 0o777
            target = os.fsdecode(extension.symlink_path())
        elif stat.S_ISREG(mode) and not record.is_dir():
            extents = tuple(
                (each.extent_location() * self._block, each.get_data_length()) for each in records
            )
            size = sum(extent[1] for extent in extents)
            self._places[path] = extents
            if size:
                first = self._links.setdefault(extents, path)
                link = "" if first == path else first
        return Member(
            path=path,
            mode=mode,
            uid=owner[0],
            gid=owner[1],
            mtime=_seconds(record.date),
            size=size,
            target=target,
            link=link,
            device=_device(numbers),
            blocks=self._blocks(path, extents),
        )

    def _blocks(self, path: str, extents: Extents) -> Callable[[], Iterator[bytes]]:
        def blocks() -> Iterator[bytes]:
            with self._path.open("rb") as file:
                for offset, length in extents:
                    file.seek(offset)
                    left = length
                    while left:
                        block = file.read(min(_BLOCK, left))
                        if not block:
                            message = (
                                f"{self._path} is cut off: {path} goes on for {left} bytes after its end"
                            )
                            raise ConfigError(message, hint=_DAMAGED)
                        left -= len(block)
                        yield block

        return blocks


class _Filesystem(RawIOBase):
    """The image as pycdlib may see it: without boot records, which it would judge, and with some patience."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        size = file.seek(0, SEEK_END)
        self._patience = _READS_MAX * size + _BLOCK
        file.seek(0)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a place; one before the beginning can only come from damage."""
        at = {SEEK_SET: 0, SEEK_CUR: self._file.tell()}.get(whence)
        if at is not None and not 0 <= at + offset < 1 << 62:
            raise ConfigError(f"{self._path} is a damaged ISO 9660 image: it points far outside of itself")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where the next byte is."""
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        """Bytes of the filesystem; zeros in front of it."""
        start = self._file.tell()
        data = self._file.read(size)
        self._patience -= max(len(data), 1)
        if self._patience < 0:
            raise ConfigError(f"{self._path} is a damaged ISO 9660 image: its directories lead in circles")
        hidden = max(0, min(_SYSTEM_AREA - start, len(data)))
        return bytes(hidden) + data[hidden:]


def _by_name(records: list[Any]) -> Iterator[list[Any]]:
    """Records of a directory that are one file each: those of 4 GiB and more have several of one name."""
    same: list[Any] = []
    for record in records:
        if record.is_dot() or record.is_dotdot():
            continue
        if same and record.file_identifier() != same[0].file_identifier():
            yield same
            same = []
        same.append(record)
    if same:
        yield same


def _first(extension: Any, kind: str) -> Any:
    """A record of Rock Ridge, which may stand in the directory or in its continuation."""
    for entries in (extension.dr_entries, extension.ce_entries) if extension is not None else ():
        if entries is not None and getattr(entries, kind) is not None:
            return getattr(entries, kind)
    return None


def _device(numbers: Any) -> tuple[int, int]:
    """Major and minor number: apart, or as one number in the low half (RRIP 1.12, 4.1.2)."""
    if numbers is None:
        return (0, 0)
    if numbers.dev_t_high:
        return (numbers.dev_t_high, numbers.dev_t_low)
    number = numbers.dev_t_low
    return (os.major(number), os.minor(number))


def _seconds(date: Any) -> int:
    """Seconds since 1970 of a directory record's date, whose zone is in quarters of an hour."""
    when = (1900 + date.years_since_1900, date.month, date.day_of_month, date.hour, date.minute, date.second)
    if not 1 <= date.month <= 12 or not 1 <= date.day_of_month <= 31:
        return 0
    return calendar.timegm(when) - int(date.gmtoffset) * 15 * 60
