from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from harness.console.keyboard import Keyboard, Phase
from harness.console.recorder import Recorder
from harness.console.transport import SocketTransport
from harness.core.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def keyboard(
    tmp_path: Path, *, takeover: bool = False, typed: Callable[[bytes, int, bool], None] | None = None
) -> Iterator[tuple[Keyboard, Recorder, socket.socket, list[int]]]:
    ours, guest = socket.socketpair()
    taken: list[int] = []
    with (
        guest,
        Recorder(SocketTransport(ours), tmp_path / "raw", tmp_path / "index", typed=typed) as recorder,
    ):
        guest.settimeout(5)
        yield Keyboard(recorder, takeover=takeover, taken=taken.append), recorder, guest, taken


def test_a_person_types_in_their_turn_only(tmp_path: Path) -> None:
    with keyboard(tmp_path) as (keys, _, guest, taken):
        assert "only watches" in keys.type(b"no")
        assert keys.type(b"no") == "", "said once"
        assert keys.turn(Phase.ASKED) == Phase.WATCHED
        assert "asking the shell" in keys.type(b"no")
        assert not keys.is_persons
        keys.turn(Phase.YOURS)
        assert keys.type(b"yes") == ""
        assert guest.recv(100) == b"yes"
        assert taken == []


def test_taking_over_is_told_before_the_first_byte(tmp_path: Path) -> None:
    order: list[object] = []
    with keyboard(tmp_path, takeover=True, typed=lambda data, *_: order.append(data)) as (
        keys,
        _,
        guest,
        taken,
    ):
        keys.answer(b"\x1b[1;1R")
        keys.type(b"a")
        keys.type(b"b")
        assert taken == [0]
        assert guest.recv(1) + guest.recv(1) == b"ab"
        keys.turn(Phase.ASKED)
        assert "asking the shell" in keys.type(b"c")
        keys.answer(b"\x1b[1;1R")
    assert order == [b"a", b"b"]


def test_no_key_lands_in_what_the_harness_types(tmp_path: Path) -> None:
    """However fast a person types, what the harness types in its turn is in one piece."""
    with keyboard(tmp_path, takeover=True) as (keys, recorder, guest, _):
        done = threading.Event()

        def type_on() -> None:
            while not done.is_set():
                keys.type(b"x")

        heard = bytearray()

        def listen() -> None:
            while data := guest.recv(65536):
                heard.extend(data)

        threads = [threading.Thread(target=work) for work in (type_on, listen)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            keys.turn(Phase.ASKED)
            recorder.write(b"<")
            for _ in range(5):
                recorder.write(b"-")
            recorder.write(b">")
            keys.turn(Phase.WATCHED)
        done.set()
        threads[0].join()
        recorder._transport._streams[0].shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
        threads[1].join()
    assert heard.count(b"<----->") == 200
    assert heard.count(b"x") > 0
    assert not heard.replace(b"<----->", b"").strip(b"x")


def test_guest_that_does_not_read_makes_nobody_wait(tmp_path: Path) -> None:
    with keyboard(tmp_path) as (keys, *_):
        keys.turn(Phase.YOURS)
        words = [keys.type(b"x" * 4096) for _ in range(1000)]
        assert [word for word in words if word] == [
            "the guest does not read what is typed; keys go nowhere until it does"
        ]


def test_guest_that_is_gone_is_said(tmp_path: Path) -> None:
    with keyboard(tmp_path) as (keys, recorder, guest, _):
        keys.turn(Phase.YOURS)
        guest.close()
        while not recorder.ended:
            recorder.read(0, timeout=1)
        assert "gone" in keys.type(b"x")


def test_what_cannot_be_recorded_is_not_typed(tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise InfraError("the disk is full")

    with keyboard(tmp_path, typed=full) as (keys, _, guest, _taken):
        keys.turn(Phase.YOURS)
        with pytest.raises(InfraError, match="full"):
            keys.type(b"x")
        guest.setblocking(False)
        with pytest.raises(BlockingIOError):
            guest.recv(1)


def test_a_line_slips_in_only_where_nothing_was_said_or_typed_since(tmp_path: Path) -> None:
    with keyboard(tmp_path) as (keys, recorder, guest, _):
        guest.sendall(b"$ ")
        while recorder.size < 2:
            recorder.read(0, timeout=1)
        assert not keys.slip_in("stty\n", shown=2), "it is not the person's shell"
        keys.turn(Phase.YOURS)
        assert not keys.slip_in("stty\n", shown=1), "more has been said"
        assert keys.slip_in("stty\n", shown=2)
        assert guest.recv(100) == b"stty\n"
        keys.type(b"v")
        assert guest.recv(100) == b"v"
        assert not keys.slip_in("stty\n", shown=2), "a line has begun"
