"""Superblock, group descriptors, bitmaps, and first block of the journal.

Format: super.rst, group_descr.rst, bitmaps.rst, journal.rst and checksums.rst in the kernel's
Documentation/filesystems/ext4/. Fields that are not named here are 0. Blocks and inodes are given out in
order, so each bitmap is ones and then zeros.
"""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from harness.formats.ext.layout import BLOCK, GROUP, HAS_JOURNAL, JOURNAL, START, Layout, crc32c

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from harness.formats.ext.inode import Inode

_DESCRIPTOR = struct.Struct("<IIIHHHHIHHHH")  # lower halves, in the order of `_descriptor`, and a checksum
_MASKS = (*[0xFFFFFFFF] * 3, *[0xFFFF] * 4, 0xFFFFFFFF, *[0xFFFF] * 3)
_DESCRIPTOR_HIGH = struct.Struct("<IIIHHHHIHHI")  # upper halves, but those of unused inodes stand earlier
_INODE_TABLE_ZEROED = 0x4


class Identity(msgspec.Struct, frozen=True, dict=True):
    """What tells a filesystem from others."""

    label: bytes  # at most 16 bytes
    uuid: UUID  # its UUID; the seed of directory hashes as well
    mtime: int  # when it was made, in seconds since 1970

    @cached_property
    def seed(self) -> int:
        """What all checksums of the filesystem's metadata begin with."""
        return crc32c(START, self.uuid.bytes)


def describe(
    layout: Layout,
    identity: Identity,
    *,
    used_blocks: int,
    used_inodes: int,
    directories: Sequence[int],
    journal: Inode | None,
) -> Iterator[tuple[int, bytes]]:
    """All that describes a filesystem.

    Yields:
        Bytes and where they stand, counted from the filesystem's first byte.
    """
    free_blocks, free_inodes = layout.room - used_blocks, layout.inodes - used_inodes
    table = b""
    for group in range(layout.groups):
        content = layout.content(group)
        blocks_here = min(used_blocks, len(content))
        inodes_here = min(used_inodes, layout.inodes_per_group)
        used_blocks -= blocks_here
        used_inodes -= inodes_here
        first = group * GROUP
        bitmaps = (
            _bitmap(content.start + blocks_here - first, min(layout.blocks - first, GROUP)),
            _bitmap(inodes_here, layout.inodes_per_group),
        )
        yield layout.bitmaps(group) * BLOCK, b"".join(bitmaps)
        table += _descriptor(
            layout,
            group,
            identity.seed,
            free_blocks=len(content) - blocks_here,
            free_inodes=layout.inodes_per_group - inodes_here,
            directories=directories[group],
            bitmaps=bitmaps,
        )
    superblock = _superblock(layout, identity, free_blocks, free_inodes, journal)
    for group in range(layout.groups):
        if layout.has_superblock(group):
            start = group * GROUP * BLOCK
            yield start + (0 if group else 1024), _copy_for(group, superblock, layout)
            yield start + BLOCK, table


def _bitmap(ones: int, end: int) -> bytes:
    """Ones from the first bit on; what lies behind the end is never free."""
    bits = (1 << ones) - 1 | (1 << 8 * BLOCK) - (1 << end)
    return bits.to_bytes(BLOCK, "little")


