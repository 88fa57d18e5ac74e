"""HTTP server for distfiles, under the names that mirrors use.

A request for a file at another address gets the file of that name: for a guest, every host name may lead
here. Files whose address has another name are found by their address.
"""

from __future__ import annotations

import shutil
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

from harness.core.errors import ConfigError, explaining

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Mirror:
    """A server on the loopback interface; nothing else of this host is offered. A context manager.

    Args:
        files: What it has, by name, and by address without scheme ("host/path").
        port: Where it listens; 0 for any that is free.
        asked: Called with each request and its status, in another thread.
    """

    def __init__(
        self, files: Mapping[str, Path], port: int = 0, asked: Callable[[str, int], None] = lambda *_: None
    ) -> None:
        handler = type("_Handler", (_Handler,), {"files": dict(files), "asked": staticmethod(asked)})
        with explaining(ConfigError, f"cannot listen on port {port}", "choose another one with --port"):
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._thread = Thread(target=self._server.serve_forever, name="mirror", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """What `--mirror` takes on this host."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def wait(self) -> None:
        """Serve until interrupted."""
        while self._thread.is_alive():
            self._thread.join(1)

    def __exit__(self, *_: object) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    files: Mapping[str, Path] = {}
    asked: Callable[[str, int], None]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Print nothing: the terminal belongs to the display of the run."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 - as above
        """Report the request to the listener."""
        host = self.headers.get("Host", "") if self.headers else ""
        self.asked(f"{self.command} http://{host}{self.path}", int(code) if str(code).isdecimal() else 0)

    def do_GET(self) -> None:
        """Give a file, or the part of it from some byte on; / is a page for connectivity checks."""
        body = self.command == "GET"
        name = unquote(urlsplit(self.path).path).rpartition("/")[2]
        if not name:
            page = b"distfiles\n"
            self._head(HTTPStatus.OK, len(page))
            if body:
                self.wfile.write(page)
            return
        path = self.files.get(self.headers.get("Host", "") + self.path) or self.files.get(name)
        if path is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with path.open("rb") as file:
            size = path.stat().st_size
            start = self._start(size)
            if start:
                self._head(HTTPStatus.PARTIAL_CONTENT, size - start, f"bytes {start}-{size - 1}/{size}")
            else:
                self._head(HTTPStatus.OK, size)
            if body:
                file.seek(start)
                shutil.copyfileobj(file, self.wfile, 1 << 20)

    do_HEAD = do_GET  # noqa: N815 - http.server's name; says how long a file is

    def _head(self, status: HTTPStatus, length: int, part: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        if part:
            self.send_header("Content-Range", part)
        self.end_headers()

    def _start(self, size: int) -> int:
        """The first byte that was asked for (RFC 9110, 14.1.2); 0 for all of it, and for other ranges."""
        words = self.headers.get("Range", "").removeprefix("bytes=")
        first, dash, last = words.partition("-")
        if dash and first.isdecimal() and not last and int(first) < size:
            return int(first)
        return 0
