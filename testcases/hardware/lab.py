"""A lab with labgrid: its coordinator and an exporter on loopback, and a board as a place."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# `ci/setup --labgrid` makes it.
ENVIRONMENT = Path(__file__).parents[2] / "build/labgrid"
_LIMIT = 120.0  # seconds that anything of labgrid may take on a loaded host
_EXPORTED = """
emulated:
  RawSerialPort:
    port: {port}
    speed: 115200
  NetworkPowerPort:
    model: simplerest
    host: "http://127.0.0.1:{switch}/{{index}}/{{value}}"
    index: 0
"""


def obstacle() -> str:
    """Why there is no lab; "" if there can be one."""
    if not (ENVIRONMENT / "stamp").exists():
        return "labgrid is not installed: make setup-labgrid"
    if not shutil.which("ser2net", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return "ser2net is not installed: make setup-labgrid"
    return ""


class Lab(msgspec.Struct, frozen=True):
    """A coordinator that has a place `bench`.

    Attributes:
        coordinator: Its address.
        client: labgrid's client.
    """

    coordinator: str
    client: Path

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run labgrid's client, as any user of the lab would."""
        environment = {**os.environ, "LG_COORDINATOR": self.coordinator, **variables}
        command = [str(self.client), *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_LIMIT, check=False
        )

    def holder(self) -> str:
        """Who has acquired the place, as HOST/USER or `None`."""
        shown = self.run("-p", "bench", "show").stdout
        [found] = re.findall("^ *acquired: (.*)$", shown, re.MULTILINE)
        return str(found)


@contextmanager
def lab(directory: Path, port: str, switch: Path) -> Iterator[Lab]:
    """A lab that shares one board.

    Args:
        directory: An empty one.
        port: The board's serial port.
        switch: A program that switches its power `on` and `off`.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    with ExitStack() as cleanup:
        server = HTTPServer(("127.0.0.1", 0), _pdu(switch))
        thread = Thread(target=server.serve_forever)
        thread.start()
        cleanup.callback(thread.join)
        cleanup.callback(server.shutdown)
        exported = directory / "exporter.yaml"
        exported.write_text(_EXPORTED.format(port=port, switch=server.server_port))
        client = Lab(coordinator, ENVIRONMENT / "bin/labgrid-client")
        _start(cleanup, directory, "labgrid-coordinator", "--listen", coordinator)
        _until(lambda: client.run("places").returncode == 0)
        words = ["--coordinator", coordinator, "--name", "shelf", "--hostname", "127.0.0.1", str(exported)]
        _start(cleanup, directory, "labgrid-exporter", *words)
        _until(lambda: "shelf/emulated/NetworkSerialPort" in client.run("resources").stdout)
        for command in (["create"], ["add-match", "shelf/emulated/*"]):
            done = client.run("-p", "bench", *command)
            assert done.returncode == 0, done.stderr
        yield client


def _pdu(switch: Path) -> type[BaseHTTPRequestHandler]:
    """A power strip that speaks HTTP, in the words of labgrid's `simplerest`."""

    class Pdu(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            done = subprocess.run([switch, "on" if self.path.endswith("1") else "off"], check=False)
            self.send_response(200 if done.returncode == 0 else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Pdu


def _start(cleanup: ExitStack, directory: Path, program: str, *words: str) -> None:
    """Start a server of labgrid that ends with the test; it ends what it has started itself."""
    log = cleanup.enter_context((directory / f"{program}.log").open("wb"))
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", "--", str(ENVIRONMENT / "bin" / program), *words],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )

    def end() -> None:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()

    cleanup.callback(end)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
