"""What is read from an initramfs, ours and others', plain and compressed, and how damage is met."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import resource
import stat
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import lz4.block
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import InfraError
from harness.formats import compression, cpio
from harness.formats.cpio import reader as cpio_reader
from harness.formats.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.formats.tree import Member


FILE = stat.S_IFREG | 0o644
LINK = stat.S_IFLNK | 0o777
ALL = ["gzip", "bzip2", "lzma", "xz", "zstd", "lz4", "lzo"]


def pack(*entries: Entry) -> bytes:
    out = io.BytesIO()
    cpio.write(entries, out)
    return out.getvalue()


def compress(data: bytes, kind: str) -> bytes:
    out = io.BytesIO()
    with compression.writer(out, kind) as stream:
        stream.write(data)
    return out.getvalue()


def unpack(archive: bytes, **options: int) -> list[Member]:
    return list(cpio_reader.members(io.BytesIO(archive), **options))


def described(archive: bytes) -> list[Member]:
    """The members without `blocks`, which no two of them have in common."""
    return [msgspec.structs.replace(member, blocks=iter) for member in unpack(archive)]


def paths(archive: bytes) -> list[str]:
    return [member.path for member in unpack(archive)]


def data(member: Member) -> bytes:
    return b"".join(member.blocks())


def record(path: bytes, mode: int, content: bytes = b"", *, ino: int = 1, links: int = 1) -> bytes:
    """A record with any fields at all."""
    name = path + b"\0"
    fields = (ino, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = cpio.NEWC + b"".join(b"%08x" % field for field in fields) + name
    return header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4)


END = record(b"TRAILER!!!", 0)


def small() -> bytes:
    return pack(Entry("d/a", FILE, b"12345"), Entry("d/l", LINK, target="a"), Entry("e", FILE, link="d/a"))


# --- archives of others ---


def test_last_content_of_a_file_with_several_names_counts() -> None:
    """As in the kernel, which writes each into the same file."""
    archive = (
        record(b"a", FILE, b"first", ino=7, links=3)
        + record(b"b", FILE, b"second", ino=7, links=3)
        + record(b"x", FILE, b"other", ino=7, links=1)
        + record(b"c", FILE, ino=7, links=3)
        + END
        + record(b"d", FILE, b"another archive", ino=7, links=3)
        + END
    )
    assert [(m.path, m.link, data(m), m.size) for m in unpack(archive)] == [
        ("a", "", b"second", 6),
        ("b", "a", b"second", 6),
        ("x", "", b"other", 5),
        ("c", "a", b"second", 6),
        ("d", "", b"another archive", 15),
    ]


def test_names_padded_with_zeros_as_microcode_has_them() -> None:
    assert paths(record(b"kernel/x86/microcode/GenuineIntel.bin\0\0\0\0", FILE, b"x" * 16) + END) == [
        "kernel/x86/microcode/GenuineIntel.bin"
    ]
    with pytest.raises(cpio_reader.CpioError, match="only NULs"):
        paths(record(b"a\0b", FILE) + END)


# --- segments ---


@pytest.mark.parametrize("kind", ALL)
def test_compressed(kind: str) -> None:
    archive = small()
    image = compress(archive, kind)
    assert described(image) == described(archive)
    assert [data(m) for m in unpack(image)] == [data(m) for m in unpack(archive)]
    assert cpio_reader.segments(io.BytesIO(image)) == [
        cpio_reader.Segment(
            0, len(image), kind, "newc", len(archive), 4, needs=frozenset({f"RD_{kind.upper()}"})
        )
    ]


@pytest.mark.parametrize("kind", ["none", *ALL])
@pytest.mark.parametrize("before", ["none", *ALL])
def test_segments_behind_each_other(before: str, kind: str) -> None:
    """A microcode archive in front of a distribution's initrd is one of these."""
    one, two = pack(Entry("one", FILE, b"1")), pack(Entry("two", FILE, b"2"))
    first = compress(one, before) if before != "none" else one
    second = compress(two, kind) if kind != "none" else two
    start = len(first) + 4 + -len(first) % 4
    image = first.ljust(start, b"\0") + second + bytes(8)
    assert paths(image) == ["one", "two"]
    found = cpio_reader.segments(io.BytesIO(image))
    assert [(s.offset, s.compression, s.kind, s.members) for s in found] == [
        (0, before, "newc", 1),
        (start, kind, "newc", 1),
    ]
    assert found[1].size == len(second) if kind != "none" else len(two.rstrip(b"\0")) + 3


