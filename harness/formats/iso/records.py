"""Volume descriptors and directory records of ISO 9660 images, with Rock Ridge.

Formats: ECMA-119 (8.4, 9.1) for descriptors and records; SUSP 1.12 and RRIP 1.12 (IEEE P1281 and P1282) for
Rock Ridge; zisofs as in the kernel's fs/isofs/rock.h. Numbers are stored in both byte orders; the
little-endian ones count, as in the kernel.
"""

from __future__ import annotations

import calendar
import os
import struct
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECTOR = 2048
PRIMARY, BOOT_RECORD, _SUPPLEMENTARY, _TERMINATOR = 1, 0, 2, 255
_FIRST_DESCRIPTOR = 16  # in sectors
_DESCRIPTORS_MAX = 64
_JOLIET = (b"%/@", b"%/C", b"%/E")
_AREAS_MAX = 64  # continuation areas of one record; a real one has one or two
_AGAIN = "fetch or build it again"

# Length, blocks of attributes before the content, extent, size, date, flags, interleaving, length of name.
_RECORD = struct.Struct("<BBI4xI4x7sBBB4xB")
_IS_DIRECTORY, _IS_ASSOCIATED, _CONTINUES = 0x02, 0x04, 0x80


class IsoError(ConfigError):
    """An ISO image that is damaged, cut off, or none at all."""


class Zisofs(msgspec.Struct, frozen=True):
    """How a file is compressed."""

    algorithm: bytes  # b"pz"; other ones are not read here
    header: int  # bytes in front of the list of blocks
    block: int  # bytes of a block when it is unpacked
    size: int  # bytes of the file when it is unpacked


class RockRidge(msgspec.Struct):
    """What Rock Ridge says about a record."""

    name: bytes = b""  # the file's name; b"" where it has none
    mode: int | None = None  # full `st_mode`; None where it is not said
    owner: tuple[int, int] = (0, 0)  # user and group
    device: tuple[int, int] = (0, 0)  # major and minor number
    # a symbolic link's target, part by part; b"" first for the root
    components: list[bytes] = msgspec.field(default_factory=list)
    # the block of a directory that lies elsewhere because it was too deep; None for others
    child: int | None = None
    relocated: bool = False  # whether this is such a directory at its place elsewhere
    zisofs: Zisofs | None = None  # how it is compressed; None if it is not

    @property
    def target(self) -> str:
        """Where a symbolic link leads."""
        return os.fsdecode(b"/".join(self.components) or b"/" * bool(self.components))


class DirectoryRecord(msgspec.Struct, frozen=True):
    r"""An entry of a directory."""

    name: bytes  # as it is stored; b"\0" for the directory itself, b"\1" for the one above
    offset: int  # where the content begins, in bytes
    size: int  # bytes of content
    mtime: int  # seconds since 1970
    is_directory: bool  # whether it is one
    is_associated: bool  # whether it only belongs to another file (a resource fork), and is not shown
    is_interleaved: bool  # whether the content has gaps
    continues: bool  # whether the next record has more of the same file
    system_use: bytes  # what follows the name


def descriptors(file: BinaryIO) -> Iterator[bytes]:
    """The volume descriptors of an image, without the one that ends the list."""
    for number in range(_DESCRIPTORS_MAX):
        file.seek((_FIRST_DESCRIPTOR + number) * SECTOR)
        sector = file.read(SECTOR)
        if len(sector) < SECTOR or sector[1:6] != b"CD001" or sector[0] == _TERMINATOR:
            return
        yield sector


def volume_size(descriptor: bytes) -> int:
    """The bytes of a volume, as its descriptor says."""
    blocks, block = struct.unpack_from("<I44xH", descriptor, 80)
    return int(blocks * block)


