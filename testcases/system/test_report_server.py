"""`harness serve`: who may read what, and that it keeps up."""

from __future__ import annotations

import http.client
import re
import select
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.report.site.build import build
from harness.report.site.server import PLACE, serving
from testcases.support.records import leave_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    directory = tmp_path / "runs"
    directory.mkdir()
    leave_run(directory, "20260101-000000-relay-aaaa", console={"sysa": "hello\n"})
    return directory


@pytest.fixture
def port(runs: Path) -> Iterator[int]:
    build(runs, runs / PLACE, progress=Quiet())
    with serving(runs, "127.0.0.1", 0) as address:
        assert address.startswith("http://127.0.0.1:")
        yield urlsplit(address).port or 0


def ask(port: int, path: str, method: str = "GET", host: str = "localhost") -> tuple[int, str, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
    connection.request(method, path, headers={"Host": host})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.headers["X-Harness-Version"]


def test_pages_are_served(port: int) -> None:
    status, text, _ = ask(port, "/")
    assert status == 200
    assert "relay" in text
    assert ask(port, "/runs/20260101-000000-relay-aaaa/log/00000.js")[1].startswith("harnessChunk(")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/", 404),
        ("/.report", 404),
        ("/runs/20260101-000000-relay-aaaa/.stamp.json", 404),
        ("/runs/20260101-000000-relay-aaaa/%2estamp.json", 404),
        ("/../20260101-000000-relay-aaaa/run.json", 404),
        ("/%2e%2e/20260101-000000-relay-aaaa/run.json", 404),
        ("/nothing", 404),
    ],
)
def test_nothing_else_is(port: int, path: str, status: int) -> None:
    assert ask(port, path)[0] == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_is_taken(port: int, method: str) -> None:
    assert ask(port, "/index.html", method)[0] == 501


def test_pages_of_other_sites_read_nothing(port: int) -> None:
    assert ask(port, "/", host="evil.example")[0] == 421
    assert ask(port, "/", host=f"127.0.0.1:{port}")[0] == 200


def test_nobody_else_can_connect(port: int) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))  # noqa: S104 - a look at what is free
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)


def test_a_port_that_is_taken_is_a_mistake(port: int, runs: Path) -> None:
    with pytest.raises(ConfigError, match=f"port {port}"), serving(runs, "127.0.0.1", port):
        pass


def test_a_page_gets_another_version_when_a_run_comes(runs: Path) -> None:
    command = [sys.executable, "-m", "harness", "serve", "--runs", str(runs), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            assert select.select([process.stdout], [], [], 30)[0]
            match = re.fullmatch(rb"http://127\.0\.0\.1:(\d+)/\n", process.stdout.readline())
            assert match is not None
            port = int(match[1])
            before = ask(port, "/", "HEAD")
            leave_run(runs, "20260102-000000-relay-bbbb", outcome=Outcome.HANG)
            for _ in range(100):
                if (now := ask(port, "/", "HEAD"))[2] != before[2]:
                    break
                select.select([], [], [], 0.1)
            assert (now[0], now[2] == before[2]) == (200, False)
            assert "HANG" in ask(port, "/")[1]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
