"""Images are known by their bytes: ours, and those that other programs make."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import shutil
import stat
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError, HarnessError
from harness.formats.extract import extract
from harness.formats.opened import open_image
from harness.formats.tree import Entry, Member
from harness.image import initramfs
from testcases.unit.test_bzimage import kernel
from testcases.unit.test_elf import I386, elf

ADMINISTRATION = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
PROGRAM = elf(machine=I386)
TREE = [
    Entry("bin/busybox", stat.S_IFREG | 0o755, PROGRAM),
    Entry("bin/sh", stat.S_IFLNK | 0o777, target="busybox"),
    Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
    Entry("a name\udcff", stat.S_IFREG | 0o640, b"x" * 5000),
]


@pytest.fixture(autouse=True)
def _no_other_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not known here is not shown to file(1)."""
    monkeypatch.setattr("harness.core.programs.find", lambda _: None)


def program(name: str) -> str:
    found = shutil.which(name, path=ADMINISTRATION)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def archive(path: Path, *, compression: str = "none", behind: tuple[Path, ...] = ()) -> Path:
    initramfs.write(TREE, path, compression=compression, behind=behind)
    return path


def files(path: Path) -> dict[str, bytes]:
    """The regular files of an image, with their contents."""
    with open_image(path) as image:
        return {m.path: b"".join(m.blocks()) for m in image.members() if m.is_file}


def format_of(path: Path) -> str:
    with open_image(path) as image:
        return image.format


CONTENTS = {"bin/busybox": PROGRAM, "a name\udcff": b"x" * 5000}


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd", "lz4"])
def test_cpio(tmp_path: Path, compression: str) -> None:
    path = archive(tmp_path / "image.iso", compression=compression)  # names do not count
    assert files(path) == CONTENTS
    words = "cpio archive" if compression == "none" else f"cpio archive, {compression}-compressed"
    assert format_of(path) == words


def staged(directory: Path, *, linked: bool = False) -> Path:
    tree = directory / "staged"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/busybox").write_bytes(PROGRAM)
    (tree / "bin/busybox").chmod(0o755)
    (tree / "bin/sh").symlink_to("busybox")
    if linked:
        (tree / "bin/tool").hardlink_to(tree / "bin/busybox")
    Path(os.fsdecode(os.fsencode(tree) + b"/a name\xff")).write_bytes(b"x" * 5000)
    return tree


