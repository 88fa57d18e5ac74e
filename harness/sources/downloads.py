"""Files by address and hash: fetched once, checked, kept in the store."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from harness.core.digest import sha256_of
from harness.core.errors import ConfigError, InfraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.core.progress import Progress, Task
    from harness.store import Store

_TRIES = 5
_FILE = "content"


class WrongContentError(ConfigError):
    """A file is not the one that its hash names."""


class Downloads:
    """Gives files by address and hash, and keeps them in the store."""

    def __init__(
        self,
        store: Store,
        progress: Progress,
        *,
        patience: float = 30,
        pause: float = 1,
        tries: int = _TRIES,
    ) -> None:
        self._store = store
        self._progress = progress
        self._patience = patience  # seconds to wait for a server's next bytes
        self._pause = pause  # seconds after the first failure; doubled after each without progress
        self._tries = tries  # failures without progress after which an address is given up

    def get(self, url: str, sha256: str) -> Path:
        """Return the file; the first process fetches it, and others wait.

        Args:
            url: Its address (http, https, file), or its path on this host.
            sha256: What it has to be, in hex.

        Raises:
            WrongContentError: The file is another one.
            ConfigError: There is no such file.
            InfraError: The server cannot be reached, fails, or breaks off again and again.
        """
        return self.get_from((url,), sha256)

    def get_from(self, addresses: Sequence[str], sha256: str) -> Path:
        """Return the file from the first address that has it.

        What a process that was stopped had of it is gone on with.

        Args:
            addresses: As for `get`, at least one; those after the first are tried when it fails.
            sha256: What it has to be, in hex.

        Raises:
            WrongContentError: The file is another one at the last address.
            ConfigError: There is no such file at the last address.
            InfraError: The last server cannot be reached, fails, or breaks off again and again.
        """

        def build(directory: Path) -> Mapping[str, str]:
            path = directory / _FILE
            for url in addresses[:-1]:
                try:
                    self._bring(url, path, sha256)
                    break
                except (ConfigError, InfraError) as error:
                    self._progress.note(f"{error.message}; trying the next address")
            else:
                self._bring(addresses[-1], path, sha256)
            path.chmod(0o444)
            return {_FILE: sha256}

        return self._store.get("download", _key(sha256), build) / _FILE

    def at_hand(self, sha256: str) -> Path | None:
        """The file, if it was fetched before."""
        if not self._store.has("download", _key(sha256)):
            return None
        return self._store.place("download", _key(sha256)) / _FILE

    def _bring(self, url: str, path: Path, sha256: str) -> None:
        with self._progress.task(f"downloading {url.rpartition('/')[2] or url}") as task:
            partial = self._store.cache / "partial" / sha256
            self._fetch(url, path, partial, task)
        _check(url, path, sha256)

    def _fetch(self, url: str, path: Path, partial: Path, task: Task) -> None:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"}:
            partial.parent.mkdir(exist_ok=True)
            self._fetch_from_server(url, partial, task)
            partial.replace(path)
            _origin(partial).unlink(missing_ok=True)
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

        transfer = Transfer(url, path, self._patience, _version(url, path))
        failures = 0
        while True:
            before = path.stat().st_size
            try:
                transfer.go_on(task)
            except Broken as error:
                failures = 1 if path.stat().st_size > before else failures + 1
                if failures == self._tries:
                    raise InfraError(
                        f"cannot download {url}: {error}",
                        hint="check the network and the address, or try later",
                    ) from error
                time.sleep(self._pause * 2 ** (failures - 1))
            else:
                return
            finally:
                _origin(path).write_text(f"{url}\n{transfer.version}\n", encoding="utf-8")


def _key(sha256: str) -> Mapping[str, str]:
    return {"sha256": sha256}


def _origin(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.origin")


def _version(url: str, partial: Path) -> str:
    """The version of what lies there, if it is from this address; else an empty file lies there."""
    try:
        origin, version = _origin(partial).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        origin, version = "", ""
    if origin != url or not version or not partial.is_file():
        partial.write_bytes(b"")
        return ""
    return version


def _check(url: str, path: Path, wanted: str) -> None:
    sha256 = sha256_of(path)
    if sha256 != wanted:
        raise WrongContentError(
            f"{url} has the sha256 {sha256} ({path.stat().st_size} bytes), and {wanted} is wanted",
            hint="the file changed at its address, or the hash in the recipe is another one's",
        )
