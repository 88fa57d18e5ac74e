"""The boot record of an ISO image on a disk or stick.

A BIOS and UEFI start the image by it.

The layout is that of SYSLINUX (utils/isohybrid.c): 432 bytes of code, the place of ISOLINUX in sectors of 512
bytes, the disk's number, and a partition table as on every PC. The first partition is all of the image; the
second is the EFI system partition, which lies inside it. UEFI refuses tables with partitions that overlap,
except those of the type 0, so the first one has it.
"""

from __future__ import annotations

import struct

SECTOR = 512
CODE_SIZE = 432
EFI_SYSTEM_TYPE = 0xEF
TABLE = 446  # where the partition table begins
PARTITION = struct.Struct("<B3sB3sII")  # active, first sector (CHS), type, last sector (CHS), start, length
SIGNATURE = b"\x55\xaa"

_HEADS, _SECTORS = 64, 32  # of the made-up geometry: a cylinder is 1 MiB
CYLINDER = _HEADS * _SECTORS * SECTOR
_LAST_CYLINDER = 1023
_BEYOND = b"\xfe\xff\xff"  # a place that has no form in cylinders, heads and sectors
_WHOLE_IMAGE_TYPE = 0


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
        PARTITION.pack(0x80, b"\0\1\0", _WHOLE_IMAGE_TYPE, end, 0, size // SECTOR),
        PARTITION.pack(0, _BEYOND, EFI_SYSTEM_TYPE, _BEYOND, efi[0] // SECTOR, efi[1] // SECTOR),
        bytes(2 * PARTITION.size),
    ]
    place = struct.pack("<IIIH", isolinux // SECTOR, 0, number, 0)
    return code + place + b"".join(partitions) + SIGNATURE
