"""The file format of lzop, as far as Linux unpacks it.

See lib/decompress_unlzo.c; numbers are big-endian.

    9  magic                           4  mode
    2  version of the program          8  time, low half first
    2  version of the library          1  length of the name
    2  version that is needed          -  name
    1  method: 1 to 3, all LZO1X       4  checksum of all of this behind the magic
    1  level
    4  flags

Then come blocks of 256 KiB: size, compressed size, checksums as the flags say, and the data, which is stored
as it is where it would not shrink. A size of 0 ends the stream. The kernel looks at none of the checksums,
and takes it that a block has exactly one.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO

from harness.formats.compression.stream import Blocks, Sink, StreamError

if TYPE_CHECKING:
    from collections.abc import Callable


_MAGIC = b"\x89LZO\0\r\n\x1a\n"
_BLOCK = 256 << 10
_VERSION = 0x0940  # the first with level and high half of the time
_FIXED = struct.Struct(">HHHBBIIQB")
# Of the flags; each kind of checksum in the order in which it stands in a block.
_ADLER32, _ADLER32_PACKED, _CRC32, _CRC32_PACKED = 0x1, 0x2, 0x100, 0x200
_CRC32_OF_HEADER = 0x1000
_ELSEWISE = 0x40 | 0x400 | 0x800  # a field more, a part of several, a filter: not seen in practice
_UNIX = 0x03000000


def compressor() -> Blocks:
    """What makes such a stream."""
    header = _FIXED.pack(_VERSION, 0x20A0, _VERSION, 1, 5, _ADLER32 | _UNIX, 0o100644, 0, 0)
    return Blocks(_MAGIC + header + struct.pack(">I", zlib.adler32(header)), _BLOCK, _pack, bytes(4))


def _pack(data: bytes) -> bytes:
    import lzallright

    packed = lzallright.LZOCompressor().compress(data)
    if len(packed) >= len(data):
        packed = data
    return struct.pack(">III", len(data), len(packed), zlib.adler32(data)) + packed


def one_checksum(header: bytes) -> bool:
    """Whether blocks have one checksum, as the kernel takes it; of the first 21 bytes of a stream."""
    flags = int.from_bytes(header[17:21], "big")
    checks = flags & (_ADLER32 | _ADLER32_PACKED | _CRC32 | _CRC32_PACKED)
    return checks in {_ADLER32, _CRC32}


def unpack(file: BinaryIO, offset: int, out: Sink) -> int:
    """Unpack the stream at which the file stands; `harness.formats.compression.unpack` says how."""
    reader = _Reader(file, offset)
    flags = _header(reader)
    while size := reader.number():
        packed_size = reader.number()
        if size > _BLOCK or not 0 < packed_size <= size:
            raise StreamError(
                reader.at, f"the lzo stream is damaged: a block of {packed_size} for {size} bytes"
            )
        checks = _checks(reader, flags, packed=packed_size < size)
        data = packed = reader.take(packed_size)
        if packed_size < size:
            data = _decompressed(packed, size, reader.at)
        for check, of_packed, expected in checks:
            if check(packed if of_packed else data) != expected:
                raise StreamError(reader.at, "the lzo stream is damaged: a checksum is wrong")
        out.write(data)
    return reader.at


class _Reader:
    """Reads a file, and knows where it is."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file = file
        self.at = offset

    def take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise StreamError(self.at, "the lzo stream is cut off")
        self.at += size
        return data

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")


def _header(reader: _Reader) -> int:
    """Read it, and return the flags."""
    at = reader.at
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise StreamError(at, "the lzo stream does not start with the magic of lzop")
    fixed = reader.take(_FIXED.size)
    version, _, _, method, _, flags, *_ = _FIXED.unpack(fixed)
    name = reader.take(fixed[-1])
    check = zlib.crc32 if flags & _CRC32_OF_HEADER else zlib.adler32
    if version < _VERSION or method not in {1, 2, 3} or flags & _ELSEWISE:
        raise StreamError(at, "the lzo stream is of a kind that the kernel does not unpack")
    if reader.number() != check(fixed + name):
        raise StreamError(at, "the lzo stream is damaged: the checksum of its header is wrong")
    return int(flags)


def _checks(reader: _Reader, flags: int, *, packed: bool) -> list[tuple[Callable[[bytes], int], bool, int]]:
    """The checksums of a block: how each is computed, whether of the packed data, and what it should be."""
    kinds: tuple[tuple[int, Callable[[bytes], int], bool], ...] = (
        (_ADLER32, zlib.adler32, False),
        (_CRC32, zlib.crc32, False),
        (_ADLER32_PACKED, zlib.adler32, True),
        (_CRC32_PACKED, zlib.crc32, True),
    )
    return [
        (check, of_packed, reader.number())
        for flag, check, of_packed in kinds
        if flags & flag and (packed or not of_packed)
    ]


def _decompressed(packed: bytes, size: int, at: int) -> bytes:
    """Unpack a block; one that lies about its size unpacks to 64 MiB at most, 255 times what it can have."""
    import lzallright

    try:
        data = lzallright.LZOCompressor.decompress(packed, size)
    except lzallright.LZOError as error:
        raise StreamError(at, f"the lzo stream is damaged: {error}") from None
    if len(data) != size:
        raise StreamError(at, f"the lzo stream is damaged: {len(data)} bytes where {size} were promised")
    return data
