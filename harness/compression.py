"""Compressed streams that the kernel unpacks, as an initramfs or out of its own file, written and read.

What the kernel takes of each format (lib/decompress_*.c, Documentation/staging/xz.rst): gzip with no more
than a name in its header; xz with CRC32 or no check; zstd with windows up to 128 MiB; of lz4 the "legacy"
format, whose streams are a magic and blocks of 8 MiB, each behind its compressed size in 4 bytes, up to a
size of 0 or the end of the file. Streams are written on one thread with fixed settings, so that the same
bytes come out wherever the library has the same version. The levels are those behind which time grows much
faster than the stream shrinks (26 MB with modules: gzip 6 and 9, 14.54 and 14.50 MB in 0.8 and 2.2 s).
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Protocol

from harness.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

# How each kind of stream begins; the first two bytes are what the kernel looks at (lib/decompress.c).
MAGICS = {
    b"\x1f\x8b": "gzip",
    b"BZ": "bzip2",
    b"\x5d\0": "lzma",
    b"\xfd7": "xz",
    b"\x28\xb5": "zstd",
    b"\x02\x21": "lz4",
}
_LZ4_MAGIC = struct.pack("<I", 0x184C2102)
_LZ4_BLOCK = 8 << 20
_LZ4_BOUND = _LZ4_BLOCK + _LZ4_BLOCK // 255 + 16  # LZ4_COMPRESSBOUND, lz4.h

_PIECE = 1 << 16
# Nobody can tell a zstd decoder how much to give at once, and 4 bytes may be 128 KiB (RFC 8878, 3.1.1.2).
_ZSTD_PIECE = 1 << 9
_ZSTD_WINDOW = 128 << 20
_LZMA_MEMORY = 256 << 20  # four times what xz -9 needs to unpack


class Sink(Protocol):
    """Where bytes go: a file that is open for writing, or something in front of one."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all of the data."""


class StreamError(Exception):
    """A compressed stream is damaged or cut off.

    Args:
        offset: Byte of the file near which it was found.
        what: What is wrong, to follow a colon.
    """

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.offset = offset
        self.what = what


class _Compressor(Protocol):
    def compress(self, data: bytes | memoryview, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


# --- writing ---


@contextmanager
def writer(out: Sink, compression: str) -> Iterator[Sink]:
    """What is written to the result goes to `out` as one stream, which ends with the `with` block.

    Args:
        out: Takes the compressed bytes.
        compression: "none", "gzip", "xz", "zstd" or "lz4".

    Raises:
        ConfigError: The compression is another one.
    """
    if compression == "none":
        yield out
        return
    compressor = _compressor(compression)
    yield _Compressed(out, compressor)
    out.write(compressor.flush())


class _Compressed:
    def __init__(self, out: Sink, compressor: _Compressor) -> None:
        self._out = out
        self._compressor = compressor

    def write(self, data: bytes | memoryview, /) -> None:
        self._out.write(self._compressor.compress(data))


def _compressor(compression: str) -> _Compressor:
    match compression:
        case "gzip":  # zlib leaves name and time out of the header
            return zlib.compressobj(6, wbits=16 + zlib.MAX_WBITS)
        case "xz":
            # Unpacking takes the dictionary's size in the guest's memory.
            filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 23}]
            return lzma.LZMACompressor(lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=filters)
        case "zstd":
            import zstandard

            parameters = zstandard.ZstdCompressionParameters.from_level(
                9, window_log=23, write_checksum=True, write_content_size=False
            )
            return zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        case "lz4":
            return _Lz4()
    hint = "the kernel unpacks: none, gzip, xz, zstd, lz4"
    raise ConfigError(f"the compression {compression!r} is unknown", hint=hint)


class _Lz4:
    """Compresses to the legacy format."""

    def __init__(self) -> None:
        self._ready = [_LZ4_MAGIC]
        self._held = bytearray()

    def compress(self, data: bytes | memoryview, /) -> bytes:
        self._held += data
        while len(self._held) >= _LZ4_BLOCK:
            self._block(_LZ4_BLOCK)
        return self._taken()

    def flush(self) -> bytes:
        if self._held:
            self._block(len(self._held))
        return self._taken()

    def _block(self, size: int) -> None:
        import lz4.block

        block = lz4.block.compress(
            bytes(self._held[:size]), mode="high_compression", compression=9, store_size=False
        )
        self._ready += (struct.pack("<I", len(block)), block)
        del self._held[:size]

    def _taken(self) -> bytes:
        taken = b"".join(self._ready)
        self._ready.clear()
        return taken


