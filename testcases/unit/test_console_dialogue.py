from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pexpect
import pytest

from harness.console.dialogue import Dialogue
from harness.console.recorder import Recorder
from harness.console.transport import SocketTransport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Guest = tuple[socket.socket, Recorder]


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    ours, theirs = socket.socketpair()
    with theirs, Recorder(SocketTransport(ours), tmp_path / "raw", tmp_path / "index") as recorder:
        yield theirs, recorder


def test_expects_and_types(guest: Guest) -> None:
    peer, recorder = guest
    dialogue = Dialogue(recorder)
    peer.sendall(b"login: ")
    assert dialogue.expect([r"password", r"lo(\w+): "], timeout=60) == 1
    assert dialogue.after == "login: "
    assert dialogue.sendline("root") == 5
    assert peer.recv(10) == b"root\n"
    assert dialogue.isalive()


def test_offset_counts_raw_bytes_whatever_they_are(guest: Guest) -> None:
    peer, recorder = guest
    before = "€".encode() + b"\xff\xe2\x80 \x00\r\n" + "\ufffd😀".encode()
    raw = before + b"MARK" + b"\xc3rest \xf0\x9f"
    for piece in (raw[:1], raw[1:5], raw[5:]):
        peer.sendall(piece)
    dialogue = Dialogue(recorder, 2)
    assert dialogue.offset == 2
    dialogue.expect("MARK", timeout=60)
    assert dialogue.offset == raw.index(b"MARK") + 4
    dialogue.expect("re", timeout=60)
    dialogue.expect("s", timeout=60)
    assert dialogue.offset == raw.index(b"rest") + 3
    assert dialogue.expect(["never", pexpect.TIMEOUT], timeout=0.1) == 1
    assert dialogue.offset == raw.index(b"rest") + 3
    assert "\ufffd" not in (dialogue.before or "")


def test_bad_bytes_are_replaced(guest: Guest) -> None:
    peer, recorder = guest
    peer.sendall(b"a\xff\xfeb\n")
    dialogue = Dialogue(recorder)
    dialogue.expect_exact("\n", timeout=60)
    assert dialogue.before == "a\ufffd\ufffdb"


def test_match_is_found_in_the_middle_of_much_output(guest: Guest) -> None:
    """Pexpect searches only the last window of each read."""
    peer, recorder = guest
    peer.sendall(b"x" * 20_000 + b"MARK" + b"y" * 20_000)
    while recorder.size < 40_004:
        recorder.read(recorder.size, timeout=1)
    dialogue = Dialogue(recorder)
    dialogue.expect("MARK", timeout=60)
    assert dialogue.offset == 20_004
    assert dialogue.before == "x" * 20_000


def test_silence_is_a_timeout(guest: Guest) -> None:
    dialogue = Dialogue(guest[1])
    started = time.monotonic()
    with pytest.raises(pexpect.TIMEOUT):
        dialogue.expect("never", timeout=0.3)
    assert time.monotonic() - started > 0.2


def test_waking_the_recorder_is_no_timeout(guest: Guest) -> None:
    peer, recorder = guest
    threading.Timer(0.1, recorder.wake).start()
    threading.Timer(0.3, peer.sendall, (b"late",)).start()
    assert Dialogue(recorder).expect("late", timeout=10) == 0


def test_end_of_the_console(guest: Guest) -> None:
    peer, recorder = guest
    peer.sendall(b"bye")
    peer.close()
    dialogue = Dialogue(recorder)
    assert dialogue.expect(["never", pexpect.EOF], timeout=60) == 1
    assert dialogue.before == "bye"
    assert dialogue.offset == 3
    assert not dialogue.isalive()
    with pytest.raises(pexpect.EOF):
        dialogue.expect("never", timeout=60)


def test_what_was_matched_is_not_held(guest: Guest) -> None:
    peer, recorder = guest
    peer.sendall(b"line\n" * 10_000 + b"END")
    dialogue = Dialogue(recorder)
    while dialogue.expect_exact(["\n", "END"], timeout=60) == 0:
        assert dialogue._held.tell() <= 4096
    assert dialogue.offset == 50_003
