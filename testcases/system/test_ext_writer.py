"""Our own ext2, ext3 and ext4 filesystems, judged by e2fsck and debugfs: no root, no mounts."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError, InfraError
from harness.formats.ext import reader as ext_reader
from harness.formats.ext import writer as ext_writer
from harness.formats.ext.inode import Allocator, map_by_blocks, map_by_extents
from harness.formats.ext.layout import BLOCK, GROUP, KINDS, lay_out
from harness.formats.tree import Entry
from testcases.support.filesystems import (
    IDENTITY,
    MIB,
    assert_clean,
    device,
    directory,
    e2fs,
    hardlink,
    make,
    needs_e2fsprogs,
    regular,
    symlink,
)
from testcases.support.profiles import fewer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.formats.tree import Member

pytestmark = needs_e2fsprogs

LONG = "/".join(["a-directory-with-a-name"] * 5)
TREE = [
    directory("bin", 0o711),
    regular("bin/tool", b"#!/bin/sh\n" * 1000, 0o4755),
    device("dev/console", stat.S_IFCHR, 5, 1),
    device("dev/sda", stat.S_IFBLK, 8, 0, 0o660),
    device("dev/large", stat.S_IFBLK, 259, 70_000, 0o660),
    Entry("dev/pipe", stat.S_IFIFO | 0o600),
    regular("etc/name with spaces", b"spaces\n", 0o640, (0, 42)),
    regular("etc/$HOME #1 'quoted'", b"odd\n"),
    regular("etc/grüße", b"hello\n"),
    regular(os.fsdecode(b"etc/no-utf8-\xff\xfe"), b"bytes\n"),
    regular("etc/" + "n" * 255, b"longest name\n"),
    regular("home/user/file", b"", 0o600, (1000, 100)),
    regular("home/user/large-ids", b"x", 0o600, (100_000, 4_000_000_000)),
    hardlink("home/user/second", "home/user/third"),
    regular("home/user/third", b"shared content", 0o751, (7, 8)),
    symlink("lib", "usr/lib"),
    symlink("l59", "x" * 59),
    symlink("l60", "x" * 60),
    symlink("long", LONG),
    symlink("longest", "/" * 4095),
    directory("tmp", 0o1777),
]


def found(image: Path) -> dict[str, Member]:
    """Our own reader's view, contents still to be read: the file stays open as long as its members."""
    file = image.open("rb")
    return {member.path: member for member in ext_reader.members(file)}


def content(member: Member) -> bytes:
    return b"".join(member.blocks())


def stat_of(image: Path, path: str) -> str:
    return e2fs("debugfs", "-R", f'stat "/{path}"', image)