def _descriptor(
    layout: Layout,
    group: int,
    seed: int,
    *,
    free_blocks: int,
    free_inodes: int,
    directories: int,
    bitmaps: tuple[bytes, bytes],
) -> bytes:
    checksums = layout.kind.has_checksums
    bitmap_block = layout.bitmaps(group)
    values = [
        bitmap_block,
        bitmap_block + 1,
        layout.table(group),
        free_blocks,
        free_inodes,
        directories,
        _INODE_TABLE_ZEROED if checksums else 0,
        0,  # snapshots
        crc32c(seed, bitmaps[0]) if checksums else 0,
        crc32c(seed, bitmaps[1][: layout.inodes_per_group // 8]) if checksums else 0,
        free_inodes if checksums else 0,  # at the end of the table, never used yet
    ]
    data = _DESCRIPTOR.pack(*(value & _mask for value, _mask in zip(values, _MASKS, strict=True)), 0)
    if layout.kind.descriptor_size > _DESCRIPTOR.size:
        bits = (mask.bit_length() for mask in _MASKS)
        high = [value >> shift for value, shift in zip(values, bits, strict=True)]
        del high[6]  # flags have no upper half
        data += _DESCRIPTOR_HIGH.pack(*high[:6], high[9], *high[6:9], 0)
    if checksums:
        checksum = crc32c(crc32c(seed, struct.pack("<I", group)), data) & 0xFFFF
        data = data[:30] + struct.pack("<H", checksum) + data[32:]
    return data


def _superblock(
    layout: Layout, identity: Identity, free_blocks: int, free_inodes: int, journal: Inode | None
) -> bytearray:
    """The first superblock, without its checksum."""
    kind, time = layout.kind, identity.mtime & 0xFFFFFFFF
    compat = kind.compat if journal else kind.compat & ~HAS_JOURNAL
    fields: list[tuple[int, str, tuple[int | bytes, ...]]] = [
        (0x00, "II", (layout.inodes, layout.blocks & 0xFFFFFFFF)),
        (0x0C, "II", (free_blocks & 0xFFFFFFFF, free_inodes)),
        (0x18, "II", (2, 2)),  # blocks and clusters of 1024 << 2 bytes
        (0x20, "III", (GROUP, GROUP, layout.inodes_per_group)),
        (0x30, "I", (time,)),  # last write
        (0x34, "HHHHH", (0, 0xFFFF, 0xEF53, 1, 1)),  # never mounted, no limit; magic; clean; errors: continue
        (0x40, "I", (time,)),  # last check
        (0x4C, "I", (1,)),  # revision
        (0x54, "IH", (11, kind.inode_size)),  # first inode that is not reserved
        (
            0x5C,
            "III",
            (compat, kind.incompat, kind.ro_compat),
        ),
        (0x68, "16s16s", (identity.uuid.bytes, identity.label)),
        (0xEC, "16sB", (identity.uuid.bytes, 1)),  # seed and kind of directory hashes: half MD4
        (0x108, "I", (time,)),  # made
        (0x160, "I", (1,)),  # directory hashes take letters as signed numbers
    ]
    if kind.inode_size > 128:
        fields.append((0x15C, "HH", (32, 32)))  # what inodes have beyond 128 bytes, at least and wanted
    if kind.descriptor_size > 32:
        fields.append((0xFE, "H", (kind.descriptor_size,)))
        fields.append((0x150, "III", (layout.blocks >> 32, 0, free_blocks >> 32)))
    if kind.has_checksums:
        fields.append((0x175, "B", (1,)))  # CRC-32C
    if journal:
        fields.append((0xE0, "I", (JOURNAL,)))
        fields.append((0xFD, "B", (1,)))  # a copy of the journal's inode follows
        fields.append((0x10C, "60sII", (journal.map, journal.size >> 32, journal.size & 0xFFFFFFFF)))
    data = bytearray(1024)
    for offset, form, values in fields:
        struct.pack_into(f"<{form}", data, offset, *values)
    return data


def _copy_for(group: int, superblock: bytearray, layout: Layout) -> bytes:
    struct.pack_into("<H", superblock, 0x5A, group)
    if layout.kind.has_checksums:
        struct.pack_into("<I", superblock, 0x3FC, crc32c(START, bytes(superblock[:0x3FC])))
    return bytes(superblock)


def journal_start(layout: Layout, identity: Identity) -> bytes:
    """The first block of an empty journal; the rest is zeros (linux/jbd2.h, all numbers big-endian)."""
    header = struct.pack(">III", 0xC03B3998, 4, 0)  # magic, superblock version 2
    # block size, blocks, first block of the log; first commit, where the log begins (nowhere)
    log = struct.pack(">IIIII", BLOCK, layout.journal, 1, 1, 0)
    return (header + log).ljust(0x30, b"\0") + identity.uuid.bytes + struct.pack(">I", 1)  # one user
