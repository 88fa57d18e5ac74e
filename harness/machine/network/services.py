"""HTTP and DNS services for guests on the restricted network."""

from __future__ import annotations

import time
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, TextIO

from harness.machine.network.qemu_args import ANSWERER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.machine.network.dns import Connection, Question

_HTTP, _HTTPS = 80, 443
_KINDS = {1: "A", 28: "AAAA", 12: "PTR", 15: "MX", 16: "TXT"}


class NetworkLog:
    """What a guest asked for, with the seconds since the beginning; several threads write it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._start = time.monotonic()
        self._lock = Lock()
        self._name = ""  # the last one that was asked for
        self._vain: set[tuple[str, Connection]] = set()  # connections that got no answer

    def say(self, text: str) -> None:
        """Add a line."""
        shown = text if text.isprintable() else ascii(text)
        with self._lock:
            if not self._file.closed:
                self._file.write(f"{time.monotonic() - self._start:10.3f} {shown}\n")
                self._file.flush()

    def asked(self, what: Question | Connection) -> None:
        """Note a name that was asked for, or a connection that gets no answer, once each."""
        from harness.machine.network.dns import Connection  # the caller has loaded it; few runs need it

        if isinstance(what, Connection):
            answered = (what.address, what.port) == (ANSWERER, _HTTP)
            if not answered and (self._name, what) not in self._vain:
                self._vain.add((self._name, what))
                https = ", as there is no HTTPS" if what.port == _HTTPS else ""
                behind = f" ({self._name})" if what.address == ANSWERER else ""
                self.say(f"connection to {what.address} port {what.port}{behind}: refused{https}")
            return
        self._name = what.name
        kind = _KINDS.get(what.kind, str(what.kind))
        self.say(f"name {what.name} {kind}: {ANSWERER if what.kind == 1 else 'no such record'}")


@contextmanager
def answering(files: Mapping[str, Path], directory: Path) -> Iterator[tuple[int, NetworkLog]]:
    """Answer HTTP at a port of the host's loopback until the `with` block ends.

    Files can be fetched by address without scheme, and by name at any address; / is a page for connectivity
    checks.
    """
    from harness.machine.network.http import Mirror  # brings HTTP, which few runs need

    with (directory / "network.log").open("w", encoding="utf-8") as file:
        log = NetworkLog(file)
        log.say(f"restricted: the guest reaches the harness alone, by HTTP; every name is {ANSWERER}")
        with Mirror(files, asked=lambda request, status: log.say(f"{request}: {status}")) as mirror:
            yield mirror.port, log
