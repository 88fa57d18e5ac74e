"""The reader of ext filesystems, on those of e2fsprogs with all their settings, and on damaged ones."""

from __future__ import annotations

import io
import os
import random
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.formats.ext import reader as ext_reader
from harness.formats.ext.reader import ExtError
from testcases.support.filesystems import (
    MIB,
    directory,
    e2fs,
    hardlink,
    make,
    mke2fs_usage,
    needs_e2fsprogs,
    regular,
    symlink,
)
from testcases.support.profiles import fewer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from harness.formats.tree import Member

pytestmark = needs_e2fsprogs

# From e2fsprogs 1.47.1 on, this is said in another way.
REVISION_0 = ["-r", "0"] if "-r fs-revision" in mke2fs_usage() else ["-E", "revision=0"]
SETTINGS = {
    "ext2": ["-t", "ext2"],
    "ext2, 1 KiB blocks": ["-t", "ext2", "-b", "1024"],
    "ext2, revision 0": ["-t", "ext2", *REVISION_0],
    "ext2, all superblocks": ["-t", "ext2", "-b", "1024", "-O", "^sparse_super,^resize_inode"],
    "ext2 without types in directories": ["-t", "ext2", "-O", "none"],
    "ext3": ["-t", "ext3", "-b", "2048"],
    "ext3, small inodes": ["-t", "ext3", "-I", "128"],
    "ext4": ["-t", "ext4"],
    "ext4, 1 KiB blocks": ["-t", "ext4", "-b", "1024"],
    "ext4, 64 KiB blocks": ["-t", "ext4", "-b", "65536"],
    "ext4, large inodes": ["-t", "ext4", "-I", "1024"],
    "ext4, 32-bit": ["-t", "ext4", "-O", "^64bit"],
    "ext4 without checksums": ["-t", "ext4", "-O", "^metadata_csum"],
    "ext4, older checksums": ["-t", "ext4", "-O", "^metadata_csum,uninit_bg"],
    "ext4 without extents": ["-t", "ext4", "-O", "^extents,^64bit"],
    "ext4, content in inodes": ["-t", "ext4", "-O", "inline_data"],
    "ext4, descriptors in groups": ["-t", "ext4", "-O", "meta_bg,^resize_inode", "-b", "1024", "-g", "1024"],
    "ext4, seed of checksums": ["-t", "ext4", "-O", "metadata_csum_seed"],
    "ext4, clusters": ["-t", "ext4", "-O", "bigalloc", "-C", "16384"],
    "ext4, two superblocks": ["-t", "ext4", "-O", "sparse_super2"],
}  # fmt: skip


