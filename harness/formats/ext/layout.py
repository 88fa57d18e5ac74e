"""The layout of our ext2, ext3 and ext4 filesystems.

The format is described by the kernel's Documentation/filesystems/ext4/ and fs/ext4/ext4.h. The disk is cut
into groups of as many blocks as one bitmap block has bits. Each group begins with what describes it: in some,
a copy of the superblock and of all group descriptors, then two bitmaps, then a part of the inode table.
Everything behind that is for content.

Our layout is pinned here and depends on nothing but kind, size and number of files, so that an image is the
same on every host.
"""

from __future__ import annotations

import struct
from functools import cached_property

import google_crc32c
import msgspec

_ALL = 0xFFFFFFFF
START = _ALL  # what the checksum of something begins with


def crc32c(seed: int, data: bytes) -> int:
    """Continue a CRC-32C as the kernel does, without the usual inversions at both ends."""
    return int(google_crc32c.extend(seed ^ _ALL, data)) ^ _ALL


def seed_of(filesystem: int, number: int, generation: int = 0) -> int:
    """What the checksums of a file begin with, from those of the filesystem and its inode."""
    return crc32c(filesystem, struct.pack("<II", number, generation))


BLOCK = 4096  # bytes; the page size of x86, and what every kernel mounts
GROUP = 8 * BLOCK  # blocks in a group
ROOT, JOURNAL, LOST_FOUND, FIRST = 2, 8, 11, 12  # inode numbers; those below 11 are reserved
_BYTES_PER_INODE = 16384  # of the filesystem, as mke2fs has it: there is room for what a guest adds
_WORTH_A_GROUP = 50  # blocks of content without which a last group is left out, as mke2fs does
_JOURNAL_LEAST = 1024  # blocks; the kernel mounts no smaller one (JBD2_MIN_JOURNAL_BLOCKS)


class Kind(msgspec.Struct, frozen=True):
    """A kind of filesystem: what a kernel must know to mount it, and its limits."""

    name: str  # "ext2", "ext3" or "ext4"
    compat: int  # features that a kernel may ignore
    incompat: int  # features without which a kernel must not mount it
    ro_compat: int  # features without which a kernel must not write to it
    inode_size: int  # bytes of an inode
    descriptor_size: int  # bytes of a group descriptor
    links_max: int  # most links of a file (fs/ext4/ext4.h, EXT4_LINK_MAX; fs/ext2/ext2.h, EXT2_LINK_MAX)
    size_max: int  # most bytes of a file: 2 TiB of sectors that 32 bits can count, 16 TiB of mapped blocks

    @property
    def has_journal(self) -> bool:
        """Whether it has a journal where there is room for one."""
        return bool(self.compat & HAS_JOURNAL)

    @property
    def has_extents(self) -> bool:
        """Whether files are mapped by extents, and not by indirect blocks."""
        return bool(self.incompat & EXTENTS)

    @property
    def has_checksums(self) -> bool:
        """Whether metadata bear CRC-32C checksums."""
        return bool(self.ro_compat & METADATA_CSUM)


# Features: fs/ext4/ext4.h.
HAS_JOURNAL, _EXT_ATTR, _DIR_INDEX = 0x4, 0x8, 0x20
_FILETYPE, EXTENTS, _64BIT = 0x2, 0x40, 0x80
SPARSE_SUPER, _LARGE_FILE, _HUGE_FILE, DIR_NLINK = 0x1, 0x2, 0x8, 0x20
_EXTRA_ISIZE, METADATA_CSUM = 0x40, 0x400

