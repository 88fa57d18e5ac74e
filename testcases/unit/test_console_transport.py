"""Consoles over pipes, sockets and terminals: nothing there, something, and the end."""

from __future__ import annotations

import os
import pty
import socket
import tty
from contextlib import suppress
from io import FileIO
from typing import TYPE_CHECKING

import pytest

from harness.console.transport import ConsoleClosed, PtyTransport, SocketTransport, pipes
from harness.core.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.console.transport import Transport

# The transport, and the guest's side of it: where it writes, and where it reads.
Console = tuple["Transport", FileIO, FileIO]


def sockets() -> Console:
    ours, theirs = socket.socketpair()
    out = theirs.dup()
    return SocketTransport(ours), FileIO(theirs.detach(), "wb"), FileIO(out.detach(), "rb")


def terminal() -> Console:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    return PtyTransport(ours), FileIO(os.dup(theirs), "wb"), FileIO(theirs, "rb")


@pytest.fixture(params=[pipes, sockets, terminal])
def console(request: pytest.FixtureRequest) -> Iterator[Console]:
    make: Callable[[], Console] = request.param
    transport, says, hears = make()
    with says, hears:
        yield transport, says, hears
    transport.close()
    transport.close()


def test_bytes_go_both_ways(console: Console) -> None:
    transport, says, hears = console
    assert transport.read(100) is None
    says.write(b"said")
    assert transport.read(3) == b"sai"
    assert transport.read(100) == b"d"
    assert transport.read(100) is None
    assert transport.takes_input
    transport.write(b"typed")
    assert hears.read(100) == b"typed"


def test_the_end_comes_behind_the_last_words(console: Console) -> None:
    transport, says, hears = console
    says.write(b"last words")
    hears.close()
    says.close()
    heard = b""
    while (data := transport.read(4)) != b"":
        heard += data or b""
    assert heard == b"last words"
    assert transport.read(100) == b""


def test_who_types_to_a_guest_that_is_gone_is_told(console: Console) -> None:
    transport, says, hears = console
    if isinstance(transport, PtyTransport):
        transport.close()  # what is typed to a terminal that nobody holds waits for somebody to open it
    hears.close()
    says.close()
    with pytest.raises(InfraError, match="its console is closed") as error:
        transport.write(b"x")
    assert isinstance(transport, PtyTransport) or isinstance(error.value, ConsoleClosed)


def test_what_a_guest_does_not_read_piles_up(console: Console) -> None:
    transport, _, hears = console
    typed = 0
    while transport.takes_input:
        transport.write(b"x" * 100)
        typed += 100
    os.set_blocking(hears.fileno(), False)
    while typed > 0:
        with suppress(BlockingIOError):
            typed -= len(hears.read(65536) or b"")
    assert transport.takes_input


def test_a_serial_port_need_not_wait_for_whoever_hears_it() -> None:
    transport, says, _ = pipes()
    os.set_blocking(says.fileno(), False)
    sent = sum(says.write(b"x") or 0 for _ in range(60_000))
    assert sent == 60_000
    assert transport.read(1 << 17) == b"x" * sent