def ext(directory: Path, *options: str, size: int = 4 << 20, linked: bool = False) -> Path:
    path = directory / "disk.img"
    with path.open("wb") as file:
        file.truncate(size)
    command = [
        program("mke2fs"),
        "-q",
        "-F",
        "-d",
        str(staged(directory, linked=linked)),
        *options,
        str(path),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return path


def partitioned(directory: Path, label: str) -> Path:
    path = directory / "partitioned.img"
    with path.open("wb") as file:
        file.truncate(16 << 20)
        script = f"label: {label}\n2048,8192,{'S' if label == 'gpt' else '82'}\n10240,8192,L\n"
        subprocess.run(
            [program("sfdisk"), "-q", str(path)], input=script.encode(), check=True, capture_output=True
        )
    with path.open("r+b") as file:
        file.seek(10240 * 512)
        file.write(ext(directory, "-t", "ext4", linked=True).read_bytes())
    return path


@pytest.mark.parametrize("tool", ["xorriso", "genisoimage"])
def test_iso(tmp_path: Path, tool: str) -> None:
    path, tree = tmp_path / "image", staged(tmp_path)
    command = {
        "xorriso": [program("xorriso"), "-as", "mkisofs", "-quiet", "-R", "-o", str(path), str(tree)],
        "genisoimage": [program("genisoimage"), "-quiet", "-R", "-o", str(path), str(tree)],
    }[tool]
    subprocess.run(command, check=True, capture_output=True)
    assert {name: data for name, data in files(path).items() if "name" not in name} == {
        "bin/busybox": PROGRAM
    }
    assert format_of(path).startswith("ISO 9660 image")


def test_tar(tmp_path: Path) -> None:
    path = tmp_path / "root"
    with tarfile.open(path, "w") as tar:
        for name, kind, more in (
            ("./bin", tarfile.DIRTYPE, {"mode": 0o755}),
            ("./bin/sh", tarfile.REGTYPE, {"size": 3, "mode": 0o755, "uid": 7, "mtime": 9}),
            ("./bin/bash", tarfile.LNKTYPE, {"linkname": "./bin/sh"}),
            ("./link", tarfile.SYMTYPE, {"linkname": "bin"}),
            ("./console", tarfile.CHRTYPE, {"devmajor": 5, "devminor": 1}),
        ):
            info = tarfile.TarInfo(name)
            info.type = kind
            for field, value in more.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(b"#!x") if kind == tarfile.REGTYPE else None)
    with open_image(path) as image:
        members = {m.path: m for m in image.members()}
        assert b"".join(members["./bin/bash"].blocks()) == b"#!x"
    shell = members["./bin/sh"]
    assert shell == Member("./bin/sh", stat.S_IFREG | 0o755, uid=7, mtime=9, size=3, blocks=shell.blocks)
    assert (members["./bin/bash"].link, members["./bin/bash"].size) == ("./bin/sh", 3)
    assert members["./link"].target == "bin"
    assert members["./console"].device == (5, 1)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(path.read_bytes()[:1100])
    with pytest.raises(ConfigError, match="damaged"), open_image(damaged) as image:
        list(image.members())


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (bytes(100_000), "nothing but zeros"),
        (b"#!/bin/sh\n", "a script"),
        (b"To whom it may concern\n" * 99, "a text"),
        (kernel(), "a Linux kernel"),
        (b"\x7fELF" + bytes(1000), "an ELF program"),
        (b"PK\x03\x04" + bytes(1000), "a zip archive"),
        (b"\x04\x22\x4d\x18" + bytes(1000), "an lz4 frame"),
        (b"\x5e\x2a\x4d\x18" + bytes(1000), "a skippable frame of zstd or lz4"),
        (b"LZIP\1" + bytes(1000), "an lzip file"),
        (b"KDMV" + bytes(1000), "a VMDK disk"),
        (bytes(0x40) + b"\x7f\x10\xda\xbe" + bytes(1000), "a VDI disk"),
        (b"vhdxfile" + bytes(1000), "a VHDX disk"),
        (b"conectix" + bytes(1000), "a VHD disk"),
        (bytes(0x10040) + b"_BHRfS_M" + bytes(100), "a btrfs filesystem"),
        (b"\0" + b"\xff" * 10 + b"\0" + bytes(2340), "a CD with raw sectors"),
        (b"!<arch>\ndebian-binary", "a Debian package"),
        (b"070707" + b"0" * 100, "the old kind"),
        (bytes(4086) + b"SWAPSPACE2" + bytes(4096), "swap space"),
        (gzip.compress(b"To whom it may concern\n" * 99), "a text"),
        (bytes(510) + b"\x55\xaa" + bytes(1000), "a boot sector without a partition table"),
        (b"\0\1\2\3" * 999, "something unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_image_is_told_in_a_sentence(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"image is no image but .*{what}"), open_image(path):
        pytest.fail("it is no image")


def test_what_cannot_be_opened_is_told_in_a_sentence(tmp_path: Path) -> None:
    for path, what in ((tmp_path, "is no regular file"), (tmp_path / "missing", "does not exist")):
        with pytest.raises(ConfigError, match=what), open_image(path):
            pytest.fail("it is no image")


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.formats.opened._LIMIT", 1 << 20)
    path = tmp_path / "image"
    path.write_bytes(bz2.compress(bytes(1 << 21)))
    with pytest.raises(ConfigError, match="unpacks to more than 1048576 bytes"), open_image(path):
        pytest.fail("it is a bomb")


def read_and_extract(path: Path, into: Path) -> None:
    """All that can be done with an image; damage is only ever told as a HarnessError."""
    with suppress(HarnessError), open_image(path) as image:
        for member in image.members():
            with suppress(HarnessError):
                for _ in member.blocks():
                    pass
    with suppress(HarnessError), open_image(path) as image:
        extract(image.members(), into, note=lambda _: None)


def assert_alone(directory: Path) -> None:
    assert {path.name for path in directory.iterdir()} <= {"image", "into"}


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_an_archive_cut_at_every_byte_does_no_harm(tmp_path: Path, compression: str) -> None:
    whole = archive(tmp_path / "image", compression=compression).read_bytes()
    ends = set(range(min(len(whole), 1200))) | set(range(0, len(whole), 97))
    path = tmp_path / "image"
    for end in sorted(ends):
        path.write_bytes(whole[:end])
        if end < len(whole.rstrip(b"\0")):
            with pytest.raises(HarnessError):
                files(path)
    read_and_extract(path, tmp_path / "into")
    assert_alone(tmp_path)


@given(seed=st.integers(0, 2**32), flips=st.integers(1, 20))
def test_damage_does_no_harm(tmp_path_factory: pytest.TempPathFactory, seed: int, flips: int) -> None:
    directory = tmp_path_factory.mktemp("damage")
    path = archive(directory / "image", compression=("none", "gzip")[seed % 2])
    data = bytearray(path.read_bytes())
    chance = random.Random(seed)  # noqa: S311 - damage, not secrets
    for _ in range(flips):
        data[chance.randrange(min(len(data), 900))] = chance.choice(b"0123456789abcdef/.\0\n\xff")
    path.write_bytes(data)
    read_and_extract(path, directory / "into")
    assert_alone(directory)
    shutil.rmtree(directory)


@given(
    names=st.lists(
        st.sampled_from([b"..", b"/etc", b"a/../../x", b"a", b"a/b", b"/", b"a\nb", b"\xff"]), max_size=6
    ),
    modes=st.lists(st.sampled_from([0o100644, 0o120777, 0o040755, 0o020666]), min_size=6, max_size=6),
    sizes=st.lists(st.sampled_from([0, 5, 0xFFFFFFFF]), min_size=6, max_size=6),
)
def test_forged_archives_stay_inside(
    tmp_path_factory: pytest.TempPathFactory, names: list[bytes], modes: list[int], sizes: list[int]
) -> None:
    """Headers that no writer makes, with link targets that lead out."""
    directory = tmp_path_factory.mktemp("forged")
    data = b""
    for number, (name, mode, size) in enumerate(zip(names, modes, sizes, strict=False), start=1):
        content = b"../.." if size == 5 else b""
        fields = (number % 3, mode, 0, 0, 2, 0, size, 0, 0, 1, 3, len(name) + 1, 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name + b"\0"
        data += header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4)
    trailer = b"070701" + b"%08X" * 13 % (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0) + b"TRAILER!!!\0"
    (directory / "image").write_bytes(data + trailer + bytes(-len(trailer) % 4))
    read_and_extract(directory / "image", directory / "into")
    assert_alone(directory)
    shutil.rmtree(directory)
