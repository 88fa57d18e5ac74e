"""Superblocks of ext2, ext3 and ext4 filesystems, read and checked.

Format: the kernel's Documentation/filesystems/ext4/super.rst; names of features are those of e2fsprogs.
"""

from __future__ import annotations

import struct
from typing import BinaryIO
from uuid import UUID

import msgspec

from harness.core.errors import ConfigError
from harness.formats.ext.layout import HAS_JOURNAL, METADATA_CSUM, SPARSE_SUPER, START, crc32c, is_sparse

_START = 1024
_SIZE = 1024
_MAGIC = 0xEF53
_RECOVER, _META_BG, _64BIT, _CSUM_SEED = 0x4, 0x10, 0x80, 0x2000

_COMPAT = {
    0x1: "dir_prealloc", 0x2: "imagic_inodes", 0x4: "has_journal", 0x8: "ext_attr", 0x10: "resize_inode",
    0x20: "dir_index", 0x200: "sparse_super2", 0x400: "fast_commit", 0x800: "stable_inodes",
    0x1000: "orphan_file",
}  # fmt: skip
_INCOMPAT = {
    0x2: "filetype", 0x4: "needs_recovery", 0x10: "meta_bg", 0x40: "extent", 0x80: "64bit", 0x100: "mmp",
    0x200: "flex_bg", 0x400: "ea_inode", 0x2000: "metadata_csum_seed", 0x4000: "large_dir",
    0x8000: "inline_data", 0x10000: "encrypt", 0x20000: "casefold",
}  # fmt: skip
_RO_COMPAT = {
    0x1: "sparse_super", 0x2: "large_file", 0x8: "huge_file", 0x10: "uninit_bg", 0x20: "dir_nlink",
    0x40: "extra_isize", 0x100: "quota", 0x200: "bigalloc", 0x400: "metadata_csum", 0x1000: "read-only",
    0x2000: "project", 0x8000: "verity", 0x10000: "orphan_present",
}  # fmt: skip
# What neither ext2 nor ext3 has.
_EXT4_INCOMPAT = ~(0x2 | 0x4 | 0x10)
_EXT4_RO_COMPAT = ~(0x1 | 0x2)


class ExtError(ConfigError):
    """A filesystem that is damaged, cut off, of an unknown form, or none at all."""


class ExtFilesystem(msgspec.Struct, frozen=True):
    """What a filesystem says about itself."""

    kind: str  # "ext2", "ext3" or "ext4"
    label: str  # its label; "" for none
    uuid: str  # its UUID
    size: int  # in bytes
    block_size: int  # in bytes
    state: str  # "clean", "not cleanly unmounted" or "with errors"
    features: tuple[str, ...]  # by the names that e2fsprogs has for them


class Superblock(msgspec.Struct, frozen=True):
    """What reading a filesystem takes."""

    blocks: int  # number of blocks
    block_size: int  # bytes of each
    first_block: int  # the block that group 0 begins with
    blocks_per_group: int  # blocks of each group but the last
    inodes: int  # number of inodes
    inodes_per_group: int  # inodes of each group
    inode_size: int  # bytes of each
    descriptor_size: int  # bytes of a group descriptor
    # from which meta group on descriptors stand in the groups themselves; None: nowhere
    first_meta_group: int | None
    sparse: bool  # whether only some groups begin with a superblock
    seed: int | None  # what checksums of metadata begin with; None where there are none
    about: ExtFilesystem  # for people

    def has_superblock(self, group: int) -> bool:
        """Whether a group begins with a superblock."""
        return not self.sparse or is_sparse(group)


