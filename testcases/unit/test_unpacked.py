"""Tar archives, made by GNU tar, by dpkg-deb and by hand, unpacked without a trace on this host."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.sources.untar import Unpacked, content, members, unpack, unpack_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REGULAR = stat.S_IFREG


def member(
    name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: object
) -> tuple[bytes, ...]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    padding = -len(data) % 512
    return (info.tobuf(errors="surrogateescape"), data, bytes(padding))


def archive(*parts: tuple[bytes, ...]) -> bytes:
    return b"".join(b"".join(part) for part in parts) + bytes(10240)


def unpacked(data: bytes, place: Path) -> dict[str, Unpacked]:
    place.mkdir(exist_ok=True)
    unpack(io.BytesIO(data), place, "a.tar")
    return {os.fsdecode(each.name): each for each in members(place)}


def failure(data: bytes, place: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        unpacked(data, place)
    return caught.value.message


def test_all_that_a_tar_can_say_is_kept_without_root(tmp_path: Path) -> None:
    found = unpacked(
        archive(
            member("./", tarfile.DIRTYPE, mode=0o755),
            member("./bin/", tarfile.DIRTYPE, mode=0o750, uid=3, gid=4),
            member("./bin/su", data=b"su", mode=0o4755, gid=42),
            member("./bin/su2", tarfile.LNKTYPE, linkname="./bin/su"),
            member("./bin/su3", tarfile.LNKTYPE, linkname="./bin/su2"),
            member("./bin/sh", tarfile.SYMTYPE, linkname="/outside/../dash"),
            member("dev/tty", tarfile.CHRTYPE, mode=0o666, devmajor=5, devminor=0),
            member("dev/sda", tarfile.BLKTYPE, mode=0o660, devmajor=8, devminor=1),
            member("pipe", tarfile.FIFOTYPE, mode=0o600),
        ),
        tmp_path / "there",
    )
    su = Unpacked(b"bin/su", REGULAR | 0o4755, gid=42)
    assert found == {
        "bin": Unpacked(b"bin", stat.S_IFDIR | 0o750, 3, 4),
        "bin/su": su,
        "bin/su2": Unpacked(b"bin/su2", su.mode, gid=42, link=b"bin/su"),
        "bin/su3": Unpacked(b"bin/su3", su.mode, gid=42, link=b"bin/su"),
        "bin/sh": Unpacked(b"bin/sh", stat.S_IFLNK | 0o644, target=b"/outside/../dash"),
        "dev/tty": Unpacked(b"dev/tty", stat.S_IFCHR | 0o666, device=(5, 0)),
        "dev/sda": Unpacked(b"dev/sda", stat.S_IFBLK | 0o660, device=(8, 1)),
        "pipe": Unpacked(b"pipe", stat.S_IFIFO | 0o600),
    }
    assert content(tmp_path / "there", found["bin/su3"]).read_bytes() == b"su"
    on_disk = [path.relative_to(tmp_path / "there/files") for path in (tmp_path / "there/files").rglob("*")]
    assert sorted(map(str, on_disk)) == ["bin", "bin/su"], "only contents are on disk"


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "..", "a/.."])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
def test_a_name_that_leaves_the_root_is_refused(tmp_path: Path, name: str, kind: bytes) -> None:
    message = failure(archive(member(name, kind, linkname="x")), tmp_path / "there")
    assert message.startswith(f"a.tar cannot be unpacked: {name!r} would leave")
    assert not list((tmp_path / "there/files").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_hard_link_that_leaves_the_root_is_refused(tmp_path: Path) -> None:
    data = archive(member("passwd", tarfile.LNKTYPE, linkname="../../../etc/passwd"))
    assert "'../../../etc/passwd' would leave" in failure(data, tmp_path)


def test_a_file_below_a_link_to_elsewhere_stays_inside(tmp_path: Path) -> None:
    """The old trick: a link that leads out, then a file through it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    data = archive(member("a", tarfile.SYMTYPE, linkname=str(outside)), member("a/b", data=b"evil"))
    unpacked(data, tmp_path / "there")
    assert not list(outside.iterdir())


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([member("l", tarfile.LNKTYPE, linkname="none")], "'l' is a hard link to 'none', which is no file"),
        (
            [member("d", tarfile.DIRTYPE), member("l", tarfile.LNKTYPE, linkname="d")],
            "'l' is a hard link to 'd', which is no file",
        ),
        ([member("s", tarfile.SYMTYPE)], "'s' is a symbolic link without a target"),
        ([member("v", b"V")], "'v' is of the unknown kind b'V'"),
        ([member("a", data=b"x"), member("a/b", data=b"x")], "'a/b' has no place"),
        ([member("a/b", data=b"x"), member("a", data=b"x")], "'a' has no place"),
        (
            [
                member("a"),
                member("l", tarfile.LNKTYPE, linkname="a"),
                member("a", tarfile.SYMTYPE, linkname="x"),
            ],
            "'l' is a hard link to a file that another member replaces",
        ),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, parts: list[tuple[bytes, ...]], problem: str) -> None:
    assert failure(archive(*parts), tmp_path).startswith(f"a.tar cannot be unpacked: {problem}")


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("pieces", [1, 3], ids=["one stream", "several streams"])
def test_compressed_archives_are_read_to_their_end(tmp_path: Path, compression: str, pieces: int) -> None:
    data = archive(member("big", data=bytes(range(256)) * 4000), member("last", data=b"z"))
    size = len(data) // pieces + 1
    compress = COMPRESSIONS[compression]
    file = tmp_path / "a.tar"
    file.write_bytes(b"".join(compress(data[at : at + size]) for at in range(0, len(data), size)))
    there = tmp_path / "there"
    there.mkdir()
    unpack_file(file, there, "a.tar")
    assert [os.fsdecode(each.name) for each in members(there)] == ["big", "last"]
    assert (there / "files/big").read_bytes() == bytes(range(256)) * 4000


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_truncated_archive_is_a_sentence(tmp_path: Path, compression: str) -> None:
    data = COMPRESSIONS[compression](archive(member("big", data=os.urandom(50_000))))
    file = tmp_path / "a.tar"
    for end in (0, 1, 100, 5000, 30_000):
        file.write_bytes(data[:end])
        there = tmp_path / f"{end}"
        there.mkdir()
        with pytest.raises(ConfigError, match=r"a\.tar is no tar archive, or a damaged one"):
            unpack_file(file, there, "a.tar")


@given(st.binary(max_size=2000), st.integers(0, 4000), st.binary(min_size=1, max_size=8))
def test_damage_never_gets_out(
    tmp_path_factory: pytest.TempPathFactory, start: bytes, at: int, junk: bytes
) -> None:
    good = archive(member("a/b", data=b"x" * 600), member("l", tarfile.LNKTYPE, linkname="a/b"))
    damaged = good[:at] + junk + good[at + len(junk) :]
    for data in (start, damaged, good[:at]):
        outer = tmp_path_factory.mktemp("damage")
        try:
            unpacked(data, outer / "there")
        except ConfigError as error:
            assert error.message.startswith("a.tar ")  # noqa: PT017 - either is right
        assert [path.name for path in outer.iterdir()] == ["there"]
        shutil.rmtree(outer)
