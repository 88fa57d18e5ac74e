"""Downloads a file over HTTP, and resumes where it broke off.

RFC 9110: 13.1.5 If-Range, 14 range requests.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import requests
import urllib3

from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.core.progress import Task

_BLOCK = 64 << 10  # what is lost of a block when the server breaks off is fetched again
_PARTIAL, _UNSATISFIABLE = 206, 416
# What may be otherwise in a moment: request timeout, too many requests, and most failures of a server.
_PASSING = {408, 429, 500, 502, 503, 504}


class Broken(Exception):  # noqa: N818 - an event, which may be mended by going on
    """The server could not be reached, failed, or broke off: worth another try."""


class Transfer:
    """The download of a file, which can be gone on with after it broke, by another process too."""

    def __init__(self, url: str, path: Path, patience: float, version: str = "") -> None:
        self._url = url
        self._path = path  # an empty file, or one that an earlier process began
        self._patience = patience  # seconds to wait for the next bytes
        # Which version of the file the bytes at hand are of; without one they cannot be gone on with.
        self.version = version

    def go_on(self, task: Task) -> None:
        """Fetch what is missing.

        Raises:
            Broken: It did not come to an end; what came stays.
        """
        start = self._path.stat().st_size if self.version else 0
        # Without an encoding of the server's making: the hash is that of the file itself.
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": self.version}
        try:
            with requests.get(self._url, headers=headers, stream=True, timeout=self._patience) as response:
                self._receive(response, start, task)
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            raise Broken(_reason(error)) from error
        except requests.RequestException as error:
            raise ConfigError(f"cannot download {self._url}: {error}", hint="check the address") from error

    def _receive(self, response: requests.Response, start: int, task: Task) -> None:
        status = f"the server answers {response.status_code} {response.reason}"
        if response.status_code == _UNSATISFIABLE or response.status_code in _PASSING:
            if response.status_code == _UNSATISFIABLE:  # the file is shorter than what came before
                self.version = ""
            raise Broken(status)
        if not response.ok:
            raise ConfigError(f"cannot download {self._url}: {status}", hint="check the address")
        if response.status_code == _PARTIAL:
            begin = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if begin is None or int(begin[1]) != start:
                self.version = ""
                raise Broken("the server sends another part of the file than it was asked for")
        else:
            start = 0
        self.version = _version(response)
        length = response.headers.get("Content-Length", "")
        whole = start + int(length) if length.isdecimal() else 0
        with self._path.open("r+b") as file:
            file.seek(start)
            file.truncate()
            for block in response.raw.stream(_BLOCK, decode_content=False):
                file.write(block)
                if whole:
                    task.update(min(file.tell() / whole, 1.0))


def _version(response: requests.Response) -> str:
    """A validator that If-Range may carry: a strong entity tag, else the time of the last change."""
    tag = response.headers.get("ETag", "")
    strong = tag if tag.startswith('"') else ""
    return strong or response.headers.get("Last-Modified", "")


def _reason(error: Exception) -> str:
    """The innermost words of an error that libraries have wrapped several times."""
    while inner := error.__cause__ or getattr(error, "reason", None) or error.__context__:
        if not isinstance(inner, Exception):
            break
        error = inner
    return str(error) or type(error).__name__
