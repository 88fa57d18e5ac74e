"""Files by address and hash: fetched once, checked, kept in the store."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from harness.errors import ConfigError, InfraError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.progress import Progress, Task
    from harness.store import Store

_TRIES = 5
_FILE = "content"


class WrongContentError(ConfigError):
    """A file is not the one that its hash names."""


class Downloads:
    """Gives files by address and hash.

    Args:
        store: Where they are kept.
        progress: Where downloads are shown.
        patience: Seconds to wait for a server's next bytes.
        pause: Seconds to wait after the first failure; doubled after each that follows without progress.
    """

    def __init__(self, store: Store, progress: Progress, *, patience: float = 30, pause: float = 1) -> None:
        self._store = store
        self._progress = progress
        self._patience = patience
        self._pause = pause

    def get(self, url: str, sha256: str) -> Path:
        """Return the file; whoever asks first fetches it, and others wait.

        Args:
            url: Its address (http, https, file), or its path on this host.
            sha256: What it has to be, in hex.

        Raises:
            WrongContentError: The file is another one.
            ConfigError: There is no such file.
            InfraError: The server cannot be reached, fails, or breaks off again and again.
        """

        def build(directory: Path) -> Mapping[str, str]:
            path = directory / _FILE
            path.touch()
            with self._progress.task(f"downloading {url.rpartition('/')[2] or url}") as task:
                self._fetch(url, path, task)
            _check(url, path, sha256)
            path.chmod(0o444)
            return {_FILE: sha256}

        return self._store.get("download", {"sha256": sha256}, build) / _FILE

    def _fetch(self, url: str, path: Path, task: Task) -> None:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"}:
            self._fetch_from_server(url, path, task)
            return
        source = Path(unquote(parts.path) if parts.scheme == "file" else url)
        try:
            shutil.copyfile(source, path)
        except OSError as error:
            if error.filename != str(source):  # it is the store that failed
                raise
            raise ConfigError(f"cannot read {source}: {error.strerror}") from error

    def _fetch_from_server(self, url: str, path: Path, task: Task) -> None:
        from harness.sources.transfer import Broken, Transfer

        transfer = Transfer(url, path, self._patience)
        failures = 0
        while True:
            before = path.stat().st_size
            try:
                transfer.go_on(task)
            except Broken as error:
                failures = 1 if path.stat().st_size > before else failures + 1
                if failures == _TRIES:
                    raise InfraError(
                        f"cannot download {url}: {error}",
                        hint="check the network and the address, or try later",
                    ) from error
                time.sleep(self._pause * 2 ** (failures - 1))
            else:
                return


def _check(url: str, path: Path, wanted: str) -> None:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != wanted:
        raise WrongContentError(
            f"{url} has the sha256 {sha256} ({path.stat().st_size} bytes), and {wanted} is wanted",
            hint="the file changed at its address, or the hash in the recipe is another one's",
        )
