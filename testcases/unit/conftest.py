"""Holds the unit tests to their own process: what starts a program or a server belongs into `system/`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTS = {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}


class _Guard:
    """Refuses to start processes and servers while a unit test runs."""

    def __init__(self) -> None:
        self.active = False
        self.refused: list[str] = []

    def hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.active and (event in _STARTS or (event == "socket.bind" and isinstance(arguments[1], tuple))):
            self.refuse(event, *arguments[:2])

    def refuse(self, *what: object, **_: object) -> None:
        self.refused.append(" ".join(map(str, what)))
        raise AssertionError(f"a unit test started a process or a server: {self.refused[-1]}")


guard = _Guard()
sys.addaudithook(guard.hook)


@pytest.fixture(scope="package", autouse=True)
def _own_process() -> Iterator[None]:
    # multiprocessing starts its processes without an audit event.
    with patch("_posixsubprocess.fork_exec", guard.refuse):
        guard.active = True
        yield
        guard.active = False


@pytest.fixture(autouse=True)
def _nothing_was_refused(_own_process: None) -> Iterator[None]:
    """Also where the code under test has taken the refusal for an error of the program that it starts."""
    guard.refused.clear()
    yield
    assert not guard.refused, "this test belongs into testcases/system/"
