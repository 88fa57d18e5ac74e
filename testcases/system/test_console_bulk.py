"""Files come out of a guest: a real bash whose port is a FIFO, and one without a port."""

from __future__ import annotations

import io
import os
import random
import resource
import select
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from harness.console import bulk
from harness.console.bulk import Fetched, fetch
from harness.console.recorder import Recorder
from harness.console.shell import Shell
from harness.core.errors import InfraError
from testcases.support.consoles import NoisyTransport, PtyTransport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASH = ("bash", "--norc", "--noprofile", "-i")
CONTENT = random.Random(1).randbytes(700_001)  # noqa: S311 - the same every time


@contextmanager
def entered(tmp_path: Path, transport: PtyTransport | NoisyTransport) -> Iterator[Shell]:
    with Recorder(transport, tmp_path / "raw", tmp_path / "index") as recorder:
        shell = Shell(recorder, 0)
        shell.enter(timeout=60)
        yield shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "it's a file").write_bytes(CONTENT)
    with entered(tmp_path, PtyTransport(BASH, cwd=str(tmp_path))) as shell:
        yield shell


@pytest.fixture
def port(tmp_path: Path) -> Iterator[socket.socket]:
    """Our end of a port whose other end the shell finds as a FIFO."""
    ours, theirs = socket.socketpair()
    device = tmp_path / "port"
    os.mkfifo(device)
    found = f"find_port() {{ test -p {device} && echo {device}; }}\ndevice="
    fifo = os.open(device, os.O_RDWR)
    stopped, stop = os.pipe()

    def pass_on() -> None:
        with suppress(BrokenPipeError):  # our end was closed, and not all of it read
            while stopped not in (ready := select.select([fifo, stopped], [], [])[0]):
                assert ready
                theirs.sendall(os.read(fifo, 65536))

    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    with patch.object(bulk, "_DESCRIBE", bulk._DESCRIBE.replace("device=`", f"{found}`")):
        yield ours
    ours.close()
    os.write(stop, b"x")
    thread.join()
    for descriptor in (fifo, stopped, stop):
        os.close(descriptor)
    theirs.close()


@pytest.mark.parametrize(
    "size", [0, 1, bulk.SMALL, bulk.SMALL + 1, bulk._PIECE, bulk._PIECE + 1, len(CONTENT)]
)
def test_over_the_console(shell: Shell, tmp_path: Path, size: int) -> None:
    (tmp_path / "it's a file").write_bytes(CONTENT[:size])
    out = io.BytesIO()
    assert fetch(shell, "it's a file", out, timeout=60) == Fetched(size, fast=False)
    assert out.getvalue() == CONTENT[:size]


@pytest.mark.parametrize("size", [0, bulk.SMALL, bulk.SMALL + 1, len(CONTENT)])
def test_through_the_port(shell: Shell, tmp_path: Path, port: socket.socket, size: int) -> None:
    (tmp_path / "it's a file").write_bytes(CONTENT[:size])
    for _ in range(2):
        out = io.BytesIO()
        assert fetch(shell, "it's a file", out, timeout=60, port=port) == Fetched(size, size > bulk.SMALL)
        assert out.getvalue() == CONTENT[:size]


def test_what_an_earlier_transfer_left_in_the_port_is_skipped(
    shell: Shell, tmp_path: Path, port: socket.socket
) -> None:
    (tmp_path / "port").write_bytes(b"left behind\n" * 1000)
    out = io.BytesIO()
    fetch(shell, "it's a file", out, timeout=60, port=port)
    assert out.getvalue() == CONTENT


def test_port_that_the_guest_does_not_have(shell: Shell) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        out = io.BytesIO()
        assert fetch(shell, "it's a file", out, timeout=60, port=ours) == Fetched(len(CONTENT), fast=False)
    assert out.getvalue() == CONTENT


def test_bytes_that_the_port_loses_are_noticed(shell: Shell, port: socket.socket) -> None:
    with (
        patch.object(bulk, "_LAST_BYTES_TIMEOUT", 0.5),
        patch.object(bulk._Arrived, "update", flipping),
        pytest.raises(InfraError, match=r"it's a file did not arrive as the guest has it") as caught,
    ):
        fetch(shell, "it's a file", io.BytesIO(), timeout=60, port=port)
    assert caught.value.hint


UPDATE = bulk._Arrived.update


def flipping(arrived: bulk._Arrived, data: bytes) -> None:
    """Takes another byte than the one that came."""
    UPDATE(arrived, bytes((data[0] ^ 1,)) + data[1:] if data else data)


@pytest.mark.parametrize("path", ["nothing", "/"])
def test_file_that_is_not_there(shell: Shell, path: str) -> None:
    with pytest.raises(FileNotFoundError, match=path):
        fetch(shell, path, io.BytesIO(), timeout=60)


def test_full_disk_of_the_host(shell: Shell, tmp_path: Path, port: socket.socket) -> None:
    (tmp_path / "small").write_bytes(CONTENT[:100])
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 - a device
        with pytest.raises(InfraError, match="No space left"):
            fetch(shell, "it's a file", full, timeout=60, port=port)
        with pytest.raises(InfraError, match="No space left"):
            fetch(shell, "it's a file", full, timeout=60)
        with pytest.raises(InfraError, match="No space left"):
            fetch(shell, "small", full, timeout=60, port=port)


@pytest.mark.parametrize("lacks", [("md5sum",), ("md5sum", "stat"), ("md5sum", "stat", "cksum")])
def test_guest_that_lacks_programs(tmp_path: Path, lacks: tuple[str, ...]) -> None:
    """The next best checksum is taken; without any, the size alone is compared."""
    (tmp_path / "file").write_bytes(CONTENT[:50_000])
    with entered(tmp_path, PtyTransport(BASH, cwd=str(tmp_path))) as shell:
        hidden = "".join(f"{name}() {{ return 127; }}\n" for name in lacks)
        with patch.object(bulk, "_DESCRIBE", hidden + bulk._DESCRIBE):
            found, _ = bulk._described(shell, "file", 60)
            out = io.BytesIO()
            fetch(shell, "file", out, timeout=60)
    assert found.kind == ("" if "cksum" in lacks else "cksum")
    assert found.size == 50_000
    assert out.getvalue() == CONTENT[:50_000]


def test_damaged_console(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT[:30_000])
    noisy = NoisyTransport(PtyTransport(BASH, cwd=str(tmp_path)), 5, kernel=1 / 3000, output=1 / 6000)
    with entered(tmp_path, noisy) as shell:
        out = io.BytesIO()
        fetch(shell, "file", out, timeout=200)
    assert out.getvalue() == CONTENT[:30_000]
    assert noisy.damages > 5


def test_memory_is_bounded(shell: Shell, tmp_path: Path, port: socket.socket) -> None:
    size = 256 << 20
    with (tmp_path / "it's a file").open("wb") as file:
        file.truncate(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (tmp_path / "out").open("wb") as out:
        assert fetch(shell, "it's a file", out, timeout=300, port=port).size == size
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000
