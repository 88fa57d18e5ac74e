"""Boot structures of an ISO image: descriptors, El Torito, boot record.

Formats: ECMA-119 (8.4) for volume descriptors; "El Torito" Bootable CD-ROM Format Specification 1.0 for the
catalog, with the platform 0xEF of the UEFI specification (13.3.2.1); `isohybrid` for the boot record.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.formats.iso import isohybrid
from harness.formats.iso.records import BOOT_RECORD, PRIMARY, SECTOR, descriptors, volume_size

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

_EL_TORITO = b"EL TORITO SPECIFICATION"
_CATALOG_MAX = 64 * 32  # bytes; catalogs of two to five entries of 32 bytes are all that is seen
_PLATFORMS = {0: "BIOS", 1: "PowerPC", 2: "Mac", 0xEF: "UEFI"}
_GPT = b"EFI PART"


class CatalogEntry(msgspec.Struct, frozen=True):
    """Something that firmware can start."""

    platform: str  # "BIOS", "UEFI", "PowerPC", "Mac" or a number
    bootable: bool  # whether the firmware may start it
    emulation: bool  # whether it is run as a floppy or hard disk
    offset: int  # where it lies in the image, in bytes
    size: int  # bytes that the firmware loads


class BootExtent(msgspec.Struct, frozen=True):
    """A partition of the boot record."""

    type: int  # its type byte
    active: bool  # whether the BIOS may start it
    offset: int  # in bytes
    size: int  # in bytes


class IsoBoot(msgspec.Struct, frozen=True):
    """What firmware finds."""

    size: int  # bytes of the file
    volume: int  # bytes of the volume, as its descriptor says
    catalog: int | None  # where El Torito's boot catalog lies, in bytes; None without one
    sound: bool  # whether the catalog begins as it must
    entries: tuple[CatalogEntry, ...]  # what is in the catalog
    record: bytes  # the first sector: of the boot record or all zeros
    slices: tuple[BootExtent, ...]  # partitions in the boot record; empty without one
    gpt: bool  # whether there is a GUID partition table


def describe(path: Path) -> IsoBoot:
    """Read what firmware finds on an ISO image."""
    try:
        with path.open("rb") as file:
            return _describe(path, file)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def _describe(path: Path, file: BinaryIO) -> IsoBoot:
    size = file.seek(0, os.SEEK_END)
    volume, catalog = None, None
    for sector in descriptors(file):
        if sector[0] == PRIMARY and volume is None:
            volume = volume_size(sector)
        elif sector[0] == BOOT_RECORD and sector.startswith(_EL_TORITO, 7):
            (start,) = struct.unpack_from("<I", sector, 71)
            catalog = start * SECTOR
    if volume is None:
        raise ConfigError(f"{path} is no ISO 9660 image: it has no volume descriptor")
    table = b"" if catalog is None else _read(file, catalog, _CATALOG_MAX)
    record = _read(file, 0, isohybrid.SECTOR)
    return IsoBoot(
        size=size,
        volume=volume,
        catalog=catalog,
        sound=_is_sound(table),
        entries=_entries(table) if _is_sound(table) else (),
        record=record,
        slices=_slices(record),
        gpt=_read(file, isohybrid.SECTOR, len(_GPT)) == _GPT,
    )


def _is_sound(table: bytes) -> bool:
    """Whether a catalog begins with a validation entry, whose 16-bit words add up to 0."""
    if len(table) < 64 or table[0] != 1 or table[30:32] != b"\x55\xaa":
        return False
    words: tuple[int, ...] = struct.unpack_from("<16H", table)
    return sum(words) & 0xFFFF == 0


def _entries(table: bytes) -> tuple[CatalogEntry, ...]:
    found = [_entry(table[32:64], table[1])]
    position = 64
    while position + 32 <= len(table) and table[position] in {0x90, 0x91}:
        header = table[position : position + 32]
        (count,) = struct.unpack_from("<H", header, 2)
        position += 32
        while count and position + 32 <= len(table):
            found.append(_entry(table[position : position + 32], header[1]))
            position += 32
            count -= 1
            while position + 32 <= len(table) and table[position] == 0x44:  # more about the entry before
                position += 32
        if header[0] == 0x91:  # the last section
            break
    return tuple(found)


def _entry(entry: bytes, platform: int) -> CatalogEntry:
    sectors, start = struct.unpack_from("<HI", entry, 6)
    return CatalogEntry(
        platform=_PLATFORMS.get(platform, f"{platform:#x}"),
        bootable=entry[0] == 0x88,
        emulation=bool(entry[1] & 0xF),
        offset=start * SECTOR,
        size=sectors * isohybrid.SECTOR,
    )


def _slices(record: bytes) -> tuple[BootExtent, ...]:
    if not record.endswith(isohybrid.SIGNATURE):
        return ()
    found = []
    for number in range(4):
        entry = isohybrid.PARTITION.unpack_from(record, isohybrid.TABLE + 16 * number)
        active, _, kind, _, start, length = entry
        if length:
            found.append(
                BootExtent(kind, active == 0x80, start * isohybrid.SECTOR, length * isohybrid.SECTOR)
            )
    return tuple(found)


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
