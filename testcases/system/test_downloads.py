"""Downloads from a real server on the loopback that does what real servers do: break off, lie, be slow."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError, InfraError
from harness.core.progress import Quiet
from harness.sources.downloads import Downloads, WrongContentError
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.core.progress import Task

DATA = os.urandom(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
TAG = '"one"'


class Behaviour:
    """What the server does, and what it was asked.

    Attributes:
        statuses: Answers for the next requests, before normal ones.
        breaks: After how many bytes of a body the next answers break off.
        ranges: Whether requests for a part are understood.
        shift: How far the part that is sent begins from the one that was asked for.
        tag: The entity tag; None for none.
        missing: How many bytes shorter than the file the next announced lengths are, or longer if negative.
        stall: Seconds to wait in the middle of the body.
        redirect: Where the next request is sent to.
        bodies: What the next answers send instead of the file.
        asked: Ranges of all requests; "" for the whole file.
    """

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.breaks: list[int] = []
        self.ranges = True
        self.shift = 0
        self.tag: str | None = TAG
        self.tags: list[str] = []
        self.bodies: list[bytes] = []
        self.missing: list[int] = []
        self.stall = 0.0
        self.redirect = ""
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []


class Server(ThreadingHTTPServer):
    daemon_threads = True
    behaviour: Behaviour

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/it.tar"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        pass

    def do_GET(self) -> None:
        does = self.server.behaviour
        does.asked.append(self.headers.get("Range", ""))
        if does.redirect:
            self.send_response(302)
            self.send_header("Location", does.redirect)
            self.end_headers()
            does.redirect = ""
            return
        if does.statuses:
            self.send_response(does.statuses.pop(0))
            self.end_headers()
            return
        self.answer(does)

    def answer(self, does: Behaviour) -> None:
        if does.tags:
            does.tag = does.tags.pop(0)
        start = 0
        if does.ranges and "Range" in self.headers and self.headers.get("If-Range") == does.tag:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(DATA):
                self.send_error(416)
                return
            start += does.shift
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        else:
            self.send_response(200)
        if does.tag is not None:
            self.send_header("ETag", does.tag)
        for name, value in does.headers.items():
            self.send_header(name, value)
        self.send_header(
            "Content-Length", str(len(DATA) - start - (does.missing.pop(0) if does.missing else 0))
        )
        self.end_headers()
        body = does.bodies.pop(0) if does.bodies else DATA[start:]
        if does.breaks:
            body = body[: does.breaks.pop(0)]
        self.wfile.write(body[:1000])
        if does.stall:
            self.wfile.flush()
            time.sleep(does.stall)
        self.wfile.write(body[1000:])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as server:
        server.behaviour = Behaviour()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def does(server: Server) -> Behaviour:
    return server.behaviour


class Seen(Quiet):
    def __init__(self) -> None:
        self.titles: list[str] = []
        self.fractions: list[float] = []

    @contextmanager
    def task(self, title: str) -> Iterator[Task]:
        self.titles.append(title)
        yield self

    def update(self, fraction: float, _detail: str = "") -> None:
        self.fractions.append(fraction)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def downloads(tmp_path: Path, seen: Seen) -> Downloads:
    return Downloads(Store(tmp_path / "cache"), seen, patience=2, pause=0.001)


def left_behind(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache/store").rglob("content"))


def test_a_file_is_fetched_once(server: Server, does: Behaviour, downloads: Downloads, seen: Seen) -> None:
    first = downloads.get(server.url, SHA256)
    assert first.read_bytes() == DATA
    assert first.stat().st_mode & 0o777 == 0o444
    assert downloads.get(server.url, SHA256) == first
    assert downloads.get("https://example.org/elsewhere", SHA256) == first, "its hash is its name"
    assert does.asked == [""]
    assert seen.titles == ["downloading it.tar"]
    assert seen.fractions == sorted(seen.fractions)
    assert seen.fractions[-1] == 1.0


def test_many_who_ask_at_once_cause_one_transfer(
    server: Server, does: Behaviour, downloads: Downloads
) -> None:
    does.stall = 0.1
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: downloads.get(server.url, SHA256), range(8)))
    assert len(set(paths)) == 1
    assert does.asked == [""]


def test_a_transfer_that_breaks_is_gone_on_with(
    server: Server, does: Behaviour, downloads: Downloads
) -> None:
    does.breaks = [70_000, 140_000, 3]
    assert downloads.get(server.url, SHA256).read_bytes() == DATA
    assert does.asked[0] == ""
    assert len(does.asked) == 4
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in does.asked[1:]]
    assert starts == sorted(starts)
    assert starts[0] >= 64 << 10


def test_progress_earns_more_tries(server: Server, does: Behaviour, downloads: Downloads) -> None:
    does.breaks = [70_000, 5, 5, 5, 70_000, 5, 5, 5]
    assert downloads.get(server.url, SHA256).read_bytes() == DATA


def test_a_server_that_ignores_ranges_starts_over(
    server: Server, does: Behaviour, downloads: Downloads
) -> None:
    does.ranges, does.breaks = False, [200_000]
    assert downloads.get(server.url, SHA256).read_bytes() == DATA
    assert len(does.asked) == 2


def test_a_file_that_became_shorter_has_nothing_of_the_old_one(
    server: Server, does: Behaviour, downloads: Downloads
) -> None:
    # Too long at first, and broken off before what was announced; then the right file.
    does.tag, does.missing, does.bodies = None, [-400_000], [b"old" * 200_000]
    assert downloads.get(server.url, SHA256).read_bytes() == DATA


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_strong_validator_it_starts_over(
    server: Server, does: Behaviour, downloads: Downloads, tag: str | None
) -> None:
    does.tag, does.breaks = tag, [200_000]
    assert downloads.get(server.url, SHA256).read_bytes() == DATA
    assert does.asked == ["", ""]


def test_a_file_that_changes_meanwhile_is_not_mixed(
    server: Server, does: Behaviour, downloads: Downloads
) -> None:
    does.tags, does.breaks = ['"old"', '"new"'], [200_000]
    assert downloads.get(server.url, SHA256).read_bytes() == DATA
    assert does.asked[1].startswith("bytes=")


def test_another_part_than_asked_for_is_not_believed(
    server: Server, does: Behaviour, downloads: Downloads
) -> None:
    does.shift, does.breaks = 7, [200_000]
    assert downloads.get(server.url, SHA256).read_bytes() == DATA
    assert does.asked[2:] == [""], "from the beginning, once"


def test_a_stalled_transfer_is_taken_up_again(server: Server, does: Behaviour, tmp_path: Path) -> None:
    downloads = Downloads(Store(tmp_path / "cache"), Quiet(), patience=0.2, pause=0.001)
    does.stall = 30
    with pytest.raises(InfraError, match="timed out"):
        downloads.get(server.url, SHA256)
    assert not left_behind(tmp_path)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_in_trouble_is_asked_again(
    server: Server, does: Behaviour, downloads: Downloads, status: int
) -> None:
    does.statuses = [status] * 4
    assert downloads.get(server.url, SHA256).read_bytes() == DATA


def test_a_server_in_lasting_trouble_is_the_hosts_affair(
    server: Server, does: Behaviour, downloads: Downloads, tmp_path: Path
) -> None:
    does.statuses = [500] * 9
    with pytest.raises(InfraError, match=rf"cannot download {server.url}: the server answers 500 Internal"):
        downloads.get(server.url, SHA256)
    assert len(does.asked) == 5
    assert not left_behind(tmp_path)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_the_users_affair_at_once(
    server: Server, does: Behaviour, downloads: Downloads, tmp_path: Path, status: int
) -> None:
    does.statuses = [status] * 9
    with pytest.raises(
        ConfigError, match=rf"cannot download {server.url}: the server answers {status} "
    ) as caught:
        downloads.get(server.url, SHA256)
    assert caught.value.hint
    assert len(does.asked) == 1
    assert not left_behind(tmp_path)


def test_redirects_are_followed(server: Server, does: Behaviour, downloads: Downloads) -> None:
    does.redirect = "/elsewhere"
    assert downloads.get(server.url, SHA256).read_bytes() == DATA


@pytest.mark.parametrize("place", ["file:///etc/passwd", "gopher://127.0.0.1/"])
def test_redirects_to_elsewhere_than_the_web_are_not(
    server: Server, does: Behaviour, downloads: Downloads, place: str
) -> None:
    does.redirect = place
    with pytest.raises(ConfigError, match="cannot download"):
        downloads.get(server.url, SHA256)


def test_another_file_is_named_with_both_hashes(server: Server, downloads: Downloads, tmp_path: Path) -> None:
    wanted = "0" * 64
    with pytest.raises(WrongContentError) as caught:
        downloads.get(server.url, wanted)
    for part in (server.url, SHA256, wanted, "300000 bytes"):
        assert part in caught.value.message
    assert not left_behind(tmp_path)


def test_an_announced_length_that_is_too_small_gives_another_file(
    server: Server, does: Behaviour, downloads: Downloads
) -> None:
    does.missing = [1000]
    with pytest.raises(WrongContentError, match="299000 bytes"):
        downloads.get(server.url, SHA256)


def test_an_announced_length_that_is_too_large_is_never_reached(
    server: Server, does: Behaviour, downloads: Downloads
) -> None:
    does.missing = [-1000] * 9
    with pytest.raises(InfraError, match="cannot download"):
        downloads.get(server.url, SHA256)


def test_the_file_itself_is_kept_and_not_what_a_header_says_it_is(
    server: Server, does: Behaviour, downloads: Downloads
) -> None:
    does.headers = {"Content-Encoding": "gzip"}
    assert downloads.get(server.url, SHA256).read_bytes() == DATA


def test_nobody_at_the_address_is_the_hosts_affair(server: Server, downloads: Downloads) -> None:
    server.server_close()
    with pytest.raises(InfraError, match=r"cannot download .*: .*Connection refused"):
        downloads.get(server.url.replace(str(server.server_port), "1"), SHA256)


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_file_of_this_host_is_taken_too(downloads: Downloads, tmp_path: Path, form: str) -> None:
    source = tmp_path / "a b%20c"
    source.write_bytes(DATA)
    url = form.format(str(source).replace("%", "%25").replace(" ", "%20") if ":" in form else source)
    copy = downloads.get(url, SHA256)
    assert copy.read_bytes() == DATA
    source.unlink()
    assert downloads.get(url, SHA256) == copy


@pytest.mark.parametrize(("name", "why"), [("none", "No such file"), ("", "Is a directory")])
def test_a_file_of_this_host_that_cannot_be_read_is_named(
    downloads: Downloads, tmp_path: Path, name: str, why: str
) -> None:
    with pytest.raises(ConfigError, match=rf"cannot read {tmp_path / name}: {why}"):
        downloads.get(str(tmp_path / name), SHA256)
    assert not left_behind(tmp_path)
