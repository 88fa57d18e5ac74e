"""HTTP of the restricted network, and connections that it forwards."""

from __future__ import annotations

import hashlib
import http.client
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.machine.network import forward
from harness.machine.network.dns import Connection, Question
from harness.machine.network.http import Mirror
from harness.machine.network.services import answering
from testcases.unit.test_network import ANSWER


@pytest.fixture
def offered(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "hello").write_bytes(b"hello\n")
    (tmp_path / "large").write_bytes(hashlib.shake_256(b"large").digest(3 << 20))
    return {"hello-1.0.tar.gz": tmp_path / "hello", "large.tar": tmp_path / "large"}


def got(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    reply = connection.getresponse()
    return reply.status, reply.read()


def test_a_file_is_found_at_any_address(offered: dict[str, Path]) -> None:
    asked: list[tuple[str, int]] = []
    with Mirror(offered, asked=lambda request, status: asked.append((request, status))) as mirror:
        for path in ("/hello-1.0.tar.gz", "/pub/gnu/hello/hello-1.0.tar.gz?raw=1"):
            assert got(mirror.port, path) == (200, b"hello\n")
        assert got(mirror.port, "/hello-1.0.tar.gz/hello")[0] == 404
    host = mirror.address.removeprefix("http://")
    assert asked[0] == (f"GET http://{host}/hello-1.0.tar.gz", 200)
    assert asked[-1][1] == 404


def test_a_file_that_is_called_otherwise_is_found_at_its_address(offered: dict[str, Path]) -> None:
    with Mirror(offered) as mirror:
        host = mirror.address.removeprefix("http://")
    given_ = {**offered, f"{host}/archive/v1.0.tar": offered["large.tar"]}
    with Mirror(given_, port=int(host.rpartition(":")[2])) as mirror:
        assert got(mirror.port, "/archive/v1.0.tar") == (200, offered["large.tar"].read_bytes())
        assert got(mirror.port, "/other/v1.0.tar")[0] == 404


def test_a_connection_is_carried_both_ways(offered: dict[str, Path]) -> None:
    ours, theirs = socket.socketpair()
    with Mirror(offered) as mirror, ours:
        command = [sys.executable, "-I", "-S", str(Path(forward.__file__)), str(mirror.port)]
        with theirs, subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno()) as carrier:
            theirs.close()
            ours.sendall(b"GET http://any/where/large.tar HTTP/1.0\r\n\r\n")
            ours.shutdown(socket.SHUT_WR)
            with ours.makefile("rb") as reply:
                head, _, body = reply.read().partition(b"\r\n\r\n")
            assert carrier.wait() == 0
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == offered["large.tar"].read_bytes()


def test_what_was_asked_is_in_the_record(offered: dict[str, Path], tmp_path: Path) -> None:
    with answering(offered, tmp_path) as (port, log):
        log.asked(Question("example.com", 1, 0))
        for connection in (Connection(ANSWER, 80), Connection(ANSWER, 443), Connection(ANSWER, 443)):
            log.asked(connection)
        log.asked(Connection("1.1.1.7", 21))
        log.asked(Question("odd\nname", 28, 0))
        assert got(port, "/")[0] == 200
    lines = [line.split(maxsplit=1)[1] for line in (tmp_path / "network.log").read_text().splitlines()]
    assert lines == [
        "restricted: the guest reaches the harness alone, by HTTP; every name is 1.1.1.80",
        "name example.com A: 1.1.1.80",
        "connection to 1.1.1.80 port 443 (example.com): refused, as there is no HTTPS",
        "connection to 1.1.1.7 port 21: refused",
        r"'name odd\nname AAAA: no such record'",
        f"GET http://127.0.0.1:{port}/: 200",
    ]
