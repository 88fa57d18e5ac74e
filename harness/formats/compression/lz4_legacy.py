"""The "legacy" format of lz4, the one that the kernel unpacks (lib/decompress_unlz4.c).

A magic, and blocks of 8 MiB, each behind its compressed size in 4 bytes, up to a size of 0 or the end of the
file.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from harness.formats.compression.stream import Blocks, Sink, StreamError

_MAGIC = struct.pack("<I", 0x184C2102)
_ARCHIVE = b"0707"  # how a plain cpio archive begins
_BLOCK = 8 << 20
_BOUND = _BLOCK + _BLOCK // 255 + 16  # LZ4_COMPRESSBOUND, lz4.h


def compressor() -> Blocks:
    """What makes such a stream."""
    return Blocks(_MAGIC, _BLOCK, _pack)


def _pack(data: bytes) -> bytes:
    import lz4.block

    block: bytes = lz4.block.compress(data, mode="high_compression", compression=9, store_size=False)
    return struct.pack("<I", len(block)) + block


def unpack(file: BinaryIO, offset: int, out: Sink) -> int:
    """Unpack the stream at which the file stands; `harness.formats.compression.unpack` says how."""
    import lz4.block

    at = offset
    while word := file.read(4):
        if word == _MAGIC:  # a stream may follow another at once, and is part of it for the kernel
            at += 4
            continue
        size = int.from_bytes(word, "little")
        if at == offset:
            raise StreamError(at, "the lz4 stream does not start with its magic")
        if size == 0 or len(word) < 4:
            break
        if size > _BOUND and _ARCHIVE.startswith(word.lstrip(b"\0")):
            what = "an archive follows at once, which the kernel takes for a part of the stream"
            raise StreamError(at, f"behind the lz4 stream {what}: put 4 zeros between them")
        block = file.read(size) if size <= _BOUND else b""
        if len(block) < size:
            raise StreamError(at, f"the lz4 stream is cut off or damaged: it claims a block of {size} bytes")
        try:
            out.write(lz4.block.decompress(block, uncompressed_size=_BLOCK))
        except lz4.block.LZ4BlockError as error:
            raise StreamError(at, f"the lz4 stream is damaged: {error}") from None
        at += 4 + size
    return at
