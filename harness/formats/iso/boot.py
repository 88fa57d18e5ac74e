"""Boot structures of an ISO image: descriptors, El Torito, boot record.

Formats: ECMA-119 (8.4) for volume descriptors; "El Torito" Bootable CD-ROM Format Specification 1.0 for the
catalog, with the platform 0xEF of the UEFI specification (13.3.2.1). A BIOS and UEFI start the image from a
disk or stick by the boot record in front. Its layout is that of SYSLINUX (utils/isohybrid.c): 432 bytes of
code, the place of ISOLINUX in sectors of 512 bytes, the disk's number, and a partition table as on every PC.
The first partition is all of the image; the second is the EFI system partition, which lies inside it. UEFI
refuses tables with partitions that overlap, except those of the type 0, so the first one has it.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.core.errors import ConfigError, explaining
from harness.formats.iso.records import BOOT_RECORD, PRIMARY, SECTOR, descriptors, volume_size

if TYPE_CHECKING:
    from pathlib import Path

DISK_SECTOR = 512
CODE_SIZE = 432
EFI_SYSTEM_TYPE = 0xEF
TABLE = 446  # where the partition table begins
PARTITION = struct.Struct("<B3sB3sII")  # active, first sector (CHS), type, last sector (CHS), start, length
SIGNATURE = b"\x55\xaa"

_HEADS, _SECTORS = 64, 32  # of the made-up geometry: a cylinder is 1 MiB
CYLINDER = _HEADS * _SECTORS * DISK_SECTOR
_LAST_CYLINDER = 1023
_BEYOND = b"\xfe\xff\xff"  # a place that has no form in cylinders, heads and sectors
_WHOLE_IMAGE_TYPE = 0

_EL_TORITO = b"EL TORITO SPECIFICATION"
_CATALOG_MAX = 64 * 32  # bytes; catalogs of two to five entries of 32 bytes are all that is seen
_PLATFORMS = {0: "BIOS", 1: "PowerPC", 2: "Mac", 0xEF: "UEFI"}
_GPT = b"EFI PART"


def boot_record(code: bytes, *, isolinux: int, number: int, size: int, efi: tuple[int, int]) -> bytes:
    """The first sector of a hybrid image.

    Args:
        code: What the BIOS runs, 432 bytes: `isohdpfx.bin` of SYSLINUX.
        isolinux: Where isolinux.bin begins, in bytes.
        number: Number of the disk, 32 bits.
        size: Size of the image in bytes, a multiple of a cylinder.
        efi: Where the EFI system partition begins, and its size, in bytes.
    """
    last = min(size // CYLINDER, _LAST_CYLINDER + 1) - 1
    end = bytes([_HEADS - 1, _SECTORS | last >> 2 & 0xC0, last & 0xFF])
    partitions = [
        PARTITION.pack(0x80, b"\0\1\0", _WHOLE_IMAGE_TYPE, end, 0, size // DISK_SECTOR),
        PARTITION.pack(0, _BEYOND, EFI_SYSTEM_TYPE, _BEYOND, efi[0] // DISK_SECTOR, efi[1] // DISK_SECTOR),
        bytes(2 * PARTITION.size),
    ]
    place = struct.pack("<IIIH", isolinux // DISK_SECTOR, 0, number, 0)
    return code + place + b"".join(partitions) + SIGNATURE


class CatalogEntry(msgspec.Struct, frozen=True):
    """Something that firmware can start."""

    platform: str  # "BIOS", "UEFI", "PowerPC", "Mac" or a number
    bootable: bool  # whether the firmware may start it
    offset: int  # where it lies in the image, in bytes
    size: int  # bytes that the firmware loads


class BootExtent(msgspec.Struct, frozen=True):
    """A partition of the boot record."""

    type: int  # its type byte
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
    with explaining(ConfigError, f"cannot read {path}"), path.open("rb") as file:
        return _describe(path, file)


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
    record = _read(file, 0, DISK_SECTOR)
    return IsoBoot(
        size=size,
        volume=volume,
        catalog=catalog,
        sound=_is_sound(table),
        entries=_entries(table) if _is_sound(table) else (),
        record=record,
        slices=_slices(record),
        gpt=_read(file, DISK_SECTOR, len(_GPT)) == _GPT,
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
        offset=start * SECTOR,
        size=sectors * DISK_SECTOR,
    )


def _slices(record: bytes) -> tuple[BootExtent, ...]:
    if not record.endswith(SIGNATURE):
        return ()
    found = []
    for number in range(4):
        _, _, kind, _, start, length = PARTITION.unpack_from(record, TABLE + 16 * number)
        if length:
            found.append(BootExtent(kind, start * DISK_SECTOR, length * DISK_SECTOR))
    return tuple(found)


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
