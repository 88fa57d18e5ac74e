"""Compressed streams that Linux unpacks, written and read.

Linux unpacks them as an initramfs, and out of its own file. What it takes of each format (lib/decompress_*.c,
Documentation/staging/xz.rst): gzip with no more than a name in its header; xz with CRC32 or no check; zstd
with windows up to 128 MiB; of lz4 the "legacy" format (`lz4_legacy`); of lzo that of the program lzop, with
one checksum for a block (`lzop`). Streams are written on one thread with fixed settings, so that the same
bytes come out wherever the library has the same version. The levels are those behind which time grows much
faster than the stream shrinks (26 MB with modules: gzip 6 and 9, 14.54 and 14.50 MB in 0.8 and 2.2 s).
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Protocol

from harness.core.errors import ConfigError
from harness.formats.compression import lz4_legacy, lzop, xz_blocks
from harness.formats.compression.stream import Sink, StreamError

__all__ = ["MAGICS", "Sink", "StreamError", "detect", "needs", "objection", "unpack", "writer"]

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
    b"\x89L": "lzo",
}

_PIECE = 1 << 16
# A zstd decoder takes no limit for its output, and 4 bytes may be 128 KiB (RFC 8878, 3.1.1.2).
_ZSTD_PIECE = 1 << 9
_ZSTD_WINDOW = 128 << 20
_LZMA_MEMORY = 256 << 20  # four times what xz -9 needs to unpack


class _Format(Protocol):
    def compressor(self) -> _Compressor: ...
    def unpack(self, file: BinaryIO, offset: int, out: Sink) -> int: ...


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


# Formats that no library reads or writes as a whole.
_BLOCKWISE: dict[str, _Format] = {"lz4": lz4_legacy, "lzo": lzop}

# --- writing ---


@contextmanager
def writer(out: Sink, compression: str) -> Iterator[Sink]:
    """Compress what is written to the result into `out`, as one stream that ends with the `with` block.

    The compression is "none", or one of `MAGICS`.
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
        case "lz4" | "lzo":
            return _BLOCKWISE[compression].compressor()
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
        case "bzip2":
            return bz2.BZ2Compressor(9)
        case "lzma":
            return lzma.LZMACompressor(lzma.FORMAT_ALONE, preset=6)
    hint = f"the kernel unpacks: none, {', '.join(MAGICS.values())}"
    raise ConfigError(f"the compression {compression!r} is unknown", hint=hint)


# --- reading ---


def detect(start: bytes) -> str:
    """The compression of a stream by its first bytes; "none" when they begin no stream that is known."""
    return MAGICS.get(start[:2], "none")


def objection(file: BinaryIO, offset: int, end: int) -> str:
    """What the kernel has against a sound stream between two bytes of a file; or ""."""
    file.seek(offset)
    start = file.read(21)
    match detect(start):
        case "gzip" if start[3] & ~0x09:  # FTEXT and FNAME are all that it skips
            return "the gzip header has fields that the kernel does not skip"
        case "xz" if start[7] not in {0, lzma.CHECK_CRC32}:
            return "the kernel cannot check this xz stream; compress it with xz --check=crc32"
        case "xz":
            what = next(filter(None, map(xz_blocks.objection, xz_blocks.filters(file, offset, end))), "")
            return what and f"{what}; compress it with xz --check=crc32"
        case "lzo" if not lzop.one_checksum(start):
            return "the kernel takes one checksum for a block of this lzo stream; compress it with lzop -9"
    return ""


def needs(file: BinaryIO, offset: int, end: int) -> frozenset[str]:
    """The symbols that a kernel's configuration must have for a sound stream."""
    file.seek(offset)
    kind = detect(file.read(2))
    undone = xz_blocks.filters(file, offset, end) if kind == "xz" else ()
    machines = {xz_blocks.MACHINES.get(number) for chain in undone for number, _ in chain}
    return frozenset({f"RD_{kind.upper()}", *(f"XZ_DEC_{name}" for name in machines if name)})


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
    if compression in _BLOCKWISE:
        return _BLOCKWISE[compression].unpack(file, offset, limited)
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
            raise StreamError(at, _failure(compression, str(error))) from None
        at += len(piece)
        limited.write(unpacked)
    return at - len(decoder.unused_data)


def _failure(compression: str, error: str) -> str:
    if compression == "zstd" and "too much memory" in error:
        return "the zstd stream has a window of more than 128 MiB, which the kernel refuses: leave out --long"
    if "limit" in error:
        return f"unpacking the {compression} stream takes more than 256 MiB of memory: pack it anew with -9"
    return f"the {compression} stream is damaged: {error}"


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