def below(root: Path) -> list[Path]:
    """All that is in a directory; rglob of Python 3.11.2 ends at a link that is too long."""
    return [Path(top) / name for top, directories, files in os.walk(root) for name in (*directories, *files)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of the host, with all that can be in one."""
    root = tmp_path_factory.mktemp("tree")
    chance = random.Random(4)  # noqa: S311 - the same every time
    (root / "bin").mkdir()
    (root / "bin/tool").write_bytes(b"#!/bin/sh\n" * 1000)
    (root / "bin/tool").chmod(0o4755)
    (root / "empty").touch()
    (root / "tiny").write_bytes(b"tiny")
    (root / "inline").write_bytes(chance.randbytes(140))
    (root / "large").write_bytes(chance.randbytes(3 * MIB + 5))
    with (root / "sparse").open("wb") as file:
        for at in (0, 5 * MIB, 70 * MIB):
            file.seek(at)
            file.write(chance.randbytes(5000))
        file.truncate(80 * MIB)
    os.link(root / "tiny", root / "bin/tiny")
    (root / "short").symlink_to("bin/tool")
    (root / "middle").symlink_to("x" * 100)
    (root / "long").symlink_to("y" * 900)
    (root / "many").mkdir(mode=0o711)
    for number in range(700):
        (root / f"many/file with a name {number}").write_bytes(b"%d" % number)
    deep = root / os.fsdecode(b"d\xff")
    for _ in range(30):
        deep /= "deep"
    deep.mkdir(parents=True)
    (deep / ("n" * 255)).write_bytes(b"deepest")
    for path in [root, *below(root)]:
        os.utime(path, (1_600_000_000, 1_700_000_000), follow_symlinks=False)
    return root


def stock(image: Path, tree: Path, *options: str, size: str = "128M") -> Path:
    e2fs("mke2fs", "-q", "-F", "-L", "stock", *options, "-d", tree, image, size)
    return image


def all_members(image: Path) -> Iterator[Member]:
    with image.open("rb") as file:
        yield from ext_reader.members(file)


@pytest.mark.parametrize("name", SETTINGS)
def test_stock_filesystems_are_read_as_they_were_made(name: str, tree: Path, tmp_path: Path) -> None:
    image = stock(tmp_path / "image", tree, *SETTINGS[name])
    if name != "ext4, content in inodes":  # e2fsprogs 1.47.0 counts the blocks of long links wrongly there
        e2fs("e2fsck", "-fn", image)
    # Where content may stand in inodes, mke2fs 1.47.0 forgets the hole at the end of a file.
    compare(image, tree, ends_early=70 * MIB + 5120 if "inodes" in name else -1)
    with image.open("rb") as file:
        known = ext_reader.identify(file)
    assert known
    assert known.kind == name[:4]
    assert (known.state, known.size) == ("clean", 128 * MIB)
    header = e2fs("dumpe2fs", "-h", image)
    assert sorted(known.features) == sorted(
        re.findall(r"^Filesystem features: +(.*)", header, re.MULTILINE)[0].replace("(none)", "").split()
    )
    assert known.uuid == re.findall(r"^Filesystem UUID: +(.*)", header, re.MULTILINE)[0]
    assert known.label == "stock"


def compare(image: Path, tree: Path, *, ends_early: int = -1) -> None:
    expected = {str(path.relative_to(tree)): path for path in below(tree)}
    links: dict[str, str] = {}
    seen = set()
    for member in all_members(image):
        seen.add(member.path)
        if member.path in {"", "lost+found"}:
            assert member.is_directory
            continue
        path = expected[member.path]
        status = path.lstat()
        assert (member.mode, member.mtime) == (status.st_mode, 1_700_000_000), member.path
        assert (member.uid, member.gid) == (status.st_uid, status.st_gid)
        if member.is_symlink:
            assert member.target == str(path.readlink())
        if member.link:
            links[member.path] = member.link
        if member.is_file and (member.path, member.size) != ("sparse", ends_early):
            assert member.size == status.st_size
            assert b"".join(member.blocks()) == path.read_bytes(), member.path
    assert seen == set(expected) | {"", "lost+found"}
    assert links in ({"tiny": "bin/tiny"}, {"bin/tiny": "tiny"})


def test_directories_with_an_index(tree: Path, tmp_path: Path) -> None:
    image = stock(tmp_path / "image", tree, "-t", "ext4", "-b", "1024")
    e2fs("e2fsck", "-fyD", image, accepted=(0, 1))  # -D makes the indexes
    assert "Flags: 0x81000" in e2fs("debugfs", "-R", "stat /many", image)
    compare(image, tree)


def test_a_filesystem_that_begins_somewhere(tree: Path, tmp_path: Path) -> None:
    image = stock(tmp_path / "image", tree, "-t", "ext4")
    moved = io.BytesIO(bytes(12345) + image.read_bytes())
    assert {m.path for m in ext_reader.members(moved, 12345)} == {m.path for m in all_members(image)}
    assert ext_reader.identify(moved, 12345)
    assert ext_reader.identify(moved) is None


def test_devices_and_owners(tmp_path: Path) -> None:
    image = tmp_path / "image"
    e2fs("mke2fs", "-q", "-F", "-t", "ext4", image, "16M")
    script = tmp_path / "script"
    script.write_text(
        "mknod console c 5 1\nmknod large b 259 60000\nmknod pipe p\n"
        "sif console uid 70000\nsif console gid 65536\nsif console mode 020640\n"
    )
    e2fs("debugfs", "-w", "-f", script, image)
    members = {member.path: member for member in all_members(image)}
    console = members["console"]
    assert (console.device, console.uid, console.gid, console.mode) == ((5, 1), 70000, 65536, 0o20640)
    assert members["large"].device == (259, 60000)
    assert stat.S_ISFIFO(members["pipe"].mode)


def test_a_journal_that_waits_is_told(tmp_path: Path) -> None:
    image = tmp_path / "image"
    e2fs("mke2fs", "-q", "-F", "-t", "ext4", image, "16M")
    e2fs("debugfs", "-w", "-R", "feature needs_recovery", image)
    with image.open("rb") as file:
        known = ext_reader.identify(file)
    assert known
    assert known.state == "not cleanly unmounted"


@pytest.mark.parametrize("data", [b"", b"short", bytes(4096)])
def test_what_is_no_filesystem(data: bytes) -> None:
    assert ext_reader.identify(io.BytesIO(data)) is None
    with pytest.raises(ExtError, match=r"^the image, byte 1024: no ext2, ext3 or ext4 filesystem"):
        list(ext_reader.members(io.BytesIO(data)))


@pytest.fixture(scope="module", params=["ext2", "ext4", "ext4 without checksums", "ext4, content in inodes"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small filesystem with all maps, in which few bytes do not matter."""
    place = tmp_path_factory.mktemp("small")
    tree = place / "tree"
    (tree / "directory/below").mkdir(parents=True)
    (tree / "directory/file").write_bytes(bytes(range(256)) * 1200)
    os.link(tree / "directory/file", tree / "directory/again")
    (tree / "directory/below/link").symlink_to("x" * 80)
    (tree / "short").symlink_to("file")
    (tree / "inline").write_bytes(b"i" * 100)
    for number in range(30):
        (tree / f"{number}").write_bytes(b"x")
    image = place / "image"
    options = [*SETTINGS[request.param], "-b", "1024", "-N", "128"]
    if "ext4" in request.param:
        options += ["-O", "^has_journal,^resize_inode"]
    stock(image, tree, *options, size="700K")
    return image.read_bytes()


def read_all(file: BinaryIO) -> int:
    """Read all there is, up to some MiB of each file; return how many members there are."""
    count = 0
    for member in ext_reader.members(file):
        count += 1
        assert len(member.path) <= 1 << 16
        left = 4 * MIB
        for piece in member.blocks():
            assert len(piece) <= MIB
            left -= len(piece)
            if left < 0:
                break
    return count


SENTENCE = r"(the image, byte \d+: \S[^\n]*)?\Z"


def complaint(data: bytes) -> str:
    """What the reader says of an image; "" if it says nothing."""
    try:
        read_all(io.BytesIO(data))
    except ConfigError as error:
        return error.message
    return ""


def test_the_undamaged_one_is_read(small: bytes) -> None:
    assert read_all(io.BytesIO(small)) > 35


@given(data=st.data())
def test_damage_is_said_in_a_sentence(small: bytes, data: st.DataObject) -> None:
    """Bytes anywhere, most of all in superblock, descriptors, inode tables and directories."""
    damaged = bytearray(small)
    place = st.one_of(st.integers(1024, 4096), st.integers(4096, 100_000), st.integers(0, len(small) - 1))
    for at, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=30)):
        damaged[at] = value
    assert re.match(SENTENCE, complaint(bytes(damaged)))


