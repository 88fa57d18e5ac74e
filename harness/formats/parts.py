"""Names the parts of an image's bytes: partitions, headers, contents."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator


class Part(msgspec.Struct, frozen=True):
    """A run of an image's bytes that has a name."""

    name: str  # in words, such as "p1 (ext4)" or "content of bin/sh"
    offset: int  # its first byte
    size: int  # in bytes


def cpio_parts(file: BinaryIO) -> Iterator[Part]:
    """The parts of an initramfs; what lies in a compressed segment has no bytes of its own."""
    from harness.formats.cpio.reader import segments
    from harness.formats.cpio.records import ArchiveSource, read_archive

    source = ArchiveSource(file, str(file.name))
    for number, segment in enumerate(segments(file), start=1):
        name = f"segment {number} ({segment.kind}, {segment.compression})"
        yield Part(name, segment.offset, segment.size)
        if segment.compression == "none":
            for record in read_archive(source, segment.offset).records():
                yield Part(f"header of {record.path}", record.offset, record.content - record.offset)
                yield Part(f"content of {record.path}", record.content, record.size)
