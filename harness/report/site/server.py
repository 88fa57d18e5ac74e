"""Serves the report over HTTP and keeps it up to date."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET6
from threading import Event, Thread
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from harness.core.errors import ConfigError, explaining
from harness.core.progress import Quiet
from harness.report.site.build import build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BytesIO

PLACE = ".report"  # in the directory of records

_PAUSE = 2.0  # seconds between looks at the records
_SHARE = 10  # the looking takes no more than this part of the time
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def keep_up(runs: Path, ended: Event) -> None:
    """Bring the report up to date again and again, until the event is set."""
    pause = 0.0
    while not ended.wait(pause):
        began = time.monotonic()
        build(runs, runs / PLACE, progress=Quiet())
        pause = max(_PAUSE, (time.monotonic() - began) * _SHARE)


@contextmanager
def serving(runs: Path, host: str, port: int) -> Iterator[str]:
    """Answer browsers in threads, as long as the context is open; gives the report's address."""
    handler = partial(_Handler, directory=str(runs / PLACE))
    kind = _Server6 if ":" in host else _Server
    hint = "choose another port with --port N, or --port 0 for any that is free"
    with explaining(ConfigError, f"cannot listen at {host} port {port}", hint):
        server = kind((host, port), handler)
    server.only_loopback = host in _LOOPBACK
    thread = Thread(target=server.serve_forever, name="report", daemon=True)
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{shown}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    only_loopback = True


class _Server6(_Server):
    address_family = AF_INET6


class _Handler(SimpleHTTPRequestHandler):
    """Gives files of the report, and says which version of each it has."""

    def send_head(self) -> BytesIO | None:
        """Answer, unless a page from elsewhere asks, or the file is none of a page."""
        name = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if getattr(self.server, "only_loopback", True) and name not in _LOOPBACK:
            # Another site's name that leads here would let its pages read the report.
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "ask for this host by its loopback address")
            return None
        if any(part.startswith(".") for part in unquote(urlsplit(self.path).path).split("/")):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()  # type: ignore[return-value]

    def list_directory(self, path: object) -> None:  # noqa: ARG002
        """Show no lists of files."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        """Add the version, and that it may be another one soon."""
        try:
            version = Path(self.translate_path(self.path)).stat().st_mtime_ns
        except OSError:
            version = 0
        self.send_header("X-Harness-Version", str(version))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name is given
        """Say nothing: the terminal shows what matters."""
