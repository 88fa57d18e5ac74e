"""Opening images that mke2fs, sfdisk, qemu-img and cpio make."""

from __future__ import annotations

import gzip
import lzma
import random
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.formats.opened import open_image
from testcases.unit.test_image_opened import (
    CONTENTS,
    PROGRAM,
    archive,
    assert_alone,
    ext,
    files,
    format_of,
    partitioned,
    program,
    read_and_extract,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_an_initrd_with_microcode_in_front(tmp_path: Path) -> None:
    program("cpio")
    tree = tmp_path / "tree/kernel/x86/microcode"
    tree.mkdir(parents=True)
    (tree / "GenuineIntel.bin").write_bytes(b"microcode" * 1000)
    names = b"kernel\nkernel/x86\nkernel/x86/microcode\nkernel/x86/microcode/GenuineIntel.bin\n"
    early = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"],
        input=names,
        cwd=tmp_path / "tree",
        capture_output=True,
        check=True,
    ).stdout
    main = archive(tmp_path / "main", compression="zstd").read_bytes()
    path = tmp_path / "initrd.img"
    path.write_bytes(early + bytes(-len(early) % 4096) + main)
    found = files(path)
    assert found.pop("kernel/x86/microcode/GenuineIntel.bin") == b"microcode" * 1000
    assert found == CONTENTS


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_ext(tmp_path: Path, kind: str) -> None:
    path = ext(tmp_path, "-t", kind)
    assert files(path) == CONTENTS
    assert format_of(path) == f"{kind} filesystem, 4.0 MiB"


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_partitions(tmp_path: Path, label: str) -> None:
    path = partitioned(tmp_path, label)
    expected = CONTENTS | {"bin/tool": PROGRAM}
    assert files(path) == {f"p2/{name}": content for name, content in expected.items()}
    with open_image(path) as image:
        names = {m.path: m.link for m in image.members() if m.path in {"p2/bin/busybox", "p2/bin/tool"}}
        assert sorted(names.values()) in (["", "p2/bin/busybox"], ["", "p2/bin/tool"])
        assert image.roots == ("p2",)
        assert "p2 (ext4)" in image.format
        assert [(part.offset, part.size) for part in image.parts()] == [
            (2048 * 512, 8192 * 512),
            (10240 * 512, 8192 * 512),
        ]


@pytest.mark.parametrize("suffix", ["gz", "xz", "zst"])
def test_compressed_disks(tmp_path: Path, suffix: str) -> None:
    raw = ext(tmp_path, "-t", "ext4").read_bytes()
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "xz": lzma.compress,
        "zst": zstandard.compress,
    }
    pack = packers[suffix]
    path = tmp_path / "disk"
    path.write_bytes(pack(raw[: 1 << 20]) + pack(raw[1 << 20 :]))  # streams may follow each other
    assert files(path) == CONTENTS
    assert "-compressed ext4 filesystem" in format_of(path)
    with open_image(path) as image:
        assert image.raw.read_bytes() == raw


def test_qcow2(tmp_path: Path) -> None:
    raw, path = ext(tmp_path, "-t", "ext4"), tmp_path / "disk.qcow2"
    subprocess.run(
        [program("qemu-img"), "convert", "-O", "qcow2", str(raw), str(path)], check=True, capture_output=True
    )
    assert files(path) == CONTENTS
    assert format_of(path).startswith("qcow2: ext4 filesystem")


def test_a_damaged_stream_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(gzip.compress(ext(tmp_path).read_bytes())[:-20])
    with pytest.raises(ConfigError, match="the gzip stream is cut off"), open_image(path):
        pytest.fail("it is cut off")


def test_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(work))
    path = tmp_path / "image"
    path.write_bytes(gzip.compress(ext(tmp_path).read_bytes()))
    with open_image(path) as image:
        list(image.members())
        assert list(work.iterdir()) == []
    with pytest.raises(ConfigError), open_image(tmp_path / "missing"):
        pass


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An ext4 filesystem and an ISO image, small and whole."""
    directory = tmp_path_factory.mktemp("foreign")
    disk = ext(directory, "-t", "ext4", size=1 << 20).read_bytes()
    path = directory / "iso"
    command = [program("genisoimage"), "-quiet", "-R", "-o", str(path), str(directory / "staged")]
    subprocess.run(command, check=True, capture_output=True)
    return {"ext": disk, "iso": path.read_bytes()}


@pytest.mark.parametrize("kind", ["ext", "iso"])
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 30))
def test_damaged_disks_do_no_harm(
    tmp_path_factory: pytest.TempPathFactory, foreign: dict[str, bytes], kind: str, seed: int, flips: int
) -> None:
    directory = tmp_path_factory.mktemp("damage")
    data = bytearray(foreign[kind])
    chance = random.Random(seed)  # noqa: S311 - damage, not secrets
    used = [match.start() for match in re.finditer(rb"[^\0]", foreign[kind])]
    for _ in range(flips):
        data[chance.choice(used)] = chance.choice(b"\0\1./x\xff")
    (directory / "image").write_bytes(data)
    read_and_extract(directory / "image", directory / "into")
    assert_alone(directory)
    shutil.rmtree(directory)


def test_what_is_not_known_here_is_named_by_file(tmp_path: Path) -> None:
    program("file")
    path = tmp_path / "image"
    path.write_bytes(bytes(0x8000) + b"JFS1" + bytes(1 << 20))
    with (
        pytest.raises(ConfigError, match=r"image is no image but what file\(1\) calls 'JFS"),
        open_image(path),
    ):
        pytest.fail("it is not read")
