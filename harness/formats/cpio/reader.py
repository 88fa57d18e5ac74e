"""Reads an initramfs: cpio archives, compressed or not, in a row.

`harness.formats.cpio` describes an archive, `harness.formats.compression` the streams. The rules by which
they follow each other are the kernel's (init/initramfs.c, unpack_to_rootfs): plain archives start at
multiples of 4 bytes, and so does a compressed stream behind a plain archive; zeros may stand between them;
what a stream unpacks to is archives again, complete in this one stream, and nothing else. What the kernel
would skip without a word, such as an archive that is cut off, is an error here.
"""

from __future__ import annotations

import os
import stat
import tempfile
import weakref
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.core.errors import InfraError
from harness.formats import compression
from harness.formats.cpio.records import Archive, ArchiveSource, CpioError, Record, read_archive
from harness.formats.tree import Member, Part

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CpioError", "Segment", "members", "segments"]

# What a compressed image may unpack to when the caller does not say: more than any guest's memory so far.
UNPACKED_LIMIT = 8 << 30
# Programs that make one stream.
_ONE_STREAM = {
    "gzip": "gzip or pigz over all of it at once",
    "bzip2": "bzip2 instead of pbzip2",
    "xz": "xz --check=crc32 over all of it at once",
    "zstd": "zstd instead of pzstd",
}
_ARCHIVES_MAX = 1 << 16  # in one stream; bounds the memory that a forged one takes


class Segment(msgspec.Struct, frozen=True):
    """A part of an image: a plain archive, or a compressed stream with archives in it."""

    offset: int  # byte at which it starts
    size: int  # bytes in the image; zeros behind a plain archive's trailer do not count
    compression: str  # "none", or one of `compression.MAGICS`
    kind: str  # "newc", or "crc" for archives with checksums
    unpacked: int  # bytes that it unpacks to
    members: int  # how many entries are in it
    objection: str = ""  # why the kernel would refuse it although it can be read here; or ""
    needs: frozenset[str] = frozenset()  # symbols that a kernel must have for it


def segments(file: BinaryIO, *, limit: int = UNPACKED_LIMIT) -> list[Segment]:
    """The parts of an image, in order; arguments and errors are those of `members`."""
    return [segment for segment, _ in segments_and_archives(file, limit=limit)]


def members(file: BinaryIO, *, limit: int = UNPACKED_LIMIT) -> Iterator[Member]:
    """The entries of an image, in order, without trailers.

    A segment is read to its end before its first member is given. Several members can have the same path: for
    the kernel, the last one wins. The first name of a file with several is the one that the others link to.

    Args:
        file: A seekable binary file; it has to stay open as long as contents are read.
        limit: Most bytes that compressed segments may unpack to, together; they go to temporary files.

    Raises:
        CpioError: At the byte where the image is damaged, ends too early, is something else, or unpacks to
            more than `limit`; checksums are looked at when the content is read.
    """
    for _, archives in segments_and_archives(file, limit=limit):
        for archive in archives:
            for record in archive.records():
                yield _member(archive, record)


def _member(archive: Archive, record: Record) -> Member:
    source = archive.source
    member = Member(
        path="" if record.path == "." else record.path,
        mode=record.mode,
        uid=record.uid,
        gid=record.gid,
        mtime=record.mtime,
        device=record.device,
    )
    if stat.S_ISLNK(record.mode):
        return msgspec.structs.replace(
            member, target=os.fsdecode(source.take(record.content, record.size, "a link's target"))
        )
    if not stat.S_ISREG(record.mode):
        return member
    names = archive.shared.get(record.inode)
    if names is None or record.links < 2:
        return msgspec.structs.replace(member, size=record.size, blocks=lambda: source.blocks(record))
    first, content = source.record(names.first), source.record(names.content)
    link = "" if first.offset == record.offset else first.path
    return msgspec.structs.replace(
        member, size=content.size, link=link, blocks=lambda: source.blocks(content)
    )