def read(file: BinaryIO, offset: int) -> Superblock:
    """Read the superblock of a filesystem that begins at a byte of a file."""
    file.seek(offset + _START)
    data = file.read(_SIZE)

    def wrong(what: str) -> ExtError:
        return ExtError(f"{getattr(file, 'name', 'the image')}, byte {offset + _START}: {what}")

    if len(data) < _SIZE or data[56:58] != _MAGIC.to_bytes(2, "little"):
        raise wrong("no ext2, ext3 or ext4 filesystem begins here")
    inodes, blocks = struct.unpack_from("<II", data, 0)
    first_block, log_size = struct.unpack_from("<II", data, 0x14)
    blocks_per_group, inodes_per_group = struct.unpack_from("<I4xI", data, 0x20)
    (revision,) = struct.unpack_from("<I", data, 0x4C)
    compat, incompat, ro_compat = struct.unpack_from("<III", data, 0x5C) if revision else (0, 0, 0)
    inode_size = struct.unpack_from("<H", data, 0x58)[0] if revision else 128
    descriptor_size = 32
    if incompat & _64BIT:
        (descriptor_size,) = struct.unpack_from("<H", data, 0xFE)
        blocks |= struct.unpack_from("<I", data, 0x150)[0] << 32
    block_size = 1024 << log_size if log_size <= 6 else 0
    if strange := incompat & ~sum(_INCOMPAT):
        raise wrong(f"the filesystem has features that are not known here (incompat 0x{strange:x})")
    for value, name, sound in (
        (1024 << min(log_size, 32), "bytes in a block", log_size <= 6),
        (inode_size, "bytes in an inode", _is_power_of_two(inode_size, 128, block_size)),
        (descriptor_size, "bytes in a group descriptor", _is_power_of_two(descriptor_size, 32, block_size)),
        (blocks_per_group, "blocks in a group", 0 < blocks_per_group <= 8 * block_size * 32768),
        (inodes_per_group, "inodes in a group", 0 < inodes_per_group <= 8 * block_size),
        (first_block, "as the first block", first_block <= 1),
        (blocks, "blocks", first_block < blocks <= 1 << 48),
    ):
        if not sound:
            raise wrong(f"the filesystem is damaged: it claims {value} {name}")
    if inodes * inode_size > blocks * block_size:
        raise wrong(f"the filesystem is damaged: {inodes} inodes do not fit into {blocks} blocks")
    if -(-(blocks - first_block) // blocks_per_group) * inodes_per_group != inodes:
        raise wrong(f"the filesystem is damaged: {inodes} inodes are not those of all groups")
    if ro_compat & METADATA_CSUM and crc32c(START, data[:0x3FC]) != struct.unpack_from("<I", data, 0x3FC)[0]:
        raise wrong("the superblock does not match its checksum")
    (meta_group,) = struct.unpack_from("<I", data, 0x104)
    return Superblock(
        blocks=blocks,
        block_size=block_size,
        first_block=first_block,
        blocks_per_group=blocks_per_group,
        inodes=inodes,
        inodes_per_group=inodes_per_group,
        inode_size=inode_size,
        descriptor_size=descriptor_size,
        first_meta_group=meta_group if incompat & _META_BG else None,
        sparse=bool(ro_compat & SPARSE_SUPER),
        seed=_seed(data, incompat) if ro_compat & METADATA_CSUM else None,
        about=_about(data, blocks * block_size, block_size, (compat, incompat, ro_compat)),
    )


def _seed(data: bytes, incompat: int) -> int:
    """What the checksums of all metadata begin with."""
    if incompat & _CSUM_SEED:
        return int(struct.unpack_from("<I", data, 0x270)[0])
    return crc32c(START, data[0x68:0x78])


def _is_power_of_two(number: int, least: int, most: int) -> bool:
    return least <= number <= most and not number & (number - 1)


def _about(data: bytes, size: int, block_size: int, features: tuple[int, int, int]) -> ExtFilesystem:
    compat, incompat, ro_compat = features
    kind = "ext3" if compat & HAS_JOURNAL else "ext2"
    if incompat & _EXT4_INCOMPAT or ro_compat & _EXT4_RO_COMPAT:
        kind = "ext4"
    (state,) = struct.unpack_from("<H", data, 0x3A)
    words = "clean" if state & 1 and not incompat & _RECOVER else "not cleanly unmounted"
    return ExtFilesystem(
        kind=kind,
        label=data[0x78:0x88].partition(b"\0")[0].decode("utf-8", "replace"),
        uuid=str(UUID(bytes=data[0x68:0x78])),
        size=size,
        block_size=block_size,
        state="with errors" if state & 2 else words,
        features=tuple(
            names.get(1 << bit, f"0x{1 << bit:x}")
            for names, bits in zip((_COMPAT, _INCOMPAT, _RO_COMPAT), features, strict=True)
            for bit in range(32)
            if bits >> bit & 1
        ),
    )