class IsoSource:
    """An image that is read, and the names that its files are known by; the file is moved about in."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.size = file.seek(0, os.SEEK_END)
        self._file = file
        self._patience = 4 * self.size + (1 << 20)  # bytes that forged directories may make us read
        primary = joliet = None
        for each in descriptors(file):
            if each[0] == PRIMARY and primary is None:
                primary = each
            elif each[0] == _SUPPLEMENTARY and each[88:91] in _JOLIET and joliet is None:
                joliet = each
        if primary is None:
            raise IsoError(f"{path} is no ISO 9660 image: it has no volume descriptor", hint=_AGAIN)
        self.volume = volume_size(primary)
        (self.block,) = struct.unpack_from("<H", primary, 128)
        if self.block not in {512, 1024, SECTOR}:
            raise self.damaged(f"its volume descriptor says that a block has {self.block} bytes")
        self.root = self._record(primary[156:190])
        self._skip: int | None = None
        own = next(self.records(self.root, "the root"), None)
        self._skip = None if own is None else _skip_of(own.system_use)
        self.has_rock_ridge = self._skip is not None
        self.is_joliet = joliet is not None and not self.has_rock_ridge
        if joliet is not None and self.is_joliet:
            self.root = self._record(joliet[156:190])

    def damaged(self, what: str) -> IsoError:
        """The error for what cannot be."""
        return IsoError(f"{self.path} is a damaged ISO 9660 image: {what}", hint=_AGAIN)

    def cut_off(self, what: str, end: int) -> IsoError:
        """The error for something that goes on after the end of the file."""
        if end > max(self.volume, self.size) + (1 << 20):
            return self.damaged(f"{what} is said to end at byte {end}, far outside of it")
        return IsoError(
            f"{self.path} is cut off: it has {self.size} bytes, and {what} ends at byte {end}", hint=_AGAIN
        )

    def read(self, offset: int, size: int, what: str) -> bytes:
        """Bytes of a directory, all of them."""
        if offset + size > self.size:
            raise self.cut_off(what, offset + size)
        self._patience -= max(size, 1)
        if self._patience < 0:
            raise self.damaged("its directories lead in circles")
        self._file.seek(offset)
        return self._file.read(size)

    def records(self, directory: DirectoryRecord, name: str) -> Iterator[DirectoryRecord]:
        """The records of a directory, its own first."""
        data = self.read(directory.offset, directory.size, f"its directory {name}")
        at = 0
        while at < len(data):
            if not data[at]:  # a record never crosses the end of a block
                at += self.block - at % self.block
                continue
            if data[at] < _RECORD.size + 1 or at + data[at] > len(data):
                raise self.damaged(f"the directory {name} has a record of {data[at]} bytes at its byte {at}")
            yield self._record(data[at : at + data[at]])
            at += data[at]

    def own_record(self, block: int, name: str) -> DirectoryRecord:
        """The record of a directory that begins at a block."""
        data = self.read(block * self.block, 255, f"its directory {name}")
        if data[0] < _RECORD.size + 1 or not data[25] & _IS_DIRECTORY:
            raise self.damaged(f"there is no directory at block {block}, where {name} should be")
        return self._record(data[: data[0]])

    def _record(self, data: bytes) -> DirectoryRecord:
        _, attributes, block, size, date, flags, unit, gap, length = _RECORD.unpack_from(data)
        end = _RECORD.size + length
        if end > len(data):
            raise self.damaged(f"a directory record of {len(data)} bytes claims a name of {length}")
        return DirectoryRecord(
            name=data[_RECORD.size : end],
            offset=(block + attributes) * self.block,
            size=size,
            mtime=_seconds(date),
            is_directory=bool(flags & _IS_DIRECTORY),
            is_associated=bool(flags & _IS_ASSOCIATED),
            is_interleaved=bool(unit or gap),
            continues=bool(flags & _CONTINUES),
            system_use=data[end + 1 - length % 2 :],
        )

    def rock_ridge(self, record: DirectoryRecord, name: str) -> RockRidge:
        """What Rock Ridge says about a record; nothing where the image has none."""
        found = RockRidge()
        if self._skip is None:
            return found
        link_goes_on = False
        for kind, data in self._entries(record.system_use[self._skip :], name):
            match kind:
                case b"NM" if len(data) > 5:
                    found.name += data[5:]
                case b"PX" if len(data) >= 36:
                    found.mode, uid, gid = struct.unpack_from("<I12xI4xI", data, 4)
                    found.owner = (uid, gid)
                case b"PN" if len(data) >= 20:
                    found.device = _device(*struct.unpack_from("<I4xI", data, 4))
                case b"SL" if len(data) > 5:
                    link_goes_on = _add_components(found.components, data[5:], link_goes_on)
                case b"CL" if len(data) >= 12:
                    (found.child,) = struct.unpack_from("<I", data, 4)
                case b"RE":
                    found.relocated = True
                case b"ZF" if len(data) >= 16:
                    header, bits, size = struct.unpack_from("<BBI", data, 6)
                    found.zisofs = Zisofs(data[4:6], 4 * header, 1 << min(bits, 32), size)
        return found

    def _entries(self, area: bytes, name: str) -> Iterator[tuple[bytes, bytes]]:
        """The entries of a system use area and of those that continue it."""
        for _ in range(_AREAS_MAX):
            more: tuple[int, int, int] | None = None
            while len(area) >= 4 and 4 <= area[2] <= len(area):
                kind, data = area[:2], area[: area[2]]
                if kind == b"ST":
                    break
                if kind == b"CE" and len(data) >= 28:
                    more = struct.unpack_from("<I4xI4xI", data, 4)
                else:
                    yield kind, data
                area = area[area[2] :]
            if more is None:
                return
            area = self.read(more[0] * self.block + more[1], more[2], f"what Rock Ridge says about {name}")
        raise self.damaged(f"what Rock Ridge says about {name} leads in circles")


def _skip_of(system_use: bytes) -> int | None:
    """Bytes in front of each area, as the root's own record says; None where that does not begin with SP."""
    for at in (0, 14):  # CD-ROM XA has 14 bytes in front
        if system_use[at : at + 2] == b"SP" and system_use[at + 4 : at + 6] == b"\xbe\xef":
            return system_use[at + 6]
    return None


def _add_components(components: list[bytes], data: bytes, goes_on: bool) -> bool:
    """Add the parts of a link's target that one entry has; return whether the last one goes on."""
    while len(data) >= 2 and len(data) >= 2 + data[1]:
        flags, content = data[0], data[2 : 2 + data[1]]
        part = {0x2: b".", 0x4: b"..", 0x8: b""}.get(flags & 0xE, content)
        if goes_on:
            components[-1] += part
        else:
            components.append(part)
        goes_on = bool(flags & 1)
        data = data[2 + data[1] :]
    return goes_on


def _device(high: int, low: int) -> tuple[int, int]:
    """Major and minor number: apart, or as one number in the low half (RRIP 1.12, 4.1.2)."""
    return (high, low) if high else (os.major(low), os.minor(low))


def _seconds(date: bytes) -> int:
    """Seconds since 1970 of a date, whose zone is in quarters of an hour."""
    zone: int
    year, month, day, hour, minute, second, zone = struct.unpack("<6Bb", date)
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        return 0
    return calendar.timegm((1900 + year, month, day, hour, minute, second)) - zone * 15 * 60