@pytest.mark.parametrize("kind", sorted({*ALL} - {"lz4"}))
def test_stream_right_behind_a_stream(kind: str) -> None:
    one, two = compress(pack(Entry("one", FILE)), kind), compress(pack(Entry("two", FILE)), "gzip")
    assert paths(one + two) == ["one", "two"]


def test_archives_within_one_stream() -> None:
    archives = pack(Entry("one", FILE, b"1")) + pack(Entry("two", FILE, b"2"))
    image = compress(archives, "gzip")
    assert paths(image) == ["one", "two"]
    assert [s.members for s in cpio_reader.segments(io.BytesIO(image))] == [2]
    odd = gzip.compress(pack(Entry("one", FILE)) + b"\0" + pack(Entry("two", FILE)))
    with pytest.raises(cpio_reader.CpioError, match=r"gzip stream at byte 0, byte 513: .*multiple of 4"):
        unpack(odd)


def test_lz4_streams_right_behind_each_other_are_one() -> None:
    """For the kernel, too: it reads over a magic where the size of a block would stand."""
    image = compress(pack(Entry("one", FILE)), "lz4") + compress(pack(Entry("two", FILE)), "lz4")
    assert paths(image) == ["one", "two"]
    assert len(cpio_reader.segments(io.BytesIO(image))) == 1


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_archive_at_once_behind_an_lz4_stream(zeros: int) -> None:
    """The kernel takes its first bytes for the size of a block."""
    image = compress(small(), "lz4") + bytes(zeros) + small()
    with pytest.raises(cpio_reader.CpioError, match=r"an archive follows at once.*put 4 zeros between"):
        cpio_reader.segments(io.BytesIO(image))
    front = compress(small(), "lz4")
    behind = front + bytes(4 + -len(front) % 4) + small()
    assert [segment.compression for segment in cpio_reader.segments(io.BytesIO(behind))] == ["lz4", "none"]


def test_junk_behind_an_archive_is_no_archive() -> None:
    with pytest.raises(cpio_reader.CpioError, match="starts neither a newc header"):
        cpio_reader.segments(io.BytesIO(gzip.compress(small()) + b"some junk"))


def test_archive_that_is_split_over_streams() -> None:
    """gunzip would take it, the kernel does not."""
    archive = small()
    image = gzip.compress(archive[:200]) + gzip.compress(archive[200:])
    with pytest.raises(cpio_reader.CpioError, match=r"goes on in a second gzip stream"):
        unpack(image)


def test_plain_archives() -> None:
    one, two = pack(Entry("one", FILE, b"1")), pack(Entry("two", FILE, b"2"))
    for padding in (0, 4, 512):
        assert paths(one + bytes(padding) + two) == ["one", "two"]
        assert paths(bytes(padding) + one) == ["one"]
    with pytest.raises(cpio_reader.CpioError, match=r"byte 513: .*multiple of 4"):
        unpack(one + b"\0" + two)
    with pytest.raises(cpio_reader.CpioError, match=r"byte 513: .*multiple of 4"):
        unpack(one + b"\0" + compress(two, "gzip"))
    with pytest.raises(cpio_reader.CpioError, match="byte 512: "):
        unpack(one + b"junkjunk")
    with pytest.raises(cpio_reader.CpioError, match="cut off"):
        unpack(one + two[:200])


