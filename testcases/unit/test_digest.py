"""SHA-256 of files, and digests of large files, whose zeros cost nothing."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from harness.core import digest
from harness.core.digest import data_ranges, digest_of, sha256_of

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 64 << 10


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "LARGE", BLOCK)


def sparse(path: Path, size: int, data: dict[int, bytes]) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for at, piece in data.items():
            file.seek(at)
            file.write(piece)
    return path


def by_extents(content: bytes) -> str:
    """The digest as docs/builds.md describes it."""
    found = hashlib.sha256()
    for number in range(-(-len(content) // BLOCK)):
        block = content[number * BLOCK : (number + 1) * BLOCK]
        if any(block):
            found.update(number.to_bytes(8, "little") + block)
    found.update(len(content).to_bytes(8, "little"))
    return f"extents:{found.hexdigest()}"


CONTENTS: list[tuple[int, dict[int, bytes]]] = [
    (BLOCK + 1, {}),
    (10 * BLOCK, {0: b"first", 5 * BLOCK - 2: b"over an edge", 10 * BLOCK - 1: b"x"}),
    (300 * BLOCK + 7, {70 * BLOCK: b"y" * (140 * BLOCK), 300 * BLOCK: b"end"}),
]


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize(("size", "data"), CONTENTS)
def test_a_large_file_has_a_digest_by_extents_whether_or_not_its_zeros_are_holes(
    size: int, data: dict[int, bytes], tmp_path: Path
) -> None:
    path = sparse(tmp_path / "sparse", size, data)
    dense = tmp_path / "dense"
    dense.write_bytes(path.read_bytes())
    assert digest_of(path) == by_extents(path.read_bytes()) == digest_of(dense)
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest() == sha256_of(dense)


@pytest.mark.usefixtures("small_limit")
def test_size_place_and_content_all_count(tmp_path: Path) -> None:
    size = 4 * BLOCK
    found = {
        digest_of(sparse(tmp_path / "file", *content))
        for content in [
            (size, {0: b"x"}),
            (size, {1: b"x"}),
            (size, {BLOCK: b"x"}),
            (size, {0: b"y"}),
            (size + 1, {0: b"x"}),
            (size, {}),
        ]
    }
    assert len(found) == 6


def test_a_small_file_has_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"content")
    assert digest_of(path) == sha256_of(path) == hashlib.sha256(b"content").hexdigest()


def test_holes_of_a_disk_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sparse(tmp_path / "disk", 64 << 30, {i << 33: os.urandom(BLOCK) for i in range(8)})
    read = 0

    def counted(fd: int, size: int, offset: int) -> bytes:
        nonlocal read
        data = pread(fd, size, offset)
        read += len(data)
        return data

    pread = os.pread
    monkeypatch.setattr(os, "pread", counted)
    assert digest_of(path).startswith("extents:")
    assert 8 * BLOCK <= read <= 64 * BLOCK


def test_ranges_lie_within_what_was_asked_for(tmp_path: Path) -> None:
    path = sparse(tmp_path / "file", 40 * BLOCK, {0: b"x", 10 * BLOCK: b"x" * (20 * BLOCK)})
    with path.open("rb") as file:
        [found] = data_ranges(file.fileno(), 12 * BLOCK, 14 * BLOCK)
        assert found == (12 * BLOCK, 14 * BLOCK)
        assert list(data_ranges(file.fileno(), 35 * BLOCK, 40 * BLOCK)) == []
