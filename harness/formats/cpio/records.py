"""The records of a cpio archive: header, name and content."""

from __future__ import annotations

import binascii
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.core.errors import ConfigError
from harness.formats.compression import detect
from harness.formats.cpio import FIELDS, HEADER_SIZE, NEWC, TRAILER
from harness.formats.magic import HEAD, kind_of
from harness.formats.order import PATH_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CRC = b"070702"  # the same with the sum of a file's bytes in the last field
_BLOCK = 1 << 20
_SHARED_MAX = 1 << 20  # files with several names in one archive; bounds the memory that a forged one takes


class CpioError(ConfigError):
    """A cpio archive that is damaged, cut off, or none at all."""


class Record(msgspec.Struct, frozen=True):
    """What a header says."""

    offset: int  # byte at which the header starts
    kind: str  # "newc" or "crc"
    path: str  # the name, decoded with `os.fsdecode`
    mode: int  # full `st_mode`
    uid: int  # owner
    gid: int  # group
    mtime: int  # seconds since 1970
    links: int  # number of names of the file
    inode: tuple[int, int, int]  # inode number, and the numbers of the device that it was on
    device: tuple[int, int]  # major and minor number of a device node
    content: int  # byte at which the content starts
    size: int  # bytes of content
    checksum: int  # sum of the content's bytes modulo 2³², for kind "crc"
    end: int  # byte at which the next header starts


class Names(msgspec.Struct, frozen=True):
    """A file with several names: the offsets of two records of it."""

    first: int  # the first in the archive
    # the one whose content counts: the last that has any, as every one overwrites what was there
    content: int


class Archive(msgspec.Struct, frozen=True):
    """One archive, which is known to be complete."""

    source: ArchiveSource  # where it is
    offset: int  # byte at which it starts
    end: int  # byte behind its trailer
    kind: str  # "newc", or "crc" when its first record is of that kind
    members: int  # how many entries it has
    shared: Mapping[tuple[int, int, int], Names]  # files with several names, by inode

    def records(self) -> Iterator[Record]:
        """The entries, in order."""
        record = self.source.record(self.offset)
        while record.path != TRAILER:
            yield record
            record = self.source.record(record.end)


def read_archive(source: ArchiveSource, offset: int) -> Archive:
    """Read the headers of an archive up to its trailer."""
    count = 0
    shared: dict[tuple[int, int, int], Names] = {}
    first = record = source.record(offset)
    while record.path != TRAILER:
        count += 1
        if record.links > 1 and stat.S_ISREG(record.mode):
            names = shared.get(record.inode, Names(record.offset, record.offset))
            shared[record.inode] = Names(names.first, record.offset if record.size else names.content)
            if len(shared) > _SHARED_MAX:
                raise source.error(record.offset, f"more than {_SHARED_MAX} files have several names")
        record = source.record(record.end)
    return Archive(source, offset, record.end, first.kind, count, shared)


class ArchiveSource:
    """A file with archives in it, read at any place with bounded memory; it is never closed here."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file = file
        self.name = name
        self.size = file.seek(0, os.SEEK_END)

    def error(self, offset: int, what: str) -> CpioError:
        """What is wrong with the byte at an offset."""
        return CpioError(f"{self.name}, byte {offset}: {what}")

    def up_to(self, offset: int, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end of the file."""
        self.file.seek(offset)
        return self.file.read(size)

    def take(self, offset: int, size: int, what: str) -> bytes:
        """Return exactly `size` bytes."""
        data = self.up_to(offset, size)
        if len(data) < size:
            raise self.error(self.size, f"the archive is cut off in {what}")
        return data

    def skip_zeros(self, offset: int) -> int:
        """The offset of the first byte from here that is not 0; the file's size when there is none."""
        while block := self.up_to(offset, _BLOCK):
            rest = block.lstrip(b"\0")
            if rest:
                return offset + len(block) - len(rest)
            offset += len(block)
        return self.size

    def check_aligned(self, offset: int) -> None:
        """Raise CpioError for a place where the kernel finds "broken padding"."""
        if offset % 4 and (self.up_to(offset, 5) == NEWC[:5] or detect(self.up_to(offset, 2)) != "none"):
            error = self.error(offset, "an archive that follows another does not start at a multiple of 4")
            error.hint = "put zeros between them, up to a multiple of 4 bytes"
            raise error

    def record(self, offset: int) -> Record:
        """Read the record whose header starts at an offset."""
        header = self.up_to(offset, HEADER_SIZE)
        if len(header) < 6:
            raise self.error(self.size, "the archive is cut off: it has no trailer")
        if header[:6] not in {NEWC, _CRC}:
            raise self._stranger(offset)
        if len(header) < HEADER_SIZE:
            raise self.error(self.size, "the archive is cut off in a header")
        try:
            fields = FIELDS.unpack(binascii.unhexlify(header[6:]))
        except binascii.Error:
            raise self.error(offset, "the header holds something that is no hex digit") from None
        inode, mode, uid, gid, links, mtime, size, dev_major, dev_minor, major, minor, name_size, checksum = (
            fields
        )
        path = self._name(offset, name_size)
        content = offset + HEADER_SIZE + name_size
        content += -(content - offset) % 4
        end = content + size + -size % 4
        self._check_content(offset, path, mode, size)
        if end > self.size:
            raise self.error(self.size, f"the archive is cut off in the content of {path!r}")
        return Record(
            offset=offset,
            kind="crc" if header.startswith(_CRC) else "newc",
            path=path,
            mode=mode,
            uid=uid,
            gid=gid,
            mtime=mtime,
            links=links,
            inode=(inode, dev_major, dev_minor),
            device=(major, minor),
            content=content,
            size=size,
            checksum=checksum,
            end=end,
        )

    def _stranger(self, offset: int) -> CpioError:
        """The error for what the kernel does not unpack."""
        head = self.up_to(offset, HEAD)
        kind = kind_of(head)
        known = f"there is {kind.words}, and " if kind.hint else ""
        error = self.error(
            offset, f"{known}{head[:6]!r} starts neither a newc header nor a compressed stream that is known"
        )
        error.hint = kind.hint
        return error

    def _name(self, offset: int, size: int) -> str:
        if not 1 <= size <= PATH_MAX:
            raise self.error(offset, f"the header claims a name of {size} bytes")
        name = self.take(offset + HEADER_SIZE, size, "a name")
        # Several NULs align the content, as microcode in front of an initramfs needs it.
        path = name.rstrip(b"\0")
        if path == name or b"\0" in path:
            raise self.error(offset, f"the name {name!r} does not end with its only NULs")
        return os.fsdecode(path)

    def _check_content(self, offset: int, path: str, mode: int, size: int) -> None:
        """Refuse content with which the kernel skips an entry without a word."""
        if stat.S_ISLNK(mode):
            if not 1 <= size <= PATH_MAX:
                raise self.error(offset, f"the symbolic link {path!r} has a target of {size} bytes")
        elif size and not stat.S_ISREG(mode) and path != TRAILER:
            raise self.error(offset, f"{path!r} is no regular file and has {size} bytes of content")

    def blocks(self, record: Record) -> Iterator[bytes]:
        """The content of a record in pieces."""
        total = 0
        for start in range(0, record.size, _BLOCK):
            size = min(_BLOCK, record.size - start)
            block = self.take(record.content + start, size, f"the content of {record.path!r}")
            if record.kind == "crc":
                total += sum(block)
            yield block
        if record.kind == "crc" and total & 0xFFFFFFFF != record.checksum:
            raise self.error(record.offset, f"the content of {record.path!r} does not match its checksum")
