"""The cpio reader on archives of GNU cpio and bsdtar."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness.formats.cpio import reader as cpio_reader
from harness.formats.tree import Entry
from testcases.unit.test_cpio_reader import FILE, compress, data, pack, paths, unpack

if TYPE_CHECKING:
    from pathlib import Path

    from harness.formats.tree import Member


needs_cpio = pytest.mark.skipif(shutil.which("cpio") is None, reason="GNU cpio is not installed")


needs_bsdtar = pytest.mark.skipif(shutil.which("bsdtar") is None, reason="bsdtar is not installed")


@needs_cpio
@pytest.mark.parametrize("kind", ["newc", "crc"])
def test_reads_gnu_cpio(tmp_path: Path, kind: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file with space").write_bytes(b"content" * 1000)
    (tmp_path / "sub/empty").touch(mode=0o600)
    (tmp_path / "sub/link").symlink_to("empty")
    (tmp_path / "sub/hard").hardlink_to(tmp_path / "sub/file with space")
    (tmp_path / os.fsdecode(b"sub/\xff")).hardlink_to(tmp_path / "sub/hard")
    os.mkfifo(tmp_path / "sub/fifo")
    names = [b"sub", b"sub/file with space", b"sub/empty", b"sub/link", b"sub/hard", b"sub/\xff", b"sub/fifo"]
    command = ["cpio", "--quiet", "-o", "-0", "-H", kind]
    archive = subprocess.run(
        command, input=b"\0".join(names), cwd=tmp_path, capture_output=True, check=True
    ).stdout
    check_against_disk(unpack(archive), tmp_path)
    assert [s.kind for s in cpio_reader.segments(io.BytesIO(archive))] == [kind]
    found = {member.path: member for member in unpack(archive)}
    assert sorted(map(os.fsencode, found)) == sorted(names)
    links = [member.link for member in found.values() if member.link]
    assert len(links) == 2
    assert links[0] == links[1]


@needs_bsdtar
def test_reads_bsdtar(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b").write_bytes(b"content" * 1000)
    (tmp_path / "sub/a").hardlink_to(tmp_path / "sub/b")
    (tmp_path / "sub/l").symlink_to("not there")
    command = ["bsdtar", "-cf", "-", "--format=newc", "sub"]
    archive = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    members = unpack(archive)
    assert {member.path for member in members} == {"sub", "sub/a", "sub/b", "sub/l"}
    check_against_disk(members, tmp_path)
    assert [bool(m.link) for m in members if m.is_file] == [False, True]


def check_against_disk(members: list[Member], root: Path) -> None:
    for member in members:
        place = root / member.path
        there = place.lstat()
        assert (member.mode, member.uid, member.gid, member.mtime) == (
            there.st_mode,
            there.st_uid,
            there.st_gid,
            int(there.st_mtime),
        )
        if member.is_file:
            assert data(member) == place.read_bytes()
            assert member.size == there.st_size
        elif member.is_symlink:
            assert member.target == str(place.readlink())
        if member.link:
            assert place.samefile(root / member.link)


@needs_cpio
def test_archive_of_all_below_a_directory_has_its_root(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    command = ["cpio", "--quiet", "-o", "-H", "newc"]
    archive = subprocess.run(command, input=b".\na\n", cwd=tmp_path, capture_output=True, check=True).stdout
    assert paths(archive) == ["", "a"]


def test_contents_can_be_read_in_any_order_and_again() -> None:
    noise = bytes(range(256)) * 8192  # 2 MiB
    image = compress(pack(Entry("a", FILE, noise), Entry("b", FILE, noise[::-1])), "zstd")
    one, two = unpack(image)
    mixed = zip(one.blocks(), two.blocks(), strict=True)
    left, right = (b"".join(blocks) for blocks in zip(*mixed, strict=True))
    assert (left, right) == (noise, noise[::-1])
    assert data(one) == noise
    assert max(map(len, one.blocks())) <= 1 << 20


@needs_cpio
def test_wrong_checksum(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    command = ["cpio", "--quiet", "-o", "-H", "crc"]
    archive = subprocess.run(command, input=b"f\n", cwd=tmp_path, capture_output=True, check=True).stdout
    assert data(unpack(archive)[0]) == b"content"
    (member,) = unpack(archive.replace(b"content", b"contend"))
    with pytest.raises(cpio_reader.CpioError, match="'f' does not match its checksum"):
        data(member)
