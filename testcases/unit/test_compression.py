"""Streams as the programs that make them usually see them, and what the kernel asks of each format."""

from __future__ import annotations

import io
import lzma
import random
import struct
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import lz4.block
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.formats import compression
from testcases.support.profiles import fewer

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ["gzip", "xz", "zstd", "lz4", "bzip2", "lzma", "lzo"]
_rng = random.Random(1)  # noqa: S311 - the same noise each time
# 18 MiB: noise, text and zeros.
SAMPLE = _rng.randbytes(3 << 20) + b"some text\n" * 700_000 + bytes(8 << 20) + _rng.randbytes(333_333)


def compress(data: bytes, kind: str, *, piece: int = 1 << 20) -> bytes:
    out = io.BytesIO()
    with compression.writer(out, kind) as stream:
        for start in range(0, len(data), piece):
            stream.write(memoryview(data)[start : start + piece])
    return out.getvalue()


def unpack(image: bytes, offset: int = 0, *, limit: int = 1 << 30) -> tuple[bytes, int]:
    out = io.BytesIO()
    end = compression.unpack(io.BytesIO(image), offset, out, limit=limit)
    return out.getvalue(), end


def objection(stream: bytes) -> str:
    return compression.objection(io.BytesIO(stream), 0, len(stream))


def sample_of(kind: str) -> bytes:
    """A part of the sample with all three; for lz4 the whole, so that it has a third block."""
    return SAMPLE if kind == "lz4" else SAMPLE[2 << 20 : 5 << 20] + SAMPLE[-(1 << 20) :]


@cache
def stream_of(kind: str) -> bytes:
    """The sample of a kind, packed: once, and only where a test wants it."""
    return compress(sample_of(kind), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_how_it_was_written(kind: str) -> None:
    data = sample_of(kind)
    assert compress(data, kind, piece=77_777) == compress(data, kind, piece=len(data))


@pytest.mark.parametrize("kind", KINDS)
def test_it_gets_smaller(kind: str) -> None:
    assert len(stream_of(kind)) < len(sample_of(kind)) // 2


@pytest.mark.parametrize("kind", KINDS)
def test_stream_ends_where_it_ends(kind: str) -> None:
    """Whatever is around it."""
    stream = stream_of(kind)
    for behind in (b"", bytes(4) + b"junk", bytes(1 << 20)):
        assert unpack(b"front" + stream + behind, 5) == (sample_of(kind), 5 + len(stream))


@fewer(5)
@given(st.lists(st.binary(max_size=3000)), st.sampled_from(KINDS))
def test_round_trip(pieces: list[bytes], kind: str) -> None:
    out = io.BytesIO()
    with compression.writer(out, kind) as stream:
        for piece in pieces:
            stream.write(piece)
    assert unpack(out.getvalue()) == (b"".join(pieces), len(out.getvalue()))


def test_nothing_is_in_the_way_without_compression() -> None:
    out = io.BytesIO()
    with compression.writer(out, "none") as stream:
        assert stream is out


def test_unknown_compression() -> None:
    with (
        pytest.raises(ConfigError, match="'rar' is unknown") as caught,
        compression.writer(io.BytesIO(), "rar"),
    ):
        pass
    assert "zstd" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_limit(kind: str) -> None:
    sample = sample_of(kind)
    assert unpack(stream_of(kind), limit=len(sample))[0] == sample
    with pytest.raises(compression.StreamError, match="more than"):
        unpack(stream_of(kind), limit=len(sample) - 1)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_more_than_any_window_and_block(kind: str) -> None:
    stream = compress(SAMPLE, kind)
    assert stream == compress(SAMPLE, kind, piece=len(SAMPLE))
    assert unpack(stream) == (SAMPLE, len(stream))


@pytest.mark.parametrize("kind", KINDS)
def test_damage_in_the_middle_is_seen(kind: str) -> None:
    stream = bytearray(stream_of(kind))
    if kind == "lz4":  # which has no checksum: only its structure can be wrong
        stream[4:8] = struct.pack("<I", 1 << 30)
    elif kind == "lzma":  # likewise; behind its header of 13 bytes stands a 0
        stream[13] = 0xFF
    else:
        stream[len(stream) // 2] ^= 0xFF
    with pytest.raises(compression.StreamError):
        unpack(bytes(stream))


# --- what the kernel asks for ---


def test_gzip_header_has_no_name_and_no_time() -> None:
    assert stream_of("gzip")[:10] == b"\x1f\x8b\x08\0" + bytes(4) + b"\0\x03"
    assert objection(stream_of("gzip")) == ""


def test_xz_has_a_crc32_and_a_small_dictionary() -> None:
    stream = stream_of("xz")
    assert stream[:8] == b"\xfd7zXZ\0\0\x01"
    # Block header: size, flags, filter 0x21 (LZMA2) with 1 byte of properties: 22 is 8 MiB (xz format 5.3.1).
    assert stream[12:17] == b"\x02\0\x21\x01\x16"
    assert objection(stream) == ""


DATA = bytes(range(256)) * 512
LZMA2 = {"id": lzma.FILTER_LZMA2, "preset": 1}


@pytest.mark.parametrize(
    ("filters", "said", "needed"),
    [
        ([LZMA2], "", set()),
        ([{"id": lzma.FILTER_X86}, LZMA2], "", {"XZ_DEC_X86"}),
        ([{"id": lzma.FILTER_ARM}, LZMA2], "", {"XZ_DEC_ARM"}),
        ([{"id": lzma.FILTER_X86, "start_offset": 16}, LZMA2], "filters", {"XZ_DEC_X86"}),
        ([{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_ARM}, LZMA2], "filters", {"XZ_DEC_X86", "XZ_DEC_ARM"}),
        ([{"id": lzma.FILTER_DELTA, "dist": 4}, LZMA2], "delta", set()),
    ],
)
def test_filters_of_xz(filters: list[dict[str, int]], said: str, needed: set[str]) -> None:
    stream = lzma.compress(DATA, check=lzma.CHECK_CRC32, filters=filters)
    assert (said in objection(stream), bool(objection(stream))) == (True, bool(said))
    assert compression.needs(io.BytesIO(stream), 0, len(stream)) == {"RD_XZ", *needed}


def with_large_window() -> bytes:
    sizes = zstandard.ZstdCompressionParameters(window_log=28, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=sizes).compressobj()
    return packer.compress(DATA) + packer.flush()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lzma.compress(DATA, filters=[LZMA2 | {"dict_size": 1 << 29}]), "more than 256 MiB"),
        (with_large_window, "window of more than 128 MiB"),
    ],
)
def test_what_takes_too_much_memory_is_not_called_damaged(make: Callable[[], bytes], words: str) -> None:
    with pytest.raises(compression.StreamError, match=words) as told:
        unpack(make())
    assert "damaged" not in told.value.what