def test_later_members_may_repeat_a_path() -> None:
    one, two = pack(Entry("a", FILE, b"1")), pack(Entry("a", FILE, b"2"))
    assert [data(member) for member in unpack(one + two)] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (lzma.compress(small(), check=lzma.CHECK_CRC64), "crc32"),
        (lzma.compress(small(), check=lzma.CHECK_SHA256), "crc32"),
        (lzma.compress(small(), check=lzma.CHECK_NONE), ""),
        (b"\x1f\x8b\x08\x04" + bytes(6) + b"\x02\0ab" + gzip.compress(small())[10:], "does not skip"),
        (b"\x1f\x8b\x08\x08" + bytes(6) + b"name\0" + gzip.compress(small())[10:], ""),
    ],
)
def test_what_the_kernel_would_not_unpack_is_said(image: bytes, message: str) -> None:
    (segment,) = cpio_reader.segments(io.BytesIO(image))
    assert message in segment.objection
    assert bool(message) == bool(segment.objection)


# --- damage ---


def test_truncated_at_every_byte() -> None:
    archive = small()
    end = archive.index(b"TRAILER!!!") + len("TRAILER!!!") + 4
    assert not archive[end:].strip(b"\0")
    whole = described(archive)
    for length in range(end):
        with pytest.raises(cpio_reader.CpioError, match=r"the archive, byte \d+: "):
            unpack(archive[:length])
    for length in range(end, len(archive) + 1):
        assert described(archive[:length]) == whole


@pytest.mark.parametrize("kind", ALL)
def test_compressed_and_truncated_at_every_byte(kind: str) -> None:
    image = compress(small(), kind)
    for length in range(len(image)):
        with pytest.raises(cpio_reader.CpioError, match=r"byte \d+: "):
            unpack(image[:length])


@pytest.mark.parametrize(
    ("offset", "new", "message"),
    [
        (0, b"070707", "byte 0: .*070707"),
        (0, b"\x04\x22\x4d\x18\0\0", "byte 0: .*known"),  # lz4's own format
        (0, b"\x1f\x8b\x08\0\0\0", "byte 0: .*gzip"),
        (6, b"0000000g", "no hex digit"),
        (6, b" 0000001", "no hex digit"),
        (6, b"0000_001", "no hex digit"),
        (14, b"000081A4", "cut off|not a newc|starts neither"),
        (54, b"00000004", "byte 0: 'd' is no regular file and has 4 bytes"),
        (94, b"00000000", "name of 0 bytes"),
        (94, b"FFFFFFFF", "name of 4294967295 bytes"),
        (94, b"00000003", "NUL"),
        (110, b"\0", "byte 112"),
    ],
)
def test_damaged_header(offset: int, new: bytes, message: str) -> None:
    archive = small()
    changed = archive[:offset] + new + archive[offset + len(new) :]
    if offset in {14, 110}:  # still an archive, of a directory that has become a file, or of the root
        assert paths(changed)[0] == ("d" if offset == 14 else "")
        return
    with pytest.raises(cpio_reader.CpioError, match=message):
        unpack(changed)


def test_absurd_sizes() -> None:
    archive = small()
    at = archive.index(b"d/a\0") - 110
    lie = archive[: at + 54] + b"FFFFFFFF" + archive[at + 62 :]
    with pytest.raises(cpio_reader.CpioError, match="cut off in the content of 'd/a'"):
        unpack(lie)
    with pytest.raises(cpio_reader.CpioError, match="target of 5000 bytes"):
        unpack(record(b"l", LINK, b"t" * 5000) + END)
    with pytest.raises(cpio_reader.CpioError, match="target of 0 bytes"):
        unpack(record(b"l", LINK) + END)
    with pytest.raises(cpio_reader.CpioError, match="claims a block of 4294967295 bytes"):
        unpack(b"\x02\x21\x4c\x18\xff\xff\xff\xff" + bytes(100))
    with pytest.raises(cpio_reader.CpioError, match="claims a block of 16777216 bytes"):
        unpack(b"\x02\x21\x4c\x18\0\0\0\x01" + bytes(1 << 24))


def test_error_names_the_file(tmp_path: Path) -> None:
    for name, image, at in (
        ("a.cpio", small()[:150], 150),
        ("a.cpio.gz", compress(small(), "gzip")[:60], 60),
    ):
        (tmp_path / name).write_bytes(image)
        with (
            (tmp_path / name).open("rb") as file,
            pytest.raises(cpio_reader.CpioError, match=rf"{name}, byte {at}: .*cut off"),
        ):
            list(cpio_reader.members(file))


