"""Console logs as they are kept and passed on: compressed, through pipes, in other encodings."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import threading
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
import zstandard

from harness.core.errors import ConfigError, InfraError
from harness.stages.log_file import open_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOG = b"[    0.000000] Linux version 6.1.0 (a@b) #1\nrelay: sysa: up under 6.1.0\n"
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "bzip2": bz2.compress,
}


def read(path: Path) -> bytes:
    with open_log(path) as file:
        return os.pread(file.fileno(), 1 << 20, 0)


@pytest.mark.parametrize("kind", PACKED)
def test_compressed_log_is_unpacked(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKED[kind](LOG))
    assert read(path) == LOG
    path.write_bytes(PACKED[kind](LOG) + PACKED[kind](b"and more\n"))
    assert read(path) == LOG + b"and more\n"


@pytest.mark.parametrize("kind", PACKED)
def test_compressed_log_that_is_cut_off_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKED[kind](LOG * 9)[:-9])
    with pytest.raises(ConfigError, match=f"cannot unpack {path}: the {kind} stream is cut off"):
        read(path)


def test_text_that_begins_like_a_stream_is_text(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"BZ is no stream\n")
    assert read(path) == b"BZ is no stream\n"


@pytest.mark.parametrize("data", [LOG, gzip.compress(LOG)])
def test_pipe_is_read_to_its_end(tmp_path: Path, data: bytes) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    assert read(fifo) == LOG
    writer.join()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_becomes_utf_8(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(LOG.decode().replace("\n", "\r\n").encode(encoding))
    assert read(path) == LOG.replace(b"\n", b"\r\n")


def test_source_of_a_page_that_shows_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"1 -&gt; 2 &amp;&amp; &quot;\xff&quot;\n&lt;6&gt;[    0.000000] Linux version 6.1\n")
    assert read(path) == b'1 -> 2 && "\xff"\n<6>[    0.000000] Linux version 6.1\n'


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04\x14\0" + LOG, "a zip archive"),
        (b"\x04\x22\x4d\x18\x64\x40\xa7\0" + LOG, "an lz4 frame"),
        (b"\x7fELF\x02\x01\x01" + bytes(100), "an ELF program"),
    ],
)
def test_what_is_no_log_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=f"{path} is no console log but {words}"):
        read(path)


@pytest.mark.parametrize("data", [b"", b"\r\n\n", gzip.compress(b"")])
def test_empty_log_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=f"{path} is empty"):
        read(path)


def test_directory_and_missing_file_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match=f"cannot read {path}: "):
            read(path)


def test_full_disk_is_the_hosts_fault(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(LOG))
    full = OSError(errno.ENOSPC, "No space left on device")
    with patch("tempfile.TemporaryFile", side_effect=full), pytest.raises(InfraError, match="No space left"):
        read(path)