def test_zstd_window_is_small() -> None:
    parameters = zstandard.get_frame_parameters(stream_of("zstd"))
    assert parameters.window_size <= 8 << 20
    assert parameters.has_checksum


def test_lz4_is_the_legacy_format_in_blocks_of_8_mib() -> None:
    stream = stream_of("lz4")
    assert stream[:4] == bytes.fromhex("02214c18")
    sizes, at = [], 4
    while at < len(stream):
        (size,) = struct.unpack_from("<I", stream, at)
        sizes.append(len(lz4.block.decompress(stream[at + 4 : at + 4 + size], uncompressed_size=8 << 20)))
        at += 4 + size
    assert sizes == [8 << 20, 8 << 20, len(SAMPLE) - (16 << 20)]


# A block that is packed, one that is stored, and a short one.
LZO_CONTENT = b"some text\n" * 26_215 + SAMPLE[: 256 << 10] + bytes(999)
LZO_STREAM = compress(LZO_CONTENT, "lzo")


@fewer(2)
@given(st.data())
def test_a_damaged_lzo_stream_is_refused_or_has_what_was_packed(data: st.DataObject) -> None:
    """A match that is found at another distance may be the same bytes: then nothing is lost."""
    stream = bytearray(LZO_STREAM)
    at = data.draw(st.integers(2, len(stream) - 5) | st.integers(2, 60))
    stream[at] ^= data.draw(st.integers(1, 255))
    with suppress(compression.StreamError):
        assert unpack(bytes(stream))[0] == LZO_CONTENT
    with pytest.raises(compression.StreamError, match="cut off"):
        unpack(LZO_STREAM[:at])


def test_an_lzo_block_with_another_checksum_is_refused() -> None:
    at = 38 + 8  # behind the header, the sizes
    with pytest.raises(compression.StreamError, match="a checksum is wrong"):
        unpack(LZO_STREAM[:at] + bytes([LZO_STREAM[at] ^ 1]) + LZO_STREAM[at + 1 :])


def test_an_lzo_block_that_lies_about_its_size() -> None:
    long_match = b"\x12A" + b"\x20" + bytes(90_000) + b"\x01\0\0" + b"\x11\0\0"  # 23 MB of A
    liar = struct.pack(">III", 256 << 10, len(long_match), 0) + long_match
    with pytest.raises(compression.StreamError, match="22950035 bytes where 262144 were promised"):
        unpack(LZO_STREAM[:38] + liar)


@pytest.mark.parametrize("kind", KINDS)
def test_streams_tell_what_they_are(kind: str) -> None:
    assert compression.detect(stream_of(kind)[:2]) == kind


@pytest.mark.parametrize("start", [b"", b"0", b"07", b"\0\0", b"\x1f", b"PK"])
def test_what_is_no_stream(start: bytes) -> None:
    assert compression.detect(start) == "none"