@fewer(2)
@given(data=st.data())
def test_bits_of_inodes_that_are_turned(small: bytes, data: st.DataObject) -> None:
    damaged = bytearray(small)
    at = data.draw(st.integers(0, len(small) - 1).filter(lambda at: small[at]))
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    assert re.match(SENTENCE, complaint(bytes(damaged)))


@fewer(2)
@given(data=st.data())
def test_a_cut_image_is_said(small: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(small) - 1))
    words = complaint(small[:cut])
    assert re.match(SENTENCE, words)
    if not words:  # nothing but free blocks is missing
        assert cut > 100_000
        assert read_all(io.BytesIO(small[:cut])) == read_all(io.BytesIO(small))


def patched(image: Path, *edits: tuple[int, bytes]) -> io.BytesIO:
    data = bytearray(image.read_bytes())
    for at, new in edits:
        data[at : at + len(new)] = new
    return io.BytesIO(bytes(data))


def test_a_directory_inside_itself_is_damage(tmp_path: Path) -> None:
    image = tmp_path / "image"
    make(image, [directory("a"), directory("a/b")], kind="ext2", size=MIB)
    [place] = re.findall(r"\(0\):(\d+)", e2fs("debugfs", "-R", "stat a", image))
    data = image.read_bytes()
    at = (
        data.index(b"\x01\x02b", int(place) * 4096) - 6
    )  # the entry for b: inode, length, 1 letter, directory
    [number] = re.findall(r"Inode: (\d+)", e2fs("debugfs", "-R", "stat a", image))
    with pytest.raises(ExtError, match=r"'a/b' .*in two places"):
        list(ext_reader.members(patched(image, (at, int(number).to_bytes(4, "little")))))


