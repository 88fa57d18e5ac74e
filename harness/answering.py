"""Who answers a guest on the restricted network: the harness, and what was asked goes into the record."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from harness.machine.network import ANSWERER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

    from harness.machine.names import Question

_KINDS = {1: "A", 28: "AAAA", 12: "PTR", 15: "MX", 16: "TXT"}


@dataclass(frozen=True, slots=True)
class Answers:
    """What is answered while a guest runs.

    Attributes:
        port: Where HTTP is, on the host's loopback.
        log: Takes a line for each thing that was asked.
    """

    port: int
    log: _Log

    def asked(self, question: Question) -> None:
        """Note a name that was asked for."""
        kind = _KINDS.get(question.kind, str(question.kind))
        self.log.say(f"name {question.name} {kind}: {ANSWERER if question.kind == 1 else 'no such record'}")


@contextmanager
def answering(files: Mapping[str, Path], directory: Path) -> Iterator[Answers]:
    """Answer HTTP until the `with` block ends.

    Args:
        files: What can be fetched, by name, whatever the address; the address / is a page that says that
            somebody is there.
        directory: The run's record.
    """
    from harness.payload.mirror import Mirror  # brings HTTP, which few runs need

    with (directory / "network.log").open("w", encoding="utf-8") as file:
        log = _Log(file)
        log.say(f"restricted: the guest reaches the harness alone; every name is {ANSWERER}")
        with Mirror(files, asked=lambda request, status: log.say(f"{request}: {status}")) as mirror:
            yield Answers(mirror.port, log)


class _Log:
    """Lines with the seconds since the beginning; several threads write them."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._start = time.monotonic()
        self._lock = Lock()

    def say(self, text: str) -> None:
        """Add a line."""
        shown = text if text.isprintable() else ascii(text)
        with self._lock:
            if not self._file.closed:
                self._file.write(f"{time.monotonic() - self._start:10.3f} {shown}\n")
                self._file.flush()