@pytest.fixture(scope="module", params=["ext2", "ext3", "ext4"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def image(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(kind) / "image"
    make(path, TREE, kind=kind)
    return path


def test_the_filesystem_is_clean(image: Path) -> None:
    assert_clean(image)


def test_it_is_of_the_kind_that_was_asked_for(image: Path, kind: str) -> None:
    with image.open("rb") as file:
        known = ext_reader.identify(file)
    assert known
    assert (known.kind, known.label, known.uuid) == (kind, "root", str(IDENTITY.uuid))
    header = e2fs("dumpe2fs", "-h", image)
    assert re.search(r"^Filesystem volume name: +root$", header, re.MULTILINE)
    assert ("has_journal" in header) == (kind != "ext2")
    assert re.search(r"^Filesystem state: +clean$", header, re.MULTILINE)
    assert ("Journal size:" in header or "Total journal size:" in header) == (kind != "ext2")


def test_everything_is_there_as_it_was_given(image: Path) -> None:
    members = found(image)
    assert set(members) == {entry.path for entry in TREE} | {
        "",
        "dev",
        "etc",
        "home",
        "home/user",
        "lost+found",
    }
    for entry in TREE:
        member = members[entry.path]
        main = next(other for other in TREE if other.path == (entry.link or entry.path))
        assert (member.mode, member.uid, member.gid) == (main.mode, main.uid, main.gid), entry.path
        assert member.target == entry.target
        assert member.device == entry.device
        assert content(member) == main.content
        assert member.mtime == 0


def test_debugfs_sees_the_same(image: Path, tmp_path: Path) -> None:
    for entry in TREE:
        if not entry.path.isascii():
            continue
        text = stat_of(image, entry.path)
        main = next(other for other in TREE if other.path == (entry.link or entry.path))
        [mode] = re.findall(r"Mode: +(\d+)", text)
        [owner] = re.findall(r"User: +(\d+)", text)
        [group] = re.findall(r"Group: +(-?\d+)", text)
        assert (int(mode, 8), int(owner), int(group) % 2**32) == (stat.S_IMODE(main.mode), main.uid, main.gid)
        assert set(re.findall(r"(?:c|a|m|cr)time: 0x([0-9a-f]+)", text)) == {"00000000"}
        assert re.findall(r"Generation: (\d+)", text) == ["0"]
        if entry.is_device:
            [numbers] = re.findall(r"Device major/minor number: (\d+:\d+)", text)
            assert tuple(map(int, numbers.split(":"))) == entry.device
        if entry.is_file:
            e2fs("debugfs", "-R", f'dump "/{entry.path}" {tmp_path}/dumped', image)
            assert (tmp_path / "dumped").read_bytes() == main.content


def test_short_links_stand_in_their_inodes(image: Path) -> None:
    assert 'Fast link dest: "usr/lib"' in stat_of(image, "lib")
    assert "Fast link dest" in stat_of(image, "l59")
    assert "Fast link dest" not in stat_of(image, "l60")


def test_names_of_one_file_share_its_inode(image: Path) -> None:
    members = found(image)
    assert members["home/user/second"].link == ""
    assert members["home/user/third"].link == "home/user/second"
    assert "Links: 2" in stat_of(image, "home/user/third")
    assert stat_of(image, "home/user/third") == stat_of(image, "home/user/second")


@pytest.mark.parametrize(
    ("path", "mode"), [("", 0o755), ("dev", 0o755), ("home/user", 0o755), ("lost+found", 0o700)]
)
def test_directories_that_nobody_asked_for_belong_to_root(image: Path, path: str, mode: int) -> None:
    member = found(image)[path]
    assert (member.mode, member.uid, member.gid) == (stat.S_IFDIR | mode, 0, 0)


def test_what_was_written_is_told(tmp_path: Path) -> None:
    written = {each.path: each for each in make(tmp_path / "image", TREE)}
    assert list(written) == sorted(written, key=os.fsencode)
    third = written["home/user/third"]
    assert third.sha256 == hashlib.sha256(b"shared content").hexdigest()
    assert (third.size, third.mode, third.uid, third.gid) == (14, stat.S_IFREG | 0o751, 7, 8)
    second = written["home/user/second"]
    assert (second.link, second.sha256, second.size, second.mode) == (
        third.path,
        third.sha256,
        14,
        third.mode,
    )
    assert (written["long"].size, written["long"].target, written["long"].sha256) == (len(LONG), LONG, "")
    assert (written["bin"].size, written["dev/large"].device) == (0, (259, 70_000))
    assert "lost+found" in written
    assert "" not in written


def test_a_time_can_be_chosen(kind: str, tmp_path: Path) -> None:
    make(tmp_path / "image", [regular("file")], kind=kind, mtime=1_700_000_000)
    assert_clean(tmp_path / "image")
    assert {member.mtime for member in found(tmp_path / "image").values()} == {1_700_000_000}
    times = re.findall(r"time: 0x([0-9a-f]+)", stat_of(tmp_path / "image", "file"))
    assert {int(each, 16) for each in times} == {1_700_000_000}


def test_a_time_after_2038_fits_into_large_inodes(tmp_path: Path) -> None:
    make(tmp_path / "image", [regular("file")], mtime=5_000_000_000)
    assert_clean(tmp_path / "image")
    assert found(tmp_path / "image")["file"].mtime == 5_000_000_000
    assert "2128" in stat_of(tmp_path / "image", "file")


def test_the_same_tree_gives_the_same_bits(kind: str, image: Path, tmp_path: Path) -> None:
    """In another order, from files of the host with times and modes of their own."""

    def from_host(entry: Entry) -> Entry:
        if not entry.is_file or entry.link:
            return entry
        source = tmp_path / hashlib.sha256(os.fsencode(entry.path)).hexdigest()
        assert isinstance(entry.content, bytes)
        source.write_bytes(entry.content)
        os.utime(source, (1, 1_234_567_890))
        source.chmod(0o600)
        return msgspec.structs.replace(entry, content=source)

    make(tmp_path / "image", [from_host(entry) for entry in reversed(TREE)], kind=kind)
    assert (tmp_path / "image").read_bytes() == image.read_bytes()


# Pinned, so that a change of the bits is seen and the factory's version is raised with it.
SUMS = {
    "ext2": "987ead636f08dbfd6ae4625b4ec56e2dab2dd430e03840b3f953e8d22464e5a2",
    "ext3": "30d3fcdcf3bffc31cd29ed4ad7e67a3905a92fea8c4832c7cce6225c9b31d9fa",
    "ext4": "8656ff95ee0523c6e58d17a66dbceff92693cc4a581718da06907e81a61819e9",
}


def test_the_bits_are_those_of_every_host_and_release(kind: str, image: Path) -> None:
    assert hashlib.sha256(image.read_bytes()).hexdigest() == SUMS[kind]


@pytest.mark.parametrize("size", [BLOCK * 12, BLOCK * 12 + 1, BLOCK * 1036, BLOCK * 1036 + 1, 40 * MIB + 17])
def test_files_of_every_map(kind: str, tmp_path: Path, size: int) -> None:
    """Direct, indirect and double indirect blocks; through several groups."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size))
    small = [regular(f"d/{number}", b"x" * number) for number in range(100)]
    make(
        tmp_path / "image",
        [*small, regular("large", source), regular("later", b"z")],
        kind=kind,
        size=64 * MIB,
    )
    assert_clean(tmp_path / "image")
    members = found(tmp_path / "image")
    assert content(members["large"]) == source.read_bytes()
    assert content(members["later"]) == b"z"


@pytest.mark.thorough
def test_a_file_that_spans_groups_and_triple_indirect_blocks(kind: str, tmp_path: Path) -> None:
    """More than 4 GiB, of which the host's disk holds next to nothing."""
    source = tmp_path / "source"
    marks = {0: b"begin", 4 * MIB * 1024 + 50 * MIB - 3: b"end", 1 << 32: b"four", 3000 * MIB: b"middle"}
    with source.open("wb") as file:
        for at, data in marks.items():
            file.seek(at)
            file.write(data)
    size = source.stat().st_size
    [written] = [
        each
        for each in make(tmp_path / "image", [regular("large", source)], kind=kind, size=4400 * MIB)
        if each.path == "large"
    ]
    assert written.size == size
    assert (tmp_path / "image").stat().st_blocks * 512 < 32 * MIB
    assert_clean(tmp_path / "image")
    digest = hashlib.sha256()
    seen: dict[int, bytes] = {}
    done = 0
    for piece in found(tmp_path / "image")["large"].blocks():
        digest.update(piece)
        for at, data in marks.items():
            if done <= at < done + len(piece):
                seen[at] = piece[at - done : at - done + len(data)]
        done += len(piece)
    assert seen == marks
    assert digest.hexdigest() == written.sha256
    shutil.rmtree(tmp_path)


def test_many_files_in_one_directory(kind: str, tmp_path: Path) -> None:
    entries = [regular(f"many/file-with-a-name-{number:05}", b"%d" % number) for number in range(20_000)]
    make(tmp_path / "image", entries, kind=kind, size=128 * MIB)
    assert_clean(tmp_path / "image")
    members = found(tmp_path / "image")
    assert sum(path.startswith("many/") for path in members) == 20_000
    assert content(members["many/file-with-a-name-19999"]) == b"19999"


def test_many_groups_with_copies_of_the_superblock(kind: str, tmp_path: Path) -> None:
    image = tmp_path / "image"
    make(image, TREE, kind=kind, size=1300 * MIB + 12345)
    assert_clean(image)
    assert image.stat().st_blocks * 512 < 8 * MIB
    # Group 1 has one, which says so: it does for the first one.
    with image.open("rb") as file:
        file.seek(GROUP * BLOCK + 0x5A)
        assert file.read(2) == b"\1\0"
    assert "Pass 5" in e2fs("e2fsck", "-fn", "-b", str(GROUP), "-B", str(BLOCK), image)


@pytest.mark.parametrize("over", [1, 49, 51, 200, 600])
def test_last_groups_of_every_size(kind: str, tmp_path: Path, over: int) -> None:
    make(tmp_path / "image", TREE, kind=kind, size=(GROUP + over) * BLOCK)
    assert_clean(tmp_path / "image")


def test_it_can_grow_later(kind: str, tmp_path: Path) -> None:
    image = tmp_path / "image"
    make(image, TREE, kind=kind)
    e2fs("resize2fs", image, "300M")
    assert_clean(image)
    assert content(found(image)["etc/name with spaces"]) == b"spaces\n"


def test_directories_with_more_links_than_can_be_counted(tmp_path: Path) -> None:
    entries = [directory(f"d/{number}") for number in range(65_000)]
    make(tmp_path / "image", entries, size=512 * MIB)
    assert_clean(tmp_path / "image")
    assert "Links: 1 " in stat_of(tmp_path / "image", "d")
    with pytest.raises(ConfigError, match=r"'d' .* has 32002 links; ext2 can count 32000"):
        make(tmp_path / "other", entries[:32_000], kind="ext2", size=512 * MIB)


def test_files_with_more_links_than_can_be_counted(tmp_path: Path) -> None:
    entries = [regular("first"), *(hardlink(f"l/{number}", "first") for number in range(65_000))]
    with pytest.raises(ConfigError, match=r"'first' .* has 65001 links; ext4 can count 65000"):
        make(tmp_path / "image", entries, size=64 * MIB)


NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: not {0, ord("/")} & set(name) and name not in {b".", b".."}
)
IDS = st.integers(0, 2**32 - 1)
MODES = st.integers(0, 0o7777)


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    places = [""]
    entries: dict[str, Entry] = {}
    files: list[str] = []
    for _ in range(draw(st.integers(0, 25))):
        name = os.fsdecode(draw(NAMES))
        above = draw(st.sampled_from(places))
        path = f"{above}/{name}" if above else name
        if path in entries or path == "lost+found":
            continue
        what = draw(st.sampled_from(["file", "file", "directory", "symlink", "device", "link"]))
        uid, gid = draw(IDS), draw(IDS)
        if what == "directory":
            entries[path] = Entry(path, stat.S_IFDIR | draw(MODES), uid=uid, gid=gid)
            places.append(path)
        elif what == "symlink":
            target = os.fsdecode(draw(st.binary(min_size=1, max_size=200).filter(lambda text: 0 not in text)))
            entries[path] = Entry(path, stat.S_IFLNK | 0o777, target=target, uid=uid, gid=gid)
        elif what == "device":
            numbers = (draw(st.integers(0, 4095)), draw(st.integers(0, 2**20 - 1)))
            entries[path] = Entry(path, stat.S_IFBLK | draw(MODES), device=numbers, uid=uid, gid=gid)
        elif what == "link" and files:
            entries[path] = hardlink(path, draw(st.sampled_from(files)))
        else:
            data = draw(st.binary(max_size=100)) * draw(st.sampled_from([1, 1, 50, 2000]))
            entries[path] = Entry(path, stat.S_IFREG | draw(MODES), content=data, uid=uid, gid=gid)
            files.append(path)
    return draw(st.permutations(list(entries.values())))


@fewer(2)
@given(entries=trees(), kind=st.sampled_from(["ext2", "ext3", "ext4"]))
def test_every_tree_comes_back(tmp_path: Path, entries: Sequence[Entry], kind: str) -> None:
    image = tmp_path / "image"
    make(image, entries, kind=kind)
    assert_clean(image)
    members = found(image)
    assert set(members) == {entry.path for entry in entries} | {"", "lost+found"}
    by_path = {entry.path: entry for entry in entries}
    for entry in entries:
        member, main = members[entry.path], by_path[entry.link or entry.path]
        assert (member.mode, member.uid, member.gid) == (main.mode, main.uid, main.gid)
        assert (member.target, member.device) == (entry.target, entry.device)
        assert content(member) == main.content
        if entry.link:
            names = {other.path for other in entries if other.link == entry.link} | {entry.link}
            assert {members[name].link or name for name in names} <= names
            assert len({members[name].link or name for name in names}) == 1


def runs_of(count: int) -> list[range]:
    """Many single blocks, as no layout of ours has them."""
    return [range(1000 + 2 * number, 1001 + 2 * number) for number in range(count)]


@pytest.mark.parametrize(("count", "depth", "nodes"), [(4, 0, 0), (5, 1, 1), (1360, 1, 4), (1361, 2, 6)])
def test_extents_get_a_tree_when_there_are_many(count: int, depth: int, nodes: int) -> None:
    layout = lay_out(KINDS["ext4"], 64 * MIB, 100)
    assert layout
    put: list[bytes] = []
    mapping, used = map_by_extents(runs_of(count), Allocator(layout), put.append, 0)
    assert (used, len(put), int.from_bytes(mapping[6:8], "little")) == (nodes, nodes, depth)
    assert {len(block) for block in put} <= {BLOCK}


def test_indirect_blocks_are_counted_as_they_are_put() -> None:
    layout = lay_out(KINDS["ext2"], 6000 * MIB, 100)
    assert layout
    put: list[bytes] = []
    blocks = Allocator(layout)
    count = 12 + 1024 + 1024**2 + 1025
    mapping, used = map_by_blocks([range(5, 5 + count)], blocks, put.append)
    # One single; a double with 1024 below it; a triple with a double that has two below it.
    assert used == len(put) == blocks.used == 1 + 1025 + 4
    assert mapping[:8] == (5).to_bytes(4, "little") + (6).to_bytes(4, "little")
    assert put[0][:4] == (17).to_bytes(4, "little")


@pytest.mark.parametrize(("count", "expected"), [(12, 0), (13, 1), (12 + 1024, 1), (12 + 1025, 3)])
def test_no_more_indirect_blocks_than_needed(count: int, expected: int) -> None:
    layout = lay_out(KINDS["ext2"], 64 * MIB, 100)
    assert layout
    put: list[bytes] = []
    _, used = map_by_blocks([range(5, 5 + count)], Allocator(layout), put.append)
    assert used == len(put) == expected


def smallest(entries: Sequence[Entry], kind: str, size: int) -> int:
    with pytest.raises(ext_writer.TooSmallError) as caught:
        ext_writer.plan(KINDS[kind], size, entries, IDENTITY)
    return caught.value.needed


@pytest.mark.parametrize(
    "entries",
    [
        [regular("large", b"x" * (5 * MIB))],
        [regular(f"file{number}") for number in range(20_000)],
        [regular(f"file{number}", b"x") for number in range(3000)],
    ],
    ids=["one large file", "many empty files", "many small files"],
)
def test_too_small_a_place_says_which_size_does(kind: str, tmp_path: Path, entries: Sequence[Entry]) -> None:
    needed = smallest(entries, kind, 2 * MIB)
    assert needed % MIB == 0
    make(tmp_path / "image", entries, kind=kind, size=needed)
    assert_clean(tmp_path / "image")
    assert smallest(entries, kind, needed - MIB) == needed


@pytest.mark.parametrize("size", [0, 1000, 5 * BLOCK])
def test_no_room_for_a_filesystem_at_all(kind: str, tmp_path: Path, size: int) -> None:
    needed = smallest([], kind, size)
    make(tmp_path / "image", [], kind=kind, size=needed)
    assert_clean(tmp_path / "image")


def test_the_last_block_can_be_used(tmp_path: Path) -> None:
    size = 4 * MIB
    with pytest.raises(ext_writer.TooSmallError):
        make(tmp_path / "image", [regular("file", b"x" * size)], kind="ext2", size=size)
    layout = lay_out(KINDS["ext2"], size, 14)
    assert layout
    # The root and lost+found take five blocks, the map one.
    full = [regular("file", b"x" * BLOCK * (layout.room - 6))]
    make(tmp_path / "image", full, kind="ext2", size=size)
    assert_clean(tmp_path / "image")
    assert re.search(r"^Free blocks: +0$", e2fs("dumpe2fs", "-h", tmp_path / "image"), re.MULTILINE)
    with pytest.raises(ext_writer.TooSmallError):
        make(tmp_path / "image", [*full, regular("one more", b"x")], kind="ext2", size=size)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (regular("n" * 256), "has a name of more than 255 bytes"),
        (regular("file", owner=(-1, 0)), "belongs to -1:0"),
        (regular("file", owner=(0, 1 << 32)), "belongs to 0:4294967296"),
        (regular("lost+found"), "must be a directory"),
        (hardlink("file", "nothing"), "not in the image"),
        (Entry("file", 0o130644), "names no type of file"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, entry: Entry, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        make(tmp_path / "image", [entry])
    assert entry.path[:20] in caught.value.message
    assert not (tmp_path / "image").exists()


def test_lost_and_found_can_be_given_another_mode(tmp_path: Path) -> None:
    make(tmp_path / "image", [directory("lost+found", 0o755), regular("lost+found/file", b"x")])
    assert_clean(tmp_path / "image")
    assert stat.S_IMODE(found(tmp_path / "image")["lost+found"].mode) == 0o755


def test_content_that_is_missing_is_the_users_affair(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*/nothing, content of 'file'"):
        make(tmp_path / "image", [regular("file", tmp_path / "nothing")])
    with pytest.raises(ConfigError, match="is no regular file"):
        make(tmp_path / "image", [regular("file", tmp_path)])


@pytest.mark.parametrize("length", [3, 5000])
def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path, length: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"four")
    planned = ext_writer.plan(KINDS["ext4"], 8 * MIB, [regular("file", source)], IDENTITY)
    source.write_bytes(b"x" * length)
    with (tmp_path / "image").open("wb") as file, pytest.raises(InfraError, match="changed its size"):
        planned.write(file.fileno(), 0)
    source.unlink()
    with (tmp_path / "image").open("wb") as file, pytest.raises(ConfigError, match="No such file"):
        planned.write(file.fileno(), 0)