# --- reading ---


def detect(start: bytes) -> str:
    """The compression of a stream by its first bytes; "none" when they begin no stream that is known."""
    return MAGICS.get(start[:2], "none")


def objection(start: bytes) -> str:
    """What the kernel has against a stream that starts with these 8 bytes and can be unpacked here; or ""."""
    match detect(start):
        case "gzip" if start[3] & ~0x09:  # FTEXT and FNAME are all that it skips
            return "the gzip header has fields that the kernel does not skip"
        case "xz" if start[7] not in {0, lzma.CHECK_CRC32}:
            return "the kernel cannot check this xz stream; compress it with xz --check=crc32"
    return ""


def unpack(file: BinaryIO, offset: int, out: Sink, *, limit: int) -> int:
    """Unpack one stream, and no other that follows it, with bounded memory.

    Args:
        file: A seekable binary file.
        offset: Where the stream starts in it.
        out: Takes what is unpacked.
        limit: Most bytes that may come out.

    Returns:
        The offset behind the stream.

    Raises:
        StreamError: The stream is damaged, cut off, or gives more than `limit` bytes.
        OSError: `out` takes no more, or `file` cannot be read.
    """
    file.seek(offset)
    compression = detect(file.read(2))
    file.seek(offset)
    limited = _Limited(out, limit, offset)
    if compression == "lz4":
        return _unpack_lz4(file, offset, limited)
    decoder = _decoder(compression)
    size = _ZSTD_PIECE if compression == "zstd" else _PIECE
    at = offset
    while not decoder.eof:
        piece = file.read(size) if decoder.needs_input else b""
        if decoder.needs_input and not piece:
            raise StreamError(at, f"the {compression} stream is cut off")
        try:
            unpacked = decoder.decompress(piece, _PIECE)
        except _damage() as error:
            raise StreamError(at, f"the {compression} stream is damaged: {error}") from None
        at += len(piece)
        limited.write(unpacked)
    return at - len(decoder.unused_data)


class _Limited:
    def __init__(self, out: Sink, limit: int, offset: int) -> None:
        self._out = out
        self._left = self._limit = limit
        self._offset = offset

    def write(self, data: bytes | memoryview, /) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise StreamError(self._offset, f"the stream unpacks to more than {self._limit} bytes")
        self._out.write(data)


def _decoder(compression: str) -> _Decoder:
    match compression:
        case "gzip":
            return _Gzip()
        case "bzip2":
            return bz2.BZ2Decompressor()
        case "lzma":
            return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY)
        case "xz":
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)
        case "zstd":
            return _Zstd()
    raise ValueError(compression)


def _damage() -> tuple[type[Exception], ...]:
    import lz4.block
    import zstandard

    # bz2 raises OSError and ValueError, zstandard MemoryError for windows that cannot be had.
    return (
        *(zlib.error, lzma.LZMAError, OSError, ValueError, EOFError, MemoryError),
        *(zstandard.ZstdError, lz4.block.LZ4BlockError),
    )


class _Gzip:
    """zlib's decoder with the interface of the others."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


class _Zstd:
    """zstandard's decoder with the interface of the others; what it gives is bounded by what it is given."""

    def __init__(self) -> None:
        import zstandard

        self._decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()

    needs_input = True

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:  # noqa: ARG002
        return self._decoder.decompress(data)


def _unpack_lz4(file: BinaryIO, offset: int, out: _Limited) -> int:
    import lz4.block

    at = offset
    while word := file.read(4):
        if word == _LZ4_MAGIC:  # a stream may follow another at once, and is part of it for the kernel
            at += 4
            continue
        size = int.from_bytes(word, "little")
        if at == offset:
            raise StreamError(at, "the lz4 stream does not start with its magic")
        if size == 0 or len(word) < 4:
            break
        block = file.read(size) if size <= _LZ4_BOUND else b""
        if len(block) < size:
            raise StreamError(at, f"the lz4 stream is cut off or damaged: it claims a block of {size} bytes")
        try:
            out.write(lz4.block.decompress(block, uncompressed_size=_LZ4_BLOCK))
        except lz4.block.LZ4BlockError as error:
            raise StreamError(at, f"the lz4 stream is damaged: {error}") from None
        at += 4 + size
    return at
