"""Inodes and directory blocks, as bytes.

Format: the kernel's Documentation/filesystems/ext4/inodes.rst, directory.rst and checksums.rst.
"""

from __future__ import annotations

import stat
import struct
from typing import TYPE_CHECKING

import msgspec

from harness.formats.ext.checksum import crc32c, seed_of
from harness.formats.ext.layout import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.formats.ext.layout import Kind

# mode uid size atime ctime mtime dtime gid links blocks flags version, block map,
# generation acl size_high fragment, blocks_high acl_high uid_high gid_high checksum reserved
INODE = struct.Struct("<HHIIIIIHHIII60sIIIIHHHHHH")
# extra_isize checksum_high ctime_extra mtime_extra atime_extra crtime crtime_extra version_high projid
_EXTRA = struct.Struct("<HHIIIIIII")
_USES_EXTENTS = 0x80000
FAST_LINK = 60  # a symbolic link's target that is shorter stands in the inode
_TAIL = struct.Struct("<IHBBI")  # no inode, length 12, no name, type 0xDE, checksum
# Types of files, as directories tell them.
TYPES = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFSOCK: 6,
    stat.S_IFLNK: 7,
}


class Inode(msgspec.Struct, frozen=True):
    """What an inode says."""

    number: int  # its number
    mode: int  # full `st_mode`
    uid: int  # owner, 32 bits
    gid: int  # group, 32 bits
    links: int  # link count; 1 in a directory with more than can be counted
    size: int  # bytes of content, or of a link's target
    blocks: int  # blocks that content and map take
    map: bytes  # 60 bytes: what maps the content, a link's target, or a device's number
    mapped: bool  # whether it maps content, even if that is empty

    def encode(self, kind: Kind, seed: int, mtime: int) -> bytes:
        """The inode's bytes."""
        time = mtime & 0xFFFFFFFF
        sectors = self.blocks * (BLOCK // 512)
        flags = _USES_EXTENTS if kind.has_extents and self.mapped else 0
        data = INODE.pack(
            *(self.mode, self.uid & 0xFFFF, self.size & 0xFFFFFFFF, time, time, time, 0),
            *(self.gid & 0xFFFF, self.links, sectors & 0xFFFFFFFF, flags, 0, self.map),
            *(0, 0, self.size >> 32, 0, sectors >> 32, 0, self.uid >> 16, self.gid >> 16, 0, 0),
        )
        if kind.inode_size > INODE.size:
            later = _epochs_later(mtime)
            data += _EXTRA.pack(_EXTRA.size, 0, later, later, later, time, later, 0, 0)
        data = data.ljust(kind.inode_size, b"\0")
        if kind.has_checksums:
            checksum = crc32c(seed_of(seed, self.number), data).to_bytes(4, "little")
            data = data[:124] + checksum[:2] + data[126:130] + checksum[2:] + data[132:]
        return data


def _epochs_later(mtime: int) -> int:
    """How often the 32 bits of a time, taken as a signed number, must be carried on (i_*time_extra)."""
    return (mtime + (1 << 31) >> 32) & 3


def device_map(major: int, minor: int) -> bytes:
    """A device's number as an inode has it: in the old form where it fits (linux/kdev_t.h)."""
    if major < 256 and minor < 256:
        return struct.pack("<I", major << 8 | minor).ljust(60, b"\0")
    return struct.pack("<II", 0, minor & 0xFF | major << 8 | (minor & ~0xFF) << 12).ljust(60, b"\0")


class Name(msgspec.Struct, frozen=True):
    """A name in a directory."""

    name: bytes  # at most 255 bytes
    number: int  # its inode
    mode: int  # the inode's mode; only the type matters


def directory_blocks(names: Iterable[Name], kind: Kind, seed: int, *, least: int = 1) -> Iterator[bytes]:
    """The content of a directory: a plain list, in the order of the names, "." and ".." among them."""
    room = BLOCK - (_TAIL.size if kind.has_checksums else 0)
    block: list[bytes] = []
    used = 0
    last = b""
    for name in names:
        size = 8 + len(name.name) + 3 & ~3
        if used + size > room:
            yield _finish(block, last, room - used + len(last), room, seed)
            least -= 1
            block, used, last = [], 0, b""
        if last:
            block.append(last)
        last = struct.pack("<IHBB", name.number, size, len(name.name), TYPES[stat.S_IFMT(name.mode)])
        last += name.name.ljust(size - 8, b"\0")
        used += size
    yield _finish(block, last, room - used + len(last), room, seed)
    for _ in range(1, least):
        yield _finish([], bytes(8), room, room, seed)


def _finish(block: list[bytes], last: bytes, length: int, room: int, seed: int) -> bytes:
    """Stretch the last entry over what is left, and add the checksum."""
    data = b"".join(block) + last[:4] + length.to_bytes(2, "little") + last[6:]
    data = data.ljust(room, b"\0")
    return data if room == BLOCK else data + _TAIL.pack(0, _TAIL.size, 0, 0xDE, crc32c(seed, data))
