"""What lies on a disk or partition, by its own bytes: for where udev's database is empty, and beside it.

Offsets and magic bytes are those of the formats' own headers; partitions are looked at one by one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from harness.flash.device import Content

if TYPE_CHECKING:
    from collections.abc import Iterator

# Enough for the fronts: the furthest is that of btrfs (64 KiB + 72).
_HEAD = 0x10100
_MD = b"\xfc\x4e\x2b\xa9"  # 0xa92b4efc, little-endian: md(4)
_DDF = b"\xde\x11\xde\x11"  # SNIA's common format of RAID controllers, in the last sector
_IMSM = b"Intel Raid ISM Cfg Sig. "  # Intel's, in the last but one
_ZFS_LABEL = 256 << 10  # there are two in front and two at the end, each with uberblocks in its upper half
_ZFS_UBERBLOCKS = (b"\x0c\xb1\xba\x00\0\0\0\0", b"\0\0\0\0\x00\xba\xb1\x0c")
_UBERBLOCK = 1 << 10

# Offset, magic, words, whether it is a part of something bigger or hides data.
_FRONT = (
    *((sector * 512, b"LABELONE", "LVM", True) for sector in range(4)),
    (0, b"LUKS\xba\xbe", "LUKS", True),
    (0, _MD, "RAID", True),
    (4096, _MD, "RAID", True),
    (4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", "bcache", True),
    (3, b"-FVE-FS-", "BitLocker", True),
    (0, b"bluestore block device", "Ceph", True),
    (0x438, b"\x53\xef", "ext", False),
    (0, b"XFSB", "xfs", False),
    (0x10040, b"_BHRfS_M", "btrfs", False),
    (0x8001, b"CD001", "iso9660", False),
    (3, b"NTFS    ", "ntfs", False),
    (3, b"EXFAT   ", "exfat", False),
    (82, b"FAT32   ", "vfat", False),
    (54, b"FAT1", "vfat", False),
    (4086, b"SWAPSPACE2", "swap", False),
    (512, b"EFI PART", "GPT", False),
)


def contents(name: str, descriptor: int, size: int) -> Iterator[Content]:
    """What is on a device that is open for reading.

    Raises:
        OSError: It cannot be read.
    """
    head = os.pread(descriptor, min(_HEAD, size), 0)
    found = {(words, member): None for at, magic, words, member in _FRONT if head.startswith(magic, at)}
    if _is_mbr(head) and ("GPT", False) not in found and ("vfat", False) not in found:
        found["MBR", False] = None
    found |= {(words, True): None for words in _at_the_end(descriptor, size)}
    if _is_zfs(descriptor, size):
        found["ZFS", True] = None
    for words, member in found:
        yield Content(name, words, member=member)


def _is_mbr(head: bytes) -> bool:
    """Whether there are partitions: each entry is active or not, and one at least has a type."""
    entries = [head[at : at + 16] for at in range(446, 510, 16)]
    signed = head[510:512] == b"\x55\xaa"
    return signed and all(entry[0] in {0, 0x80} for entry in entries) and any(entry[4] for entry in entries)


def _at_the_end(descriptor: int, size: int) -> Iterator[str]:
    if size < 128 << 10:
        return
    # Version 0.90 is 64 to 128 KiB before the end, version 1.0 is 8 to 12 KiB before it.
    for place in ((size & ~0xFFFF) - 0x10000, (size - 0x2000) & ~0xFFF):
        if os.pread(descriptor, 4, place) == _MD:
            yield "RAID"
    if os.pread(descriptor, 4, size - 512) == _DDF or os.pread(descriptor, 24, size - 1024) == _IMSM:
        yield "RAID"


def _is_zfs(descriptor: int, size: int) -> bool:
    if size < 4 * _ZFS_LABEL:
        return False
    whole = size - size % _ZFS_LABEL
    for label in (0, _ZFS_LABEL, whole - 2 * _ZFS_LABEL, whole - _ZFS_LABEL):
        upper = os.pread(descriptor, _ZFS_LABEL // 2, label + _ZFS_LABEL // 2)
        starts = {upper[at : at + 8] for at in range(0, len(upper), _UBERBLOCK)}
        if starts & set(_ZFS_UBERBLOCKS):
            return True
    return False
