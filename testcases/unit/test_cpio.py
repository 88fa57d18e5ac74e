"""Our cpio archives against GNU cpio's, and our reader against damage."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ConfigError, InfraError
from harness.image import cpio, cpio_reader
from harness.image.tree import Entry

needs_cpio = pytest.mark.skipif(shutil.which("cpio") is None, reason="GNU cpio is not installed")

FILE = stat.S_IFREG | 0o644
DIRECTORY = stat.S_IFDIR | 0o755
LINK = stat.S_IFLNK | 0o777


def pack(*entries: Entry, mtime: int = 0) -> bytes:
    out = io.BytesIO()
    cpio.write(entries, out, mtime=mtime)
    return out.getvalue()


def unpack(archive: bytes) -> list[cpio_reader.Member]:
    return list(cpio_reader.read(io.BytesIO(archive)))


def gnu_cpio(*options: str, stdin: bytes, cwd: Path) -> bytes:
    return subprocess.run(
        ["cpio", "--quiet", *options], input=stdin, cwd=cwd, capture_output=True, check=True
    ).stdout


def sample(tmp_path: Path) -> list[Entry]:
    big = tmp_path / "big"
    big.write_bytes(bytes(range(256)) * 10_000)
    return [
        Entry("bin/tool", stat.S_IFREG | 0o755, b"#!/bin/sh\n"),
        Entry("bin/link", LINK, target="tool"),
        Entry("etc", stat.S_IFDIR | 0o750),
        Entry("etc/empty", FILE),
        Entry("etc/with space", FILE, b"x"),
        Entry(os.fsdecode(b"etc/odd\xff\x01name"), FILE, b"four"),
        Entry("lib/big", FILE, big),
    ]


# --- against GNU cpio ---


@needs_cpio
def test_gnu_cpio_extracts_what_went_in(tmp_path: Path) -> None:
    entries = sample(tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    archive = pack(*entries, mtime=1_000_000_000)
    gnu_cpio("-idm", "--no-absolute-filenames", stdin=archive, cwd=root)

    found = {os.fsdecode(p.relative_to(root)) for p in root.rglob("*")}
    assert found == {entry.path for entry in entries} | {"bin", "lib"}
    for entry in entries:
        there = root / entry.path
        assert there.lstat().st_mode == entry.mode
        if entry.is_symlink:
            assert str(there.readlink()) == entry.target
        elif entry.is_file:
            content = entry.content if isinstance(entry.content, bytes) else entry.content.read_bytes()
            assert there.read_bytes() == content
            assert there.stat().st_mtime == 1_000_000_000


@needs_cpio
def test_gnu_cpio_lists_names_in_order_of_bytes(tmp_path: Path) -> None:
    archive = pack(*(Entry(name, FILE) for name in ("b", "a/z", "a-b", "a.c", "B")))
    assert gnu_cpio("-it", stdin=archive, cwd=tmp_path).split() == [b"B", b"a", b"a-b", b"a.c", b"a/z", b"b"]


@needs_cpio
def test_gnu_cpio_lists_devices_and_owners(tmp_path: Path) -> None:
    archive = pack(
        Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        Entry("dev/sda", stat.S_IFBLK | 0o660, device=(8, 0), uid=7, gid=6),
    )
    lines = gnu_cpio("-itvn", stdin=archive, cwd=tmp_path).decode().splitlines()
    console, disk = lines[1].split(), lines[2].split()
    assert lines[0].split()[:4] == ["drwxr-xr-x", "2", "0", "0"]
    assert (console[0], console[2:6], console[-1]) == ("crw-------", ["0", "0", "5,", "1"], "dev/console")
    assert (disk[0], disk[2:6], disk[-1]) == ("brw-rw----", ["7", "6", "8,", "0"], "dev/sda")


@needs_cpio
@pytest.mark.parametrize("kind", ["newc", "crc"])
def test_reads_gnu_cpio(tmp_path: Path, kind: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file with space").write_bytes(b"content" * 1000)
    (tmp_path / "sub/empty").touch(mode=0o600)
    (tmp_path / "sub/link").symlink_to("empty")
    names = b"sub\0sub/file with space\0sub/empty\0sub/link\0"
    archive = gnu_cpio("-o", "-0", "-H", kind, stdin=names, cwd=tmp_path)

    members = unpack(archive)
    assert [m.path for m in members] == os.fsdecode(names).strip("\0").split("\0")
    assert [m.data for m in members] == [b"", b"content" * 1000, b"", b"empty"]
    for member in members:
        there = (tmp_path / member.path).lstat()
        assert (member.mode, member.uid, member.gid, member.mtime) == (
            there.st_mode,
            there.st_uid,
            there.st_gid,
            int(there.st_mtime),
        )


# --- what is written ---


def test_layout_of_the_smallest_archive() -> None:
    archive = pack(Entry("a", FILE, b"xyz", uid=1, gid=2), mtime=3)
    fields = (1, FILE, 1, 2, 1, 3, 3, 0, 0, 0, 0, 2, 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    trailer = b"070701" + b"".join(b"%08X" % field for field in (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0))
    assert archive == (header + b"a\0" + b"xyz\0" + trailer + b"TRAILER!!!\0\0\0\0").ljust(512, b"\0")


def test_report_says_what_was_written(tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(b"ab" * 700_000)  # more than a block
    written = cpio.write(
        [
            Entry("d/file", FILE, content, uid=5, source="a package"),
            Entry("d/link", LINK, target="file"),
        ],
        io.BytesIO(),
    )
    sha256 = hashlib.sha256(content.read_bytes()).hexdigest()
    assert written == [
        cpio.Written("d", DIRECTORY, 0, 0, 0, "", ""),
        cpio.Written("d/file", FILE, 5, 0, 1_400_000, sha256, "a package"),
        cpio.Written("d/link", LINK, 0, 0, 4, "", ""),
    ]


def test_inodes_links_and_times() -> None:
    members = unpack(pack(Entry("d", DIRECTORY), Entry("d/a", FILE), Entry("d/b", LINK, target="a"), mtime=9))
    assert [(m.ino, m.nlink, m.mtime) for m in members] == [(1, 2, 9), (2, 1, 9), (3, 1, 9)]


def test_order_of_entries_does_not_matter(tmp_path: Path) -> None:
    entries = sample(tmp_path)
    archive = pack(*entries)
    assert len(archive) % 512 == 0
    assert pack(*reversed(entries)) == archive
    assert pack(*entries[3:], *entries[:3]) == archive


def test_a_given_parent_keeps_its_mode() -> None:
    for entries in (
        [Entry("d", stat.S_IFDIR | 0o700, uid=4), Entry("d/a", FILE)],
        [Entry("d/a", FILE), Entry("d", stat.S_IFDIR | 0o700, uid=4)],
    ):
        assert [(m.path, m.mode & 0o777, m.uid) for m in unpack(pack(*entries))] == [
            ("d", 0o700, 4),
            ("d/a", 0o644, 0),
        ]


NAMES = st.lists(
    st.binary(min_size=1, max_size=20).filter(
        lambda b: not {0, ord("/")} & set(b) and b not in {b".", b".."}
    ),
    min_size=1,
    max_size=3,
).map(lambda parts: os.fsdecode(b"/".join(parts)))
TARGETS = st.binary(min_size=1, max_size=30).filter(lambda b: 0 not in b).map(os.fsdecode)
NUMBERS = st.integers(0, 0xFFFFFFFF)
ENTRIES = st.one_of(
    st.builds(
        Entry,
        NAMES,
        st.integers(0, 0o7777).map(lambda m: stat.S_IFREG | m),
        st.binary(max_size=2000),
        uid=NUMBERS,
        gid=NUMBERS,
    ),
    st.builds(Entry, NAMES, st.just(LINK), target=TARGETS),
    st.builds(Entry, NAMES, st.just(stat.S_IFBLK | 0o600), device=st.tuples(NUMBERS, NUMBERS)),
    st.builds(Entry, NAMES, st.integers(0, 0o7777).map(lambda m: stat.S_IFDIR | m), uid=NUMBERS),
)


def prefix_free(entries: list[Entry]) -> list[Entry]:
    """Drop entries below something that is no directory."""
    solid = {e.path for e in entries if not e.is_directory}
    return [e for e in entries if not any(str(p) in solid for p in list(_parents(e.path)))]


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


@given(st.lists(ENTRIES, max_size=8, unique_by=lambda e: e.path).map(prefix_free), NUMBERS, st.randoms())
def test_round_trip(entries: list[Entry], mtime: int, random: object) -> None:
    archive = pack(*entries, mtime=mtime)
    shuffled = entries.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert pack(*shuffled, mtime=mtime) == archive

    members = {m.path: m for m in unpack(archive)}
    assert members.keys() == {e.path for e in entries} | {p for e in entries for p in _parents(e.path)}
    for entry in entries:
        member = members[entry.path]
        data = os.fsencode(entry.target) if entry.is_symlink else entry.content
        assert (member.mode, member.uid, member.gid, member.mtime) == (
            entry.mode,
            entry.uid,
            entry.gid,
            mtime,
        )
        assert (member.data, member.device) == (data, entry.device)


# --- what is refused ---


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc",
        "..",
        "a/../b",
        "../a",
        ".",
        "./a",
        "a//b",
        "a/",
        "nul\0",
        "TRAILER!!!",
        "n" * 4096,
        "\ud800",
    ],
)
def test_bad_path(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pack(Entry(path, FILE, source="a recipe"))
    assert repr(path) in caught.value.message
    assert "a recipe" in caught.value.message


@pytest.mark.parametrize(
    "entry",
    [
        Entry("x", 0o644),
        Entry("x", LINK),
        Entry("x", LINK, target="a\0b"),
        Entry("x", LINK, target="t" * 4096),
        Entry("x", FILE, uid=-1),
        Entry("x", FILE, gid=1 << 32),
        Entry("x", stat.S_IFCHR, device=(1 << 32, 0)),
        Entry("x", FILE, Path("/no/such/file")),
        Entry("x", FILE, Path("/")),
        Entry("x", FILE, Path("/dev/zero")),
    ],
)
def test_bad_entry(entry: Entry) -> None:
    with pytest.raises(ConfigError, match="'x'"):
        pack(entry)


def test_the_longest_name_that_the_kernel_takes() -> None:
    assert unpack(pack(Entry("n" * 4095, FILE)))[0].path == "n" * 4095


def test_two_entries_with_one_path() -> None:
    with pytest.raises(ConfigError, match="'x' comes from both bash 5 and dash 1"):
        pack(Entry("x", FILE, source="bash 5"), Entry("x", FILE, source="dash 1"))


@pytest.mark.parametrize("parent", [Entry("bin", LINK, target="usr/bin"), Entry("bin", FILE)])
def test_entry_below_what_is_no_directory(parent: Entry) -> None:
    with pytest.raises(ConfigError, match=r"'bin/bash'.* lies below 'bin'"):
        pack(Entry("bin/bash", FILE), parent)


def test_unreadable_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0)
    if os.access(secret, os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(ConfigError, match="secret"):
        pack(Entry("x", FILE, secret))


def test_file_of_4_gib(tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(1 << 32)  # sparse
    with pytest.raises(ConfigError, match=r"huge has 4294967296 bytes"):
        pack(Entry("x", FILE, huge))


@pytest.mark.parametrize("change", [-1, 1, -(2 << 20), 2 << 20])
def test_file_that_changes_while_it_is_read(tmp_path: Path, change: int) -> None:
    moving = tmp_path / "moving"
    size = 3 << 20
    moving.write_bytes(bytes(size))

    class Meddler(io.BytesIO):
        """Change the file when the first byte of the archive, its header, is written."""

        def write(self, data: bytes) -> int:  # type: ignore[override]
            os.truncate(moving, size + change)
            return super().write(data)

    with pytest.raises(InfraError, match="moving"):
        cpio.write([Entry("x", FILE, moving)], Meddler())


def test_full_disk_is_not_blamed_on_the_source(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(10))
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):  # noqa: PTH123
        cpio.write([Entry("x", FILE, tmp_path / "f")], full)  # type: ignore[arg-type, unused-ignore]


# --- damage ---


def small() -> bytes:
    return pack(Entry("d/a", FILE, b"12345"), Entry("d/l", LINK, target="a"))


def test_truncated_at_every_byte() -> None:
    archive = small()
    end = archive.index(b"TRAILER!!!") + len("TRAILER!!!") + 4
    assert not archive[end:].strip(b"\0")
    whole = unpack(archive)
    for length in range(end):
        with pytest.raises(cpio_reader.CpioError, match=r"the archive, byte \d+: "):
            unpack(archive[:length])
    for length in range(end, len(archive) + 1):
        assert unpack(archive[:length]) == whole


def test_concatenated_archives() -> None:
    one, two = pack(Entry("one", FILE, b"1")), pack(Entry("two", FILE, b"2"))
    for padding in (0, 4, 512):
        assert [m.path for m in unpack(one + bytes(padding) + two)] == ["one", "two"]
    with pytest.raises(cpio_reader.CpioError, match=r"byte 513: .*multiple of 4"):
        unpack(one + b"\0" + two)
    with pytest.raises(cpio_reader.CpioError, match="byte 512: "):
        unpack(one + b"junkjunk")
    with pytest.raises(cpio_reader.CpioError, match="cut off"):
        unpack(one + two[:200])


@pytest.mark.parametrize(
    ("offset", "new", "message"),
    [
        (0, b"070707", "byte 0: .*070707"),
        (0, b"\x1f\x8b\x08\0\0\0", "byte 0: .*compressed"),
        (6, b"0000000g", "no hex digit"),
        (6, b" 0000001", "no hex digit"),
        (6, b"0000_001", "no hex digit"),
        (54, b"FFFFFFFF", "cut off in the content of 'd'"),
        (94, b"00000000", "name of 0 bytes"),
        (94, b"FFFFFFFF", "name of 4294967295 bytes"),
        (94, b"00000003", "NUL"),
        (110, b"\0", "NUL"),
    ],
)
def test_damaged_header(offset: int, new: bytes, message: str) -> None:
    archive = small()
    with pytest.raises(cpio_reader.CpioError, match=message):
        unpack(archive[:offset] + new + archive[offset + len(new) :])


def test_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "broken.cpio").write_bytes(small()[:150])
    with (
        (tmp_path / "broken.cpio").open("rb") as file,
        pytest.raises(cpio_reader.CpioError, match=r"broken\.cpio, byte 150"),
    ):
        list(cpio_reader.read(file))


@needs_cpio
def test_wrong_checksum(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    archive = gnu_cpio("-o", "-H", "crc", stdin=b"f\n", cwd=tmp_path)
    with pytest.raises(cpio_reader.CpioError, match="checksum"):
        unpack(archive.replace(b"content", b"contend"))


def try_to_read(archive: bytes) -> None:
    try:
        for member in cpio_reader.read(io.BytesIO(archive)):
            assert len(member.data) <= len(archive)
    except cpio_reader.CpioError:
        pass


@given(st.binary(max_size=600))
def test_random_bytes_raise_nothing_else(archive: bytes) -> None:
    try_to_read(archive)
    try_to_read(b"070701" + archive)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), min_size=1, max_size=5))
def test_flipped_bytes_raise_nothing_else(flips: list[tuple[int, int]]) -> None:
    archive = bytearray(small())
    for offset, value in flips:
        archive[offset] = value
    try_to_read(bytes(archive))


@given(st.binary(min_size=13, max_size=13), st.binary(max_size=100))
def test_random_fields_raise_nothing_else(seed: bytes, rest: bytes) -> None:
    fields = b"".join(b"%08x" % (byte * 0x01010101) for byte in seed)
    try_to_read(b"070702" + fields + rest)


def test_absurd_size_takes_no_memory() -> None:
    class Frugal(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert 0 <= size <= 1 << 20
            return super().read(size)

    archive = small()
    lie = archive[:54] + b"FFFFFFFF" + archive[62:]
    with pytest.raises(cpio_reader.CpioError, match="cut off"):
        list(cpio_reader.read(Frugal(lie + bytes(3 << 20))))


@pytest.mark.parametrize("length", [0, 5])
def test_no_archive_at_all(length: int) -> None:
    with pytest.raises(cpio_reader.CpioError, match=f"byte {length}: .* no trailer"):
        unpack(small()[:length])
