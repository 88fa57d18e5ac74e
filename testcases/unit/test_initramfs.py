"""Initramfs images as files: compressed, behind others, and not half there."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError, InfraError
from harness.formats.cpio import reader as cpio_reader
from harness.formats.tree import Entry
from harness.image import initramfs

if TYPE_CHECKING:
    from pathlib import Path

FILE = stat.S_IFREG | 0o644
KINDS = ["none", "gzip", "xz", "zstd", "lz4"]


def read(path: Path) -> list[tuple[str, bytes]]:
    with path.open("rb") as file:
        return [(member.path, b"".join(member.blocks())) for member in cpio_reader.members(file)]


def layout(path: Path) -> list[tuple[int, str]]:
    with path.open("rb") as file:
        return [(segment.offset, segment.compression) for segment in cpio_reader.segments(file)]


@pytest.mark.parametrize("kind", KINDS)
def test_holds_what_went_in(tmp_path: Path, kind: str) -> None:
    written = initramfs.write([Entry("a", FILE, b"content")], tmp_path / "image", compression=kind)
    assert [(entry.path, entry.size) for entry in written] == [("a", 7)]
    assert read(tmp_path / "image") == [("a", b"content")]
    assert layout(tmp_path / "image") == [(0, kind)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("front", KINDS)
def test_stands_behind_others(tmp_path: Path, front: str, kind: str) -> None:
    image, fronts = tmp_path / "image", []
    for number in range(6):  # so that their lengths end at all places within 4 bytes
        fronts.append(tmp_path / str(number))
        initramfs.write([Entry(f"f{number}", FILE, b"x" * number)], fronts[-1], compression=front)
    written = initramfs.write([Entry("a", FILE, b"content")], image, compression=kind, behind=fronts)
    assert [entry.path for entry in written] == ["a"]
    assert read(image) == [*((f"f{number}", b"x" * number) for number in range(6)), ("a", b"content")]
    found = layout(image)
    assert [compression for _, compression in found] == [front] * 6 + [kind]
    assert all(offset % 4 == 0 for offset, _ in found)
    content = image.read_bytes()
    for (offset, _), file in zip(found, fronts, strict=False):
        end = offset + file.stat().st_size
        assert content[offset:end] == file.read_bytes()  # as they are
        assert content[end : end + 4] == bytes(4)


def test_same_bits_again(tmp_path: Path) -> None:
    for kind in KINDS:
        for name in ("one", "two"):
            initramfs.write([Entry("a", FILE, b"content")], tmp_path / name, compression=kind)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_unknown_compression(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'rar'"):
        initramfs.write([], tmp_path / "image", compression="rar")
    assert list(tmp_path.iterdir()) == []


def test_archive_in_front_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="front"):
        initramfs.write([], tmp_path / "image", behind=[tmp_path / "front"])
    assert list(tmp_path.iterdir()) == []
