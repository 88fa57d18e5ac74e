"""The parts of a saved machine: the memory's way through a pipe into a file and back, the disk's overlay."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InfraError
from harness.machine import memory, overlay


def save(path: Path, *pieces: bytes) -> None:
    with memory.saving(path) as pipe:
        for piece in pieces:
            assert os.write(pipe, piece) == len(piece)


def load(path: Path) -> tuple[bytes, str]:
    loading = memory.Loading(path)
    pieces = []
    while piece := os.read(loading.pipe, 1 << 16):
        pieces.append(piece)
    loading.close()
    return b"".join(pieces), loading.failure


@given(pieces=st.lists(st.binary(min_size=1, max_size=5000), max_size=20))
@settings(max_examples=30, deadline=None)
def test_memory_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("memory") / "memory.zst"
    save(path, *pieces)
    assert load(path) == (b"".join(pieces), "")


def test_memory_larger_than_the_pipe_is_compressed(tmp_path: Path) -> None:
    path = tmp_path / "memory.zst"
    save(path, *[bytes(1 << 20)] * 8)
    assert path.stat().st_size < 10_000
    assert load(path) == (bytes(8 << 20), "")


def test_damaged_memory_says_so(tmp_path: Path) -> None:
    path = tmp_path / "memory.zst"
    save(path, os.urandom(100_000))
    data = bytearray(path.read_bytes())
    data[50_000] ^= 1
    path.write_bytes(data)
    _, failure = load(path)
    assert "checksum" in failure.lower()


def test_a_reader_that_goes_away_is_no_failure_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "memory.zst"
    save(path, *[os.urandom(1 << 20)] * 4)
    loading = memory.Loading(path)
    loading.close()
    assert loading.failure == ""


def test_no_space_for_the_memory() -> None:
    def write(pipe: int) -> None:
        for _ in range(200):
            os.write(pipe, os.urandom(1 << 20))

    def saved() -> None:
        # The writer is not left waiting.
        with memory.saving(Path("/dev/full")) as pipe, pytest.raises(BrokenPipeError):
            write(pipe)

    with pytest.raises(InfraError, match=r"/dev/full: No space left") as caught:
        saved()
    assert "--cache" in caught.value.hint


def written(path: Path, offset: int, text: str) -> None:
    command = ["qemu-io", "-f", "qcow2", "-c", f"write -P {ord(text)} {offset} 512", str(path)]
    subprocess.run(command, check=True, capture_output=True)


def content(path: Path) -> bytes:
    raw = path.with_suffix(".out")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw], check=True)
    return raw.read_bytes()


def test_overlay_is_written_and_the_disk_is_not(tmp_path: Path) -> None:
    disk, first, saved = tmp_path / "a disk:,", tmp_path / "first", tmp_path / "saved"
    disk.write_bytes(b"d" * 65536)
    overlay.create(first, disk)
    written(first, 512, "x")
    overlay.copy(first, saved)
    written(first, 1024, "y")  # what comes after is not in what was saved
    saved.chmod(0o444)
    moved = disk.rename(tmp_path / "elsewhere")
    resumed = [tmp_path / "second", tmp_path / "third"]
    for path in resumed:
        overlay.adopt(saved, path, moved)
    written(resumed[0], 2048, "z")
    expected = b"d" * 512 + b"x" * 512 + b"d" * (65536 - 1024)
    assert content(resumed[1]) == expected
    assert content(resumed[0]) == expected[:2048] + b"z" * 512 + expected[2560:]
    assert moved.read_bytes() == b"d" * 65536


def test_overlay_without_a_place(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(512))
    with pytest.raises(InfraError, match="missing/overlay cannot be made"):
        overlay.create(tmp_path / "missing/overlay", tmp_path / "disk")
