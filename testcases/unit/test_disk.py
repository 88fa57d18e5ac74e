"""Disk images, read back with e2fsck and debugfs: no root, no mounts."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness.errors import ConfigError
from harness.image.disk import write_ext4
from harness.image.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SBIN = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # not every user's PATH has it

pytestmark = pytest.mark.skipif(
    not all(shutil.which(program, path=SBIN) for program in ("mke2fs", "debugfs", "e2fsck")),
    reason="e2fsprogs is not installed",
)

MIB = 1 << 20
LONG = "/".join(["a-directory-with-a-name"] * 5)

# What an administrator may have written into /etc/mke2fs.conf.
HOST_SETTINGS = """
[defaults]
    default_mntopts = journal_data
    enable_periodic_fsck = 1
    errors = panic
    hash_alg = tea
    reserved_ratio = 9
[fs_types]
    ext4 = {
        flex_bg_size = 4
    }
"""


def regular(
    path: str, content: bytes | Path = b"", mode: int = 0o644, owner: tuple[int, int] = (0, 0)
) -> Entry:
    return Entry(path, stat.S_IFREG | mode, content=content, uid=owner[0], gid=owner[1])


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, stat.S_IFDIR | mode)


def device(path: str, kind: int, major: int, minor: int, mode: int = 0o600) -> Entry:
    return Entry(path, kind | mode, device=(major, minor))


TREE = [
    directory("bin", 0o711),
    regular("bin/tool", b"#!/bin/sh\n" * 1000, 0o4755),
    device("dev/console", stat.S_IFCHR, 5, 1),
    device("dev/sda", stat.S_IFBLK, 8, 0, 0o660),
    regular("etc/name with spaces", b"spaces\n", 0o640, (0, 42)),
    regular("etc/$HOME #1 'quoted'", b"odd\n"),
    regular("etc/grüße", b"hello\n"),
    regular("home/user/file", b"", 0o600, (1000, 100)),
    Entry("lib", stat.S_IFLNK | 0o777, target="usr/lib"),
    Entry("long", stat.S_IFLNK | 0o777, target=LONG),
    directory("tmp", 0o1777),
]


def write(
    entries: Sequence[Entry], place: Path, *, size: int = 4 * MIB, label: str = "root", mtime: int = 0
) -> Path:
    work = place / "work"
    work.mkdir(parents=True)
    write_ext4(entries, place / "disk.img", size=size, label=label, work=work, mtime=mtime)
    return place / "disk.img"


def e2fs(*command: str | Path) -> str:
    program = shutil.which(str(command[0]), path=SBIN)
    assert program
    return subprocess.run(
        [program, *map(str, command[1:])],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "DEBUGFS_PAGER": "__none__"},
    ).stdout


def inode(image: Path, path: str) -> dict[str, str]:
    """What debugfs says about a file: type, mode, owners, times, device numbers."""
    text = e2fs("debugfs", "-R", f'stat "/{path}"', image)
    text = text.partition("Fragment:")[0] + text.partition("ctime")[1] + text.partition("ctime")[2]
    fields = dict(re.findall(r"(Type|Mode|User|Group|Size): +(\S+)", text))
    fields |= {name: f"{int(seconds, 16)}" for name, seconds in re.findall(r"(\w+time): 0x([0-9a-f]+)", text)}
    for name, pattern in {
        "Device": r"Device major/minor number: (\d+:\d+)",
        "Target": r'Fast link dest: "(.*)"',
    }.items():
        if found := re.search(pattern, text):
            fields[name] = found[1]
    return fields


def content(image: Path, path: str, tmp_path: Path) -> bytes:
    e2fs("debugfs", "-R", f'dump "/{path}" {tmp_path}/dumped', image)
    return (tmp_path / "dumped").read_bytes()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(TREE, tmp_path_factory.mktemp("disk"))


def test_the_filesystem_is_clean(image: Path) -> None:
    assert "root: " in e2fs("e2fsck", "-fn", image)


def test_the_image_has_the_size_and_label_that_were_asked_for(image: Path) -> None:
    assert image.stat().st_size == 4 * MIB
    header = e2fs("debugfs", "-R", "show_super_stats -h", image)
    assert re.search(r"^Filesystem volume name: +root$", header, re.MULTILINE)


@pytest.mark.parametrize("entry", TREE, ids=[entry.path for entry in TREE])
def test_modes_and_owners_are_those_of_the_tree_and_not_of_the_builder(image: Path, entry: Entry) -> None:
    found = inode(image, entry.path)
    assert int(found["Mode"], 8) == stat.S_IMODE(entry.mode)
    assert (int(found["User"]), int(found["Group"])) == (entry.uid, entry.gid)
    assert {found[f"{kind}time"] for kind in ("a", "c", "m", "cr")} == {"0"}


@pytest.mark.parametrize("path", ["", "dev", "etc", "home", "home/user"])
def test_directories_that_nobody_asked_for_belong_to_root(image: Path, path: str) -> None:
    found = inode(image, path)
    assert (found["Type"], int(found["Mode"], 8), found["User"], found["Group"]) == (
        "directory",
        0o755,
        "0",
        "0",
    )
    assert found["mtime"] == "0"


def test_lost_and_found_is_for_root_only(image: Path) -> None:
    assert int(inode(image, "lost+found")["Mode"], 8) == 0o700


def test_types_are_those_of_the_tree(image: Path) -> None:
    assert {entry.path: inode(image, entry.path)["Type"] for entry in TREE} == {
        entry.path: {
            stat.S_IFREG: "regular",
            stat.S_IFDIR: "directory",
            stat.S_IFLNK: "symlink",
            stat.S_IFCHR: "character",
            stat.S_IFBLK: "block",
        }[stat.S_IFMT(entry.mode)]
        for entry in TREE
    }


def test_devices_have_their_numbers(image: Path) -> None:
    assert inode(image, "dev/console")["Device"].startswith("05:01")
    assert inode(image, "dev/sda")["Device"].startswith("08:00")


@pytest.mark.parametrize(("major", "minor"), [(259, 3), (8, 300), (4095, 65535)])
def test_large_device_numbers_arrive(tmp_path: Path, major: int, minor: int) -> None:
    image = write([device("dev", stat.S_IFBLK, major, minor)], tmp_path)
    assert inode(image, "dev")["Device"] == f"{major:02d}:{minor:02d}"


def test_large_owner_numbers_arrive(tmp_path: Path) -> None:
    image = write([regular("file", owner=(100_000, 200_000))], tmp_path)
    found = inode(image, "file")
    assert (found["User"], found["Group"]) == ("100000", "200000")


def test_links_lead_where_they_should(image: Path, tmp_path: Path) -> None:
    assert inode(image, "lib")["Target"] == "usr/lib"
    assert inode(image, "long")["Size"] == str(len(LONG))
    assert content(image, "long", tmp_path).rstrip(b"\0") == LONG.encode()


@pytest.mark.parametrize("entry", [e for e in TREE if e.is_file], ids=[e.path for e in TREE if e.is_file])
def test_files_hold_what_was_put_in(image: Path, tmp_path: Path, entry: Entry) -> None:
    assert content(image, entry.path, tmp_path) == entry.content


def test_content_comes_from_files_of_the_host_too(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(100_000))
    source.chmod(0o400)
    image = write([regular("file", source, 0o755)], tmp_path)
    assert content(image, "file", tmp_path) == source.read_bytes()
    assert int(inode(image, "file")["Mode"], 8) == 0o755


def test_a_time_can_be_chosen(tmp_path: Path) -> None:
    image = write([regular("file")], tmp_path, mtime=1_700_000_000)
    assert inode(image, "file")["mtime"] == inode(image, "")["mtime"] == "1700000000"


def test_the_filesystem_does_not_tell_when_it_was_made(image: Path) -> None:
    header = e2fs("debugfs", "-R", "show_super_stats -h", image)
    for field in ("Filesystem created", "Last write time", "Last checked"):
        [moment] = re.findall(f"^{field}: +(.*)", header, re.MULTILINE)
        assert moment == "Thu Jan  1 00:00:01 1970", field


def test_the_same_tree_gives_the_same_bits_wherever_and_by_whomever(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_host(entry: Entry, place: Path) -> Entry:
        """The same entry, its content in a file of the host that has its own mode and time."""
        if not isinstance(entry.content, bytes) or not entry.is_file:
            return entry
        place.mkdir(exist_ok=True)
        source = place / entry.path.replace("/", "_")
        source.write_bytes(entry.content)
        os.utime(source, (1, 1_234_567_890))
        source.chmod(0o600)
        return Entry(entry.path, entry.mode, content=source, uid=entry.uid, gid=entry.gid)

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    (tmp_path / "mke2fs.conf").write_text(HOST_SETTINGS)
    monkeypatch.setenv("MKE2FS_CONFIG", str(tmp_path / "mke2fs.conf"))
    before = os.umask(0o077)
    try:
        other = write([from_host(entry, tmp_path / "files") for entry in TREE], tmp_path / "elsewhere")
    finally:
        os.umask(before)
    assert other.read_bytes() == image.read_bytes()


def test_another_label_is_another_filesystem(image: Path, tmp_path: Path) -> None:
    headers = [
        e2fs("debugfs", "-R", "show_super_stats -h", each)
        for each in (image, write(TREE, tmp_path, label="x"))
    ]
    for field in ("Filesystem UUID", "Filesystem volume name", "Directory Hash Seed"):
        values = {re.findall(f"^{field}: +(.*)", header, re.MULTILINE)[0] for header in headers}
        assert len(values) == 2, field


def test_too_small_an_image_is_the_users_affair(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="the disk image root of 2 MiB is too small for 5 MiB of files"
    ) as caught:
        write([regular("big", b"x" * 5 * MIB)], tmp_path, size=2 * MIB)
    assert "size in the recipe" in caught.value.hint


def test_too_many_files_are_the_users_affair(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the disk image root of 1 MiB is too small"):
        write([regular(f"file{number}") for number in range(400)], tmp_path, size=MIB)


@pytest.mark.parametrize("size", [0, 1000, 64 << 10])
def test_no_room_for_a_filesystem_at_all_is_the_users_affair(tmp_path: Path, size: int) -> None:
    with pytest.raises(ConfigError, match="the disk image root of 0 MiB is too small"):
        write([regular("file")], tmp_path, size=size)


def test_without_e2fsprogs_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ConfigError, match="mke2fs is not installed") as caught:
        write([regular("file")], tmp_path)
    assert "e2fsprogs" in caught.value.hint


def test_the_image_is_sparse(tmp_path: Path) -> None:
    image = write([regular("file", b"x")], tmp_path, size=256 * MIB)
    assert image.stat().st_size == 256 * MIB
    assert image.stat().st_blocks * 512 < 32 * MIB
