"""Partition tables: written by sfdisk, MBRs read by it, GPTs here.

GPTs have sectors of 512 or of 4096 bytes. Their format, and the order in which the two copies count: UEFI
specification, 5.3; the checks are those of the kernel's block/partitions/efi.c.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO, Literal
from uuid import UUID

import msgspec

from harness.core import programs
from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SECTOR = 512
_AGAIN = "fetch or build it again"
SIGNATURE = b"EFI PART"
SECTORS = (512, 4096)
# Signature, revision, size, checksum; place, the other copy's, first and last usable sector, disk; entries.
_HEADER = struct.Struct("<8sIII4xQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_ENTRIES_MAX = 1 << 20  # bytes; 128 entries of 128 bytes are usual
_BIOS_BOOTABLE = 1 << 2
OPTIONS = ("--quiet", "--no-reread", "--no-tell-kernel", "--wipe=never")  # of sfdisk, for a file

# Types as sfdisk names them: MBR bytes in hex, GPT's UUIDs (Discoverable Partitions Specification).
_TYPES = {
    ("mbr", "linux"): "83",
    ("mbr", "swap"): "82",
    ("gpt", "linux"): "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    ("gpt", "swap"): "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
}


class Partition(msgspec.Struct, frozen=True):
    """A partition of a disk."""

    number: int  # from 1 on, as in the device's name
    offset: int  # first byte
    size: int  # in bytes
    type: str  # its type, as sfdisk names it: two hex digits of an MBR, a UUID of a GPT
    uuid: str = ""  # GPT: its UUID; "" in an MBR
    bootable: bool = False  # whether an MBR says that it is active, or a GPT that BIOSes may boot it


class Table(msgspec.Struct, frozen=True):
    """A partition table."""

    label: str  # "mbr" or "gpt"
    id: str  # the disk's identifier: "0x" and 8 hex digits, or a UUID
    partitions: tuple[Partition, ...]  # in the order of their numbers
    sector: int = SECTOR  # bytes of a sector
    problem: str = ""  # what is wrong with it although it can be read; or ""
    end: int = 0  # the byte behind the disk, as a GPT says


class New(msgspec.Struct, frozen=True):
    """A partition that is to be made."""

    offset: int  # first byte, a multiple of 512
    size: int  # in bytes, a multiple of 512
    type: Literal["linux", "swap"]  # "linux" or "swap"
    uuid: UUID  # its UUID in a GPT
    bootable: bool = False  # whether it is marked for the BIOS


def write(path: Path, table: str) -> None:
    """Write a partition table, as `commands` says it, into a file that is as large as the disk."""
    programs.output(["sfdisk", *OPTIONS, str(path)], package="fdisk", text=table)


def commands(label: str, disk: UUID, partitions: Sequence[New]) -> str:
    """What sfdisk reads to write a partition table, "mbr" or "gpt".

    Partitions come in the order of their numbers. An MBR takes the first 32 bits of the disk's UUID.
    """
    lines = [
        f"label: {'dos' if label == 'mbr' else label}",
        f"label-id: {f'0x{disk.hex[:8]}' if label == 'mbr' else disk}",
        "unit: sectors",
    ]
    for number, part in enumerate(partitions, start=1):
        line = f"{number}: start={part.offset // SECTOR}, size={part.size // SECTOR}"
        line += f", type={_TYPES[label, part.type]}"
        if label == "gpt":
            line += f", uuid={part.uuid}" + (', attrs="LegacyBIOSBootable"' if part.bootable else "")
        elif part.bootable:
            line += ", bootable"
        lines.append(line)
    return "\n".join(lines) + "\n"


class _Row(msgspec.Struct, frozen=True):
    node: str
    start: int
    size: int
    type: str
    bootable: bool = False


class _Rows(msgspec.Struct, frozen=True):
    label: str
    device: str
    id: str = ""
    partitions: tuple[_Row, ...] = ()


class _Dump(msgspec.Struct, frozen=True):
    partitiontable: _Rows


def read(path: Path) -> Table:
    """Read the partition table of a disk image."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        table = _gpt(path, file, size) if is_protective(_read(file, 0, SECTOR)) else _mbr(path)
    for each in table.partitions:
        if each.offset + each.size > size:
            raise ConfigError(
                f"{path}: partition {each.number} ends at byte {each.offset + each.size}, the image at byte "
                f"{size}",
                hint="the image is cut off, or its partition table is damaged",
            )
    return table


def is_protective(sector: bytes) -> bool:
    """Whether an MBR has a partition that stands for a GPT, without which no kernel looks for one."""
    return sector[510:512] == b"\x55\xaa" and 0xEE in sector[446 + 4 : 510 : 16]


def read_gpt(file: BinaryIO) -> Table | str:
    """Read the table of a disk: the copy at its beginning or, if that is damaged, the one at its end.

    Returns:
        The table, or why there is none, to follow "its GPT".
    """
    size = file.seek(0, os.SEEK_END)
    problem = "is missing: neither the second sector nor the last one begins with EFI PART"
    for sector in SECTORS:
        first, last = _copy(file, sector, sector), _copy(file, size - sector, sector)
        if isinstance(first, Table):
            wrong = f"the copy at the end {last}" if isinstance(last, str) and first.end <= size else ""
            return msgspec.structs.replace(first, problem=wrong)
        if isinstance(last, Table):
            return msgspec.structs.replace(last, problem=f"the copy at the beginning {first}")
        if "no EFI PART" not in first:
            problem = first
    return problem


def _copy(file: BinaryIO, offset: int, sector: int) -> Table | str:
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
            found.append(Partition(number + 1, *extent, _uuid(kind).upper(), _uuid(uuid), bootable))
    end = (max(own, other, last) + 1) * sector
    return Table("gpt", _uuid(disk).upper(), tuple(found), sector, end=end)


def _uuid(data: bytes) -> str:
    return str(UUID(bytes_le=data))


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    if offset < 0:
        return b""
    file.seek(offset)
    return file.read(size)


def _gpt(path: Path, file: BinaryIO, size: int) -> Table:
    found = read_gpt(file)
    if isinstance(found, str):
        raise ConfigError(f"{path} is a disk with a GPT, and its GPT {found}", hint=_AGAIN)
    if found.end > size:
        raise ConfigError(
            f"{path} is cut off: it has {size} bytes, and its GPT is for a disk of {found.end}", hint=_AGAIN
        )
    return found


def _mbr(path: Path) -> Table:
    result = programs.call(["sfdisk", "--json", str(path)], package="fdisk")
    if result.returncode != 0:
        reason = " ".join(result.stderr.split()) or f"sfdisk ended with status {result.returncode}"
        raise ConfigError(f"{path} has no partition table that can be read: {reason}")
    try:
        found = msgspec.json.decode(result.stdout, type=_Dump).partitiontable
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} has a partition table that makes no sense: {error}") from None
    if found.label != "dos":
        raise ConfigError(f"{path} has a partition table of the kind {found.label}; known are MBR and GPT")
    partitions = [
        Partition(
            int(row.node[len(found.device) :].lstrip("p")),
            row.start * SECTOR,
            row.size * SECTOR,
            row.type,
            bootable=row.bootable,
        )
        for row in found.partitions
    ]
    return Table("mbr", found.id, tuple(sorted(partitions, key=lambda each: each.number)))