def test_a_file_in_blocks_beyond_the_end_is_damage(tmp_path: Path) -> None:
    image = tmp_path / "image"
    make(image, [regular("file", b"x" * 100_000)], kind="ext2", size=MIB)
    e2fs("debugfs", "-w", "-R", "sif file block[3] 999999", image)
    [member] = [member for member in ext_reader.members(patched(image)) if member.path == "file"]
    with pytest.raises(ExtError, match=r"maps block 999999, which does not exist"):
        list(member.blocks())


def test_a_map_that_leads_to_itself_ends(tmp_path: Path) -> None:
    image = tmp_path / "image"
    make(image, [regular("file", b"x" * 100_000)], kind="ext2", size=MIB)
    for command in ("sif file size 1000000000000", "sif file block[IND] 200", "sif file block[TIND] 200"):
        e2fs("debugfs", "-w", "-R", command, image)
    loop = (200).to_bytes(4, "little") * 1024
    [member] = [m for m in ext_reader.members(patched(image, (200 * 4096, loop))) if m.path == "file"]
    with pytest.raises(ExtError, match="maps more blocks than there are"):
        sum(map(len, member.blocks()))


# Magic and entries; room and depth.
@pytest.mark.parametrize("words", [(0x2328F30A, 0x4), (0x1F30A, 0x90004), (0x1F30B, 0x4), (0x3F30A, 0x2)])
def test_extents_that_make_no_sense_are_damage(tree: Path, tmp_path: Path, words: tuple[int, int]) -> None:
    image = stock(tmp_path / "image", tree, *SETTINGS["ext4 without checksums"])
    for index, word in enumerate(words):
        e2fs("debugfs", "-w", "-R", f"sif large block[{index}] {word}", image)
    with image.open("rb") as file:
        [member] = [member for member in ext_reader.members(file) if member.path == "large"]
        with pytest.raises(ExtError, match=r"the extents of inode .* are damaged"):
            b"".join(member.blocks())


def test_an_inode_that_does_not_match_its_checksum(tmp_path: Path) -> None:
    image = tmp_path / "image"
    make(image, [regular("file", b"x", 0o640, (77, 88))])
    at = image.read_bytes().index(stat.S_IFREG.__or__(0o640).to_bytes(2, "little") + b"\x4d\0\x01\0\0\0")
    with pytest.raises(ExtError, match=rf"byte {at}: inode 12 does not match its checksum"):
        list(ext_reader.members(patched(image, (at + 2, b"\x4e"))))


def test_a_superblock_that_does_not_match_its_checksum(tmp_path: Path) -> None:
    make(tmp_path / "image", [])
    with pytest.raises(ExtError, match="byte 1024: the superblock does not match"):
        list(ext_reader.members(patched(tmp_path / "image", (1024 + 0x78, b"X"))))


def test_links_are_told_by_the_first_name_that_is_found(tmp_path: Path) -> None:
    entries = [regular("b", b"x"), hardlink("a", "b"), hardlink("c/d", "b"), symlink("e", "b")]
    make(tmp_path / "image", entries)
    assert {member.path: member.link for member in all_members(tmp_path / "image") if member.is_file} == {
        "a": "",
        "b": "a",
        "c/d": "a",
    }
