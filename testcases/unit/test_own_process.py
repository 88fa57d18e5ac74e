"""The guard of this tier: no unit test starts a process or a server."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from testcases.unit.conftest import guard

if TYPE_CHECKING:
    from collections.abc import Callable


def serve() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


STARTS: dict[str, Callable[[], object]] = {
    "program": lambda: subprocess.run(["true"], check=True),
    "fork": os.fork,
    "shell": lambda: os.system("true"),  # noqa: S605 - it does not get that far
    "worker": multiprocessing.get_context("spawn").Process(target=int).start,
    "server": serve,
}


@pytest.mark.parametrize("what", STARTS)
def test_what_leaves_the_process_is_refused(what: str) -> None:
    with pytest.raises(AssertionError, match="a unit test started a process or a server"):
        STARTS[what]()
    assert guard.refused.pop()
