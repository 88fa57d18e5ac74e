"""qcow2 images: made and unpacked by qemu-img, and measured here.

qemu-img reads what lies behind the end of a file as zeros, so that an image that is cut off would unpack to
other contents. The format is QEMU's docs/interop/qcow2.txt; numbers are big-endian.
"""

from __future__ import annotations

import os
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.core import programs
from harness.core.errors import ConfigError, InfraError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"QFI\xfb"
# Version, backing file (place, length), bits of a cluster, size, encryption, L1 table (entries, place).
_HEADER = struct.Struct(">4sIQIIQIIQ")
_FEATURES = struct.Struct(">Q")  # at byte 72, from version 3 on
_EXTERNAL_DATA, _EXTENDED_L2 = 0x4, 0x10
_OFFSET = 0x00FFFFFFFFFFFE00
_COMPRESSED, _ZEROS = 1 << 62, 1
_SUBCLUSTERS = 32
_PACKAGE = "qemu-utils"


def write_qcow2(raw: Path, path: Path) -> None:
    """Make a qcow2 image of a raw one; zeros take no room in it."""
    options = "compat=1.1,cluster_size=65536,lazy_refcounts=off,preallocation=off"
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", options, "-S", "4k"]
    programs.output([*command, str(raw), str(path)], package=_PACKAGE)


class _Check(msgspec.Struct, frozen=True):
    corruptions: int = 0
    errors: int = msgspec.field(name="check-errors", default=0)


@contextmanager
def raw_of_qcow2(path: Path) -> Iterator[Path]:
    """Unpack a qcow2 image into a raw file, sparse, that is gone when the `with` block ends."""
    with path.open("rb") as file:
        size, end = file.seek(0, os.SEEK_END), _end(path, file)
    if size < end:
        raise _cut_off(path, size, end)
    _check(path)
    with tempfile.TemporaryDirectory() as directory:
        raw = Path(directory, f"{path.stem}.img")
        result = programs.call(
            ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(path), str(raw)], package=_PACKAGE
        )
        if result.returncode != 0:
            reason = _last_line(result.stderr)
            if "No space left" in reason:
                raise InfraError(
                    f"cannot unpack {path} into {directory}: {reason}",
                    hint="free some space there, or choose another place with the variable TMPDIR",
                )
            raise ConfigError(f"{path} cannot be unpacked: {reason}")
        yield raw


def _cut_off(path: Path, size: int, end: int) -> ConfigError:
    message = f"{path} is cut off: it has {size} bytes, and its tables name some up to byte {end}"
    return ConfigError(message, hint="fetch or build it again")


def _end(path: Path, file: BinaryIO) -> int:
    """The byte behind the last one that unpacking needs."""
    size = file.seek(0, os.SEEK_END)

    def read(offset: int, length: int) -> bytes:
        if offset + length > size:
            raise _cut_off(path, size, offset + length)
        file.seek(offset)
        return file.read(length)

    head = read(0, _HEADER.size)
    _, version, backing, name_size, bits, virtual, encryption, entries, l1_offset = _HEADER.unpack(head)
    if version not in {2, 3}:
        raise ConfigError(f"{path} is no qcow2 image that can be read: version {version} is unknown")
    features = _FEATURES.unpack(read(72, 8))[0] if version >= 3 else 0
    if backing:  # it names a file of this host, which a foreign image has no business with
        raise ConfigError(
            f"{path} holds only what differs from {os.fsdecode(read(backing, min(name_size, 1023)))}",
            hint="merge both with `qemu-img convert`, if you trust where they come from",
        )
    if features & _EXTERNAL_DATA:
        raise ConfigError(f"{path} has its data in another file", hint="merge both with `qemu-img convert`")
    if encryption:
        raise ConfigError(f"{path} is encrypted", hint="decrypt it with `qemu-img convert`")
    if not 9 <= bits <= 21:
        raise ConfigError(f"{path} is a damaged qcow2 image: a cluster of 2^{bits} bytes")
    end = 0
    wide = bool(features & _EXTENDED_L2)
    reach = (1 << bits) // (16 if wide else 8) << bits  # bytes that one L2 table maps
    if entries * reach < virtual:
        raise ConfigError(f"{path} is a damaged qcow2 image: {entries} L1 entries for {virtual} bytes")
    for (entry,) in struct.iter_unpack(">Q", read(l1_offset, 8 * entries)):
        if table := entry & _OFFSET:
            end = max(end, _end_of_table(read(table, 1 << bits), bits, wide=wide))
    return end


def _end_of_table(table: bytes, bits: int, *, wide: bool) -> int:
    """The byte behind the last one that an L2 table names."""
    end = 0
    shift = 62 - (bits - 8)
    for entry, *more in struct.iter_unpack(">QQ" if wide else ">Q", table):
        if entry & _COMPRESSED:
            offset = entry & ((1 << shift) - 1)
            sectors = (entry >> shift) & ((1 << (bits - 8)) - 1)
            end = max(end, (offset & ~511) + 512 * (sectors + 1))
        elif wide and entry & _OFFSET:
            used = (more[0] & 0xFFFFFFFF).bit_length()
            end = max(end, (entry & _OFFSET) + (used << bits) // _SUBCLUSTERS)
        elif entry & _OFFSET and not entry & _ZEROS:
            end = max(end, (entry & _OFFSET) + (1 << bits))
    return end


def _check(path: Path) -> None:
    """Have qemu-img look for what it would read as zeros."""
    result = programs.call(["qemu-img", "check", "--output=json", "-f", "qcow2", str(path)], package=_PACKAGE)
    try:
        check = msgspec.json.decode(result.stdout, type=_Check)
    except msgspec.MsgspecError:
        raise ConfigError(f"{path} cannot be checked: {_last_line(result.stderr)}") from None
    if check.corruptions or check.errors:
        raise ConfigError(f"{path} is damaged: {_last_line(result.stderr or result.stdout)}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason was given"])[-1]
