"""Reads GUID partition tables, for sectors of 512 and of 4096 bytes.

Format and the order in which its two copies count: UEFI specification, 5.3; the checks are those of the
kernel's block/partitions/efi.c.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO
from uuid import UUID

import msgspec

SIGNATURE = b"EFI PART"
SECTORS = (512, 4096)
# Signature, revision, size, checksum; place, the other copy's, first and last usable sector, disk; entries.
_HEADER = struct.Struct("<8sIII4xQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_ENTRIES_MAX = 1 << 20  # bytes; 128 entries of 128 bytes are usual
_BIOS_BOOTABLE = 1 << 2


class GptEntry(msgspec.Struct, frozen=True):
    """A partition: number, first byte, size, type, UUID, and whether a BIOS may boot it."""

    number: int
    offset: int
    size: int
    type: str
    uuid: str
    bootable: bool


class Gpt(msgspec.Struct, frozen=True):
    """A table."""

    sector: int  # bytes of a sector
    id: str  # the disk's UUID
    end: int  # the byte behind the disk, as the table says
    entries: tuple[GptEntry, ...]  # the partitions
    problem: str = ""  # what is wrong with the copy that was not used; or ""


def read_gpt(file: BinaryIO) -> Gpt | str:
    """Read the table of a disk: the copy at its beginning or, if that is damaged, the one at its end.

    Returns:
        The table, or why there is none, to follow "its GPT".
    """
    size = file.seek(0, os.SEEK_END)
    problem = "is missing: neither the second sector nor the last one begins with EFI PART"
    for sector in SECTORS:
        first, last = _copy(file, sector, sector), _copy(file, size - sector, sector)
        if isinstance(first, Gpt):
            wrong = f"the copy at the end {last}" if isinstance(last, str) and first.end <= size else ""
            return msgspec.structs.replace(first, problem=wrong)
        if isinstance(last, Gpt):
            return msgspec.structs.replace(last, problem=f"the copy at the beginning {first}")
        if "no EFI PART" not in first:
            problem = first
    return problem


def _copy(file: BinaryIO, offset: int, sector: int) -> Gpt | str:
    """One copy of the table, or what is wrong with it."""
    head = _read(file, offset, sector)
    if not head.startswith(SIGNATURE) or len(head) < _HEADER.size:
        return "is missing: there is no EFI PART"
    _, _, length, checksum, own, other, _, last, disk, place, count, width, entries_sum = _HEADER.unpack_from(
        head
    )
    if not _HEADER.size <= length <= sector or zlib.crc32(head[:16] + bytes(4) + head[20:length]) != checksum:
        return "does not match its checksum"
    if own * sector != offset:
        return f"says that it is in sector {own}, and it is in sector {offset // sector}"
    if width < _ENTRY.size or count * width > _ENTRIES_MAX:
        return f"claims {count} entries of {width} bytes"
    table = _read(file, place * sector, count * width)
    if len(table) < count * width or zlib.crc32(table) != entries_sum:
        return "has entries that do not match their checksum"
    found = []
    for number in range(count):
        kind, uuid, start, end, attributes, _ = _ENTRY.unpack_from(table, number * width)
        if kind != bytes(16):
            extent = (start * sector, (end - start + 1) * sector)
            bootable = bool(attributes & _BIOS_BOOTABLE)
            found.append(GptEntry(number + 1, *extent, _uuid(kind).upper(), _uuid(uuid), bootable))
    return Gpt(sector, _uuid(disk).upper(), (max(own, other, last) + 1) * sector, tuple(found))


def _uuid(data: bytes) -> str:
    return str(UUID(bytes_le=data))


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    if offset < 0:
        return b""
    file.seek(offset)
    return file.read(size)