def segments_and_archives(
    file: BinaryIO, *, limit: int = UNPACKED_LIMIT
) -> Iterator[tuple[Segment, list[Archive]]]:
    """Each part of an image with its archives; arguments and errors are those of `members`."""
    source = ArchiveSource(file, str(getattr(file, "name", "the archive")))
    behind_plain = False
    offset = source.skip_zeros(0)
    if offset == source.size:
        raise source.error(offset, "there is no cpio archive, and so no trailer of one")
    while offset < source.size:
        kind = compression.detect(source.up_to(offset, 2))
        if kind == "none" or behind_plain:
            source.check_aligned(offset)
        if kind == "none":
            archive = read_archive(source, offset)
            size = archive.end - offset
            yield Segment(offset, size, kind, archive.kind, size, archive.members), [archive]
        else:
            inner, end = _unpacked(source, offset, limit)
            limit -= inner.size
            try:
                found = _archives(inner)
            except CpioError as error:
                if compression.detect(source.up_to(end, 2)) == kind:
                    raise _in_pieces(source, end, kind) from error
                raise
            yield (
                Segment(
                    offset,
                    end - offset,
                    kind,
                    found[0].kind,
                    inner.size,
                    sum(archive.members for archive in found),
                    compression.objection(source.file, offset, end),
                    compression.needs(source.file, offset, end),
                ),
                found,
            )
            size = end - offset
        behind_plain = kind == "none"
        offset = source.skip_zeros(offset + size)


def _in_pieces(source: ArchiveSource, offset: int, kind: str) -> CpioError:
    """The error for an archive that goes on in another stream, as pbzip2 and pzstd make it."""
    error = source.error(
        offset, f"the archive goes on in a second {kind} stream, and the kernel takes an archive in one"
    )
    error.hint = f"pack it anew as one stream: {_ONE_STREAM.get(kind, kind)}"
    return error


def _unpacked(source: ArchiveSource, offset: int, limit: int) -> tuple[ArchiveSource, int]:
    """What a compressed stream holds, in a file that is gone with its last user; and the stream's end."""
    kind = compression.detect(source.up_to(offset, 2))
    file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as its content may be read
    try:
        end = compression.unpack(source.file, offset, file, limit=limit)
        inner = ArchiveSource(file, f"{source.name}, unpacked from the {kind} stream at byte {offset}")
    except compression.StreamError as error:
        file.close()
        raise source.error(error.offset, error.what) from None
    except OSError as error:
        file.close()
        hint = f"make room in {tempfile.gettempdir()}, or set TMPDIR to a directory that has some"
        raise InfraError(f"cannot unpack {source.name}: {error.strerror}", hint=hint) from error
    weakref.finalize(inner, file.close)
    return inner, end


def _archives(source: ArchiveSource) -> list[Archive]:
    """The archives in a stream that was unpacked: at least one."""
    archives: list[Archive] = []
    offset = source.skip_zeros(0)
    while offset < source.size or not archives:
        if len(archives) == _ARCHIVES_MAX:
            raise source.error(offset, f"more than {_ARCHIVES_MAX} archives are in one stream")
        source.check_aligned(offset)
        archives.append(read_archive(source, offset))
        offset = source.skip_zeros(archives[-1].end)
    return archives


def cpio_parts(file: BinaryIO) -> Iterator[Part]:
    """The parts of an initramfs; what lies in a compressed segment has no bytes of its own."""
    source = ArchiveSource(file, str(file.name))
    for number, segment in enumerate(segments(file), start=1):
        name = f"segment {number} ({segment.kind}, {segment.compression})"
        yield Part(name, segment.offset, segment.size)
        if segment.compression == "none":
            for record in read_archive(source, segment.offset).records():
                yield Part(f"header of {record.path}", record.offset, record.content - record.offset)
                yield Part(f"content of {record.path}", record.content, record.size)