# ext4 is for Linux 4.9 and newer; ext3 for 2.6; ext2 for small or old systems, hence its small inodes.
_COMPAT3 = HAS_JOURNAL | _EXT_ATTR | _DIR_INDEX
_RO_COMPAT2 = SPARSE_SUPER | _LARGE_FILE
_INCOMPAT4 = _FILETYPE | EXTENTS | _64BIT
_RO_COMPAT4 = _RO_COMPAT2 | _HUGE_FILE | DIR_NLINK | _EXTRA_ISIZE | METADATA_CSUM
KINDS = {
    "ext2": Kind("ext2", 0, _FILETYPE, _RO_COMPAT2, 128, 32, 32000, 2 << 40),
    "ext3": Kind("ext3", _COMPAT3, _FILETYPE, _RO_COMPAT2, 256, 32, 32000, 2 << 40),
    "ext4": Kind("ext4", _COMPAT3, _INCOMPAT4, _RO_COMPAT4, 256, 64, 65000, 16 << 40),
}


class Layout(msgspec.Struct, frozen=True, dict=True):
    """A filesystem's blocks."""

    kind: Kind  # what kind it is
    blocks: int  # blocks of the filesystem; up to a group's head may be left over at the end of its place
    inodes_per_group: int  # inodes of each group
    journal: int  # blocks of the journal; 0 for none

    @property
    def groups(self) -> int:
        """Number of groups."""
        return -(-self.blocks // GROUP)

    @property
    def inodes(self) -> int:
        """Number of inodes."""
        return self.groups * self.inodes_per_group

    @property
    def table_blocks(self) -> int:
        """Blocks of each group's part of the inode table."""
        return self.inodes_per_group * self.kind.inode_size // BLOCK

    @property
    def descriptor_blocks(self) -> int:
        """Blocks of the table of group descriptors."""
        return -(-self.groups * self.kind.descriptor_size // BLOCK)

    def has_superblock(self, group: int) -> bool:
        """Whether a group begins with a superblock."""
        return is_sparse(group)

    def bitmaps(self, group: int) -> int:
        """The block of a group's block bitmap; that of its inodes and its inode table follow."""
        copies = 1 + self.descriptor_blocks if self.has_superblock(group) else 0
        return group * GROUP + copies

    def table(self, group: int) -> int:
        """The first block of a group's part of the inode table."""
        return self.bitmaps(group) + 2

    def content(self, group: int) -> range:
        """The blocks of a group that are for content."""
        return range(self.table(group) + self.table_blocks, min((group + 1) * GROUP, self.blocks))

    @cached_property
    def room(self) -> int:
        """Blocks for content in all groups."""
        return sum(len(self.content(group)) for group in range(self.groups))


def lay_out(kind: Kind, size: int, inodes: int) -> Layout | None:
    """Lay out a filesystem in so many bytes, for so many inodes, the reserved ones included.

    None where there is no room for a filesystem at all, or for that many inodes.
    """
    blocks = size // BLOCK
    journal = _journal(blocks) if kind.has_journal else 0
    # A guest can add an eighth, and at least some.
    inodes = max(size // _BYTES_PER_INODE, inodes + inodes // 8 + 16)
    per_block = BLOCK // kind.inode_size
    if kind.has_journal and not journal and not kind.has_extents:
        return None  # it would be an ext2
    while groups := -(-blocks // GROUP):
        per_group = -(-inodes // (groups * per_block)) * per_block
        if per_group > GROUP:  # a bitmap block has no more bits
            return None
        layout = Layout(kind, blocks, per_group, journal)
        if len(layout.content(groups - 1)) >= (_WORTH_A_GROUP if groups > 1 else 1):
            return layout
        blocks = (groups - 1) * GROUP
    return None


def _journal(blocks: int) -> int:
    """Size of the journal in blocks: a thirty-second of the filesystem, in powers of two, to 64 MiB."""
    if blocks < 2 * _JOURNAL_LEAST:
        return 0
    return max(_JOURNAL_LEAST, min(1 << (blocks // 32).bit_length() - 1, 16384))


_SPARSE = {0, 1, *(base**power for base in (3, 5, 7) for power in range(1, 22))}


def is_sparse(group: int) -> bool:
    """Whether a group begins with a superblock by sparse_super: 0, 1 and the powers of 3, 5 and 7 do."""
    return group in _SPARSE
