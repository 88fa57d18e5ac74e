"""Reads "newc" cpio archives, our own and others'; `harness.image.cpio` describes the format."""

from __future__ import annotations

import binascii
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from harness.errors import ConfigError
from harness.image.cpio import BLOCK, FIELDS, HEADER_SIZE, NEWC, PATH_MAX, TRAILER

if TYPE_CHECKING:
    from collections.abc import Iterator

_CRC = b"070702"  # the same with the sum of a file's bytes in the last field


@dataclass(frozen=True, slots=True)
class Member:
    """One entry as it was read.

    Attributes:
        path: Name as it is in the archive, decoded with `os.fsdecode`.
        mode: Full `st_mode`.
        uid: Owner.
        gid: Group.
        mtime: Seconds since 1970.
        nlink: Number of links; of hard links that share an inode only the last carries the data.
        ino: Inode number.
        device: Major and minor number of a device node.
        data: Content of a file, target of a symbolic link.
    """

    path: str
    mode: int
    uid: int
    gid: int
    mtime: int
    nlink: int
    ino: int
    device: tuple[int, int]
    data: bytes


class CpioError(ConfigError):
    """A cpio archive that is damaged, cut off, or none at all."""


def read(file: BinaryIO) -> Iterator[Member]:
    """Read newc and crc archives, also several after each other with zeros between.

    Memory is bounded by the largest member that is really there, whatever a header claims.

    Args:
        file: Binary stream at the start of the archive; need not be seekable.

    Yields:
        The members in the order of the archive, without trailers.

    Raises:
        CpioError: At the byte where the archive is damaged, ends too early or is something else.
    """
    source = _Source(file)
    at_end = False
    while header := source.next_header(may_end=at_end):
        member = _member(source, header)
        at_end = member.path == TRAILER
        if not at_end:
            yield member


class _Source:
    """A stream that knows its offset and never asks for more memory than there are bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.offset = 0

    def error(self, offset: int, what: str) -> CpioError:
        return CpioError(f"{getattr(self._file, 'name', 'the archive')}, byte {offset}: {what}")

    def take(self, size: int, what: str) -> bytes:
        """Return exactly `size` bytes."""
        data = self._up_to(size)
        if len(data) < size:
            raise self.error(self.offset, f"the archive is cut off in {what}")
        return data

    def next_header(self, *, may_end: bool) -> bytes:
        """Return the next header; where the archive may end, zeros are skipped and b"" is its end."""
        first = self._up_to(1)
        while may_end and first == b"\0":
            first = self._up_to(1)
        if may_end and not first:
            return b""
        start = self.offset - len(first)
        magic = first + self._up_to(5)
        if len(magic) < 6:
            raise self.error(self.offset, "the archive is cut off: it has no trailer")
        if magic not in {NEWC, _CRC}:
            raise self.error(start, f"{magic!r} does not start a newc header (compressed? then unpack it)")
        if start % 4:  # the kernel's "broken padding"
            raise self.error(start, "an archive that follows another does not start at a multiple of 4")
        return magic + self.take(HEADER_SIZE - 6, "a header")

    def _up_to(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end of the file."""
        blocks = []
        while size and (block := self._file.read(min(BLOCK, size))):
            blocks.append(block)
            size -= len(block)
            self.offset += len(block)
        return b"".join(blocks)


def _member(source: _Source, header: bytes) -> Member:
    """Read what follows a header."""
    start = source.offset - HEADER_SIZE
    try:
        fields = FIELDS.unpack(binascii.unhexlify(header[6:]))
    except binascii.Error:
        raise source.error(start, "the header holds something that is no hex digit") from None
    ino, mode, uid, gid, nlink, mtime, size, _, _, major, minor, name_size, checksum = fields
    if not 1 <= name_size <= PATH_MAX:
        raise source.error(start, f"the header claims a name of {name_size} bytes")
    name = source.take(name_size, "a name")
    if name.find(b"\0") != name_size - 1:
        raise source.error(start, f"the name {name!r} does not end with its only NUL")
    path = os.fsdecode(name[:-1])
    source.take(-(HEADER_SIZE + name_size) % 4, f"the padding after the name {path!r}")
    data = source.take(size, f"the content of {path!r}")
    source.take(-size % 4, f"the padding after {path!r}")
    # Regular files only, as in the kernel: GNU cpio leaves the checksum of a symbolic link at 0.
    if header.startswith(_CRC) and stat.S_ISREG(mode) and sum(data) & 0xFFFFFFFF != checksum:
        raise source.error(start, f"the content of {path!r} does not match its checksum")
    return Member(path, mode, uid, gid, mtime, nlink, ino, (major, minor), data)
