"""Our cpio archives, as GNU cpio, bsdtar and our own reader see them, and what is not written into one."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.core.errors import ConfigError
from harness.formats import cpio
from harness.formats.cpio import reader as cpio_reader
from harness.formats.tree import Entry

if TYPE_CHECKING:
    from harness.formats.tree import Member


FILE = stat.S_IFREG | 0o644
DIRECTORY = stat.S_IFDIR | 0o755
LINK = stat.S_IFLNK | 0o777


def pack(*entries: Entry, mtime: int = 0) -> bytes:
    out = io.BytesIO()
    cpio.write(entries, out, mtime=mtime)
    return out.getvalue()


def unpack(archive: bytes) -> list[Member]:
    return list(cpio_reader.members(io.BytesIO(archive)))


def data(member: Member) -> bytes:
    return b"".join(member.blocks())


def headers(archive: bytes) -> list[tuple[int, ...]]:
    """The fields of all headers."""
    found = []
    offset = 0
    while archive[offset : offset + 6] == cpio.NEWC:
        fields = tuple(int(archive[at : at + 8], 16) for at in range(offset + 6, offset + 110, 8))
        found.append(fields)
        offset += 110 + fields[11]
        offset += -offset % 4 + fields[6]
        offset += -offset % 4
    return found


# --- against GNU cpio and bsdtar ---


# --- what is written ---


def test_layout_of_the_smallest_archive() -> None:
    archive = pack(Entry("a", FILE, b"xyz", uid=1, gid=2), mtime=3)
    fields = (1, FILE, 1, 2, 1, 3, 3, 0, 0, 0, 0, 2, 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    trailer = b"070701" + b"".join(b"%08X" % field for field in (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0))
    assert archive == (header + b"a\0" + b"xyz\0" + trailer + b"TRAILER!!!\0\0\0\0").ljust(512, b"\0")


def test_inodes_links_and_times() -> None:
    archive = pack(Entry("d", DIRECTORY), Entry("d/a", FILE), Entry("d/b", LINK, target="a"), mtime=9)
    found = [(fields[0], fields[4], fields[5]) for fields in headers(archive)]
    assert found == [(1, 2, 9), (2, 1, 9), (3, 1, 9), (0, 1, 0)]


def test_names_of_one_file_share_its_inode_and_the_last_has_the_content() -> None:
    archive = pack(
        Entry("b", stat.S_IFREG | 0o751, b"content", uid=3, gid=4),
        Entry("a", FILE, link="b", uid=9),
        Entry("c", FILE, link="b"),
        Entry("d", FILE, b"content"),
    )
    #         ino  mode               uid gid nlink mtime size
    shared = [2, stat.S_IFREG | 0o751, 3, 4, 3, 0]
    assert [list(fields[:7]) for fields in headers(archive)][:4] == [
        [*shared, 0],
        [*shared, 0],
        [*shared, 7],
        [4, FILE, 0, 0, 1, 0, 7],
    ]
    members = unpack(archive)
    assert [(m.path, m.link, m.size, m.uid, data(m)) for m in members] == [
        ("a", "", 7, 3, b"content"),
        ("b", "a", 7, 3, b"content"),
        ("c", "a", 7, 3, b"content"),
        ("d", "", 7, 0, b"content"),
    ]


def test_two_files_with_several_names_each() -> None:
    names = "abcd"
    entries = [Entry(f"{at}{file}", FILE, link=f"m{file}") for file in names for at in "az"]
    mains = [Entry(f"m{file}", FILE, file.encode() * n) for n, file in enumerate(names)]
    members = unpack(pack(*entries, *mains))
    assert len(members) == 12
    for member in members:
        file = member.path[1]
        assert data(member) == file.encode() * names.index(file)
        assert member.link == ("" if member.path[0] == "a" else f"a{file}")


def test_a_given_parent_keeps_its_mode() -> None:
    for entries in (
        [Entry("d", stat.S_IFDIR | 0o700, uid=4), Entry("d/a", FILE)],
        [Entry("d/a", FILE), Entry("d", stat.S_IFDIR | 0o700, uid=4)],
    ):
        assert [(m.path, m.mode & 0o777, m.uid) for m in unpack(pack(*entries))] == [
            ("d", 0o700, 4),
            ("d/a", 0o644, 0),
        ]


def entry(path: str, mode: int, content: bytes = b"", **more: Any) -> Entry:
    """An entry, with a signature that can be read: a struct's names types that are not imported."""
    return Entry(path, mode, content, **more)


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
        Entry("x", stat.S_IFCHR, device=(4096, 0)),
        Entry("x", stat.S_IFBLK, device=(0, 1 << 20)),
        Entry("x", stat.S_IFBLK, device=(-1, 0)),
        Entry("x", FILE, Path("/no/such/file")),
        Entry("x", FILE, Path("/")),
        Entry("x", FILE, Path("/dev/zero")),
    ],
)
def test_bad_entry(entry: Entry) -> None:
    with pytest.raises(ConfigError, match="'x'"):
        pack(entry)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (None, r"'x' \(from r\) is a hard link to 'y', which is not in the image"),
        (Entry("y", DIRECTORY), "which is no regular file"),
        (Entry("y", LINK, target="x"), "which is no regular file"),
        (Entry("y", stat.S_IFCHR | 0o600), "which is no regular file"),
        (Entry("y", FILE, link="z"), "which is one itself"),
        (Entry("y/z", FILE), "which is no regular file"),
    ],
)
def test_hard_link_to_what_is_no_file(target: Entry | None, message: str) -> None:
    others = [Entry("z", FILE), *([target] if target else [])]
    with pytest.raises(ConfigError, match=message) as caught:
        pack(Entry("x", FILE, link="y", source="r"), *others)
    assert caught.value.hint


def test_hard_link_to_itself() -> None:
    with pytest.raises(ConfigError, match=r"'x'.* which is one itself"):
        pack(Entry("x", FILE, link="x"))


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


def test_full_disk_is_not_blamed_on_the_source(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(10))
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):  # noqa: PTH123
        cpio.write([Entry("x", FILE, tmp_path / "f")], full)


def test_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match=r"fifo, content of 'x'.*, is no regular file"):
        pack(Entry("x", FILE, tmp_path / "fifo"))