@pytest.mark.parametrize("length", [0, 5])
def test_no_archive_at_all(length: int) -> None:
    with pytest.raises(cpio_reader.CpioError, match=f"byte {length}: .* no trailer"):
        unpack(small()[:length])


def test_nothing_but_zeros() -> None:
    with pytest.raises(cpio_reader.CpioError, match=r"byte 3000000: there is no cpio archive"):
        unpack(bytes(3_000_000))


def try_to_read(image: bytes) -> None:
    try:
        for member in cpio_reader.members(io.BytesIO(image), limit=1 << 20):
            assert len(data(member)) == member.size <= 1 << 20
        for segment in cpio_reader.segments(io.BytesIO(image), limit=1 << 20):
            assert 0 <= segment.offset < segment.offset + segment.size <= len(image)
    except cpio_reader.CpioError:
        pass


@given(st.binary(max_size=600), st.sampled_from([b"", b"070701", *compression.MAGICS]))
def test_random_bytes_raise_nothing_else(image: bytes, magic: bytes) -> None:
    try_to_read(magic + image)


IMAGES = [small(), *(compress(small(), kind) for kind in ALL)]


@given(
    st.sampled_from(IMAGES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_flipped_bytes_raise_nothing_else(image: bytes, flips: list[tuple[float, int]]) -> None:
    damaged = bytearray(image)
    for place, value in flips:
        damaged[int(place * len(damaged))] = value
    try_to_read(bytes(damaged))


@given(st.binary(min_size=13, max_size=13), st.binary(max_size=100))
def test_random_fields_raise_nothing_else(seed: bytes, rest: bytes) -> None:
    fields = b"".join(b"%08x" % (byte * 0x01010101) for byte in seed)
    try_to_read(b"070702" + fields + rest)


# --- bombs ---


def bomb_gzip(size: int) -> bytes:
    stream = zlib.compressobj(9, wbits=31)
    return b"".join([*(stream.compress(bytes(1 << 20)) for _ in range(size >> 20)), stream.flush()])


def bomb_zstd(size: int) -> bytes:
    # A frame of blocks that each say "128 KiB of one byte" (RFC 8878).
    magic_and_header = b"\x28\xb5\x2f\xfd" + b"\0" + b"\x38"
    block = ((1 << 17) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    return magic_and_header + block * (size >> 17)


def bomb_lz4(size: int) -> bytes:
    block: bytes = lz4.block.compress(bytes(8 << 20), store_size=False)
    return b"\x02\x21\x4c\x18" + (len(block).to_bytes(4, "little") + block) * (size >> 23)


@pytest.mark.parametrize(
    "bomb",
    [
        bomb_gzip,
        lambda size: bz2.compress(bytes(size)),
        lambda size: lzma.compress(bytes(size), preset=0),
        bomb_zstd,
        bomb_lz4,
        lambda size: compress(bytes(size), "lzo"),
    ],
    ids=["gzip", "bzip2", "xz", "zstd", "lz4", "lzo"],
)
@pytest.mark.parametrize("limit", [64 << 20, pytest.param(128 << 20, marks=pytest.mark.thorough)])
def test_bomb_is_stopped_at_the_limit_with_little_memory(bomb: Callable[[int], bytes], limit: int) -> None:
    image = bomb(2 * limit)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        with pytest.raises(cpio_reader.CpioError, match=f"byte 0: .* more than {limit} bytes"):
            unpack(image, limit=limit)
        assert tracemalloc.get_traced_memory()[1] < limit * 5 // 8
    finally:
        tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < (limit >> 10) * 25 // 32  # KiB


def test_limit_counts_over_all_streams() -> None:
    stream = compress(small(), "gzip")
    size = len(small())
    assert len(unpack(stream * 3, limit=3 * size)) == 12
    with pytest.raises(cpio_reader.CpioError, match="more than"):
        unpack(stream * 3, limit=3 * size - 1)


def test_no_room_to_unpack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: open("/dev/full", "r+b", buffering=0))  # noqa: PTH123, SIM115
    with pytest.raises(InfraError, match="cannot unpack the archive: No space left"):
        unpack(compress(small(), "gzip"))
