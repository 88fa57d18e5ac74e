from __future__ import annotations

import errno
import resource
import signal
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from harness.console.recorder import Recorder
from harness.console.transport import SocketTransport
from harness.core.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def guest() -> Iterator[tuple[socket.socket, SocketTransport]]:
    ours, theirs = socket.socketpair()
    with theirs:
        yield theirs, SocketTransport(ours)
    ours.close()


Guest = tuple[socket.socket, SocketTransport]


def recorded(recorder: Recorder, size: int) -> bytes:
    """The first `size` bytes, once they have arrived."""
    data = b""
    while len(data) < size and (more := recorder.read(len(data), timeout=60)):
        data += more
    return data


def test_every_byte_is_recorded_and_readable_by_offset(guest: Guest, tmp_path: Path) -> None:
    peer, transport = guest
    sent = bytes(range(256)) * 5000
    with Recorder(transport, tmp_path / "raw", tmp_path / "index") as recorder:
        peer.sendall(sent)
        assert recorded(recorder, len(sent)) == sent
        assert recorder.read(1000, 10) == sent[1000:1010]
        assert recorder.size == len(sent)
        assert not recorder.ended
    assert (tmp_path / "raw").read_bytes() == sent


class SlowSocket(SocketTransport):
    def __init__(self, connection: socket.socket, limit: int) -> None:
        super().__init__(connection)
        self._limit = limit

    def read(self, limit: int) -> bytes | None:
        return super().read(min(limit, self._limit))


@pytest.mark.parametrize("limit", [1, 50, 4096])
def test_bytes_that_have_arrived_before_the_exit_are_recorded(tmp_path: Path, limit: int) -> None:
    ours, peer = socket.socketpair()
    with peer, Recorder(SlowSocket(ours, limit), tmp_path / "raw", tmp_path / "index") as recorder:
        peer.sendall(b"x" * 20_000)
    assert recorder.failure is None
    assert recorder.size == 20_000
    assert recorder.ended
    assert recorder.read(19_990) == b"x" * 10  # readable afterwards


def test_what_came_before_a_failure_is_recorded(tmp_path: Path) -> None:
    """A serial adapter that is pulled."""

    class Pulled(SlowSocket):
        def read(self, limit: int) -> bytes | None:
            if (data := super().read(limit)) == b"!":
                self._limit = 0
            if self._limit == 0:
                raise OSError(errno.EIO, "Input/output error")
            return data

    ours, peer = socket.socketpair()
    peer.sendall(b"last words!" + b"and what nobody gets")
    with peer, Recorder(Pulled(ours, 1), tmp_path / "raw", tmp_path / "index") as recorder:
        assert recorded(recorder, 11) == b"last words"
        assert recorder.failure is not None
    assert (tmp_path / "raw").read_bytes() == b"last words"


def test_single_bytes_do_not_wake_anybody_one_by_one(guest: Guest, tmp_path: Path) -> None:
    """A serial port sends them so; waking up for each costs more than the guest."""
    peer, transport = guest
    with Recorder(transport, tmp_path / "raw", tmp_path / "index") as recorder:
        started = time.thread_time()
        for number in range(2000):
            peer.sendall(b"x")
            if number % 10 == 0:
                time.sleep(0.0001)
        assert time.thread_time() - started < 2
        assert len(recorded(recorder, 2000)) == 2000
    assert len((tmp_path / "index").read_text().splitlines()) < 200


def test_times_of_long_ago_are_read_back_from_the_index(guest: Guest, tmp_path: Path) -> None:
    with Recorder(guest[1], tmp_path / "raw", tmp_path / "index") as recorder:
        for number in range(30_000):
            recorder._enter(7 * number, number / 8)
        assert len(recorder._offsets) < 10_000
        for number in (0, 1, 2, 3, 999, 10_000, 12_345, 21_000, 25_000, 29_998, 29_999):
            assert recorder.seconds_at(7 * number) == number / 8
            assert recorder.seconds_at(7 * number + 6) == number / 8
            assert recorder.arrivals(7 * number + 6, 7 * number + 7) == [(7 * number + 6, number / 8)]


def test_peer_that_hangs_up_ends_the_stream(guest: Guest, tmp_path: Path) -> None:
    peer, transport = guest
    with Recorder(transport, tmp_path / "raw", tmp_path / "index") as recorder:
        peer.sendall(b"last words")
        peer.close()
        assert recorded(recorder, 100) == b"last words"
        assert recorder.read(10, timeout=60) == b""
        assert recorder.ended
        assert recorder.failure is None
        with pytest.raises(InfraError, match="closed"):
            recorder.write(b"hello?")


def test_reset_connection_is_the_end(tmp_path: Path) -> None:
    """QEMU was killed with our input unread."""
    ours, theirs = socket.socketpair()
    with Recorder(SocketTransport(ours), tmp_path / "raw", tmp_path / "index") as recorder:
        recorder.write(b"unread")
        theirs.close()
        assert recorder.read(0, timeout=60) == b""
        assert recorder.ended
        assert recorder.failure is None


def test_read_waits_no_longer_than_asked_and_wakes_up(guest: Guest, tmp_path: Path) -> None:
    with Recorder(guest[1], tmp_path / "raw", tmp_path / "index") as recorder:
        started = time.monotonic()
        assert recorder.read(0, timeout=0.2) == b""
        assert time.monotonic() - started > 0.15
        threading.Timer(0.2, recorder.wake).start()
        assert recorder.read(0, timeout=10_000) == b"", "it was woken: the test has not so much time"


def test_wake_from_a_signal_handler(guest: Guest, tmp_path: Path) -> None:
    with Recorder(guest[1], tmp_path / "raw", tmp_path / "index") as recorder:
        before = signal.signal(signal.SIGALRM, lambda *_: recorder.wake())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            assert recorder.read(0, timeout=10_000) == b"", "it was woken: the test has not so much time"
        finally:
            signal.signal(signal.SIGALRM, before)


def test_readers_have_their_own_pace(guest: Guest, tmp_path: Path) -> None:
    peer, transport = guest
    sent = bytes(range(251)) * 4000
    results: dict[int, bytes] = {}

    def read_all(limit: int) -> None:
        data = bytearray()
        while more := recorder.read(len(data), limit, timeout=60):
            data += more
        results[limit] = bytes(data)

    with Recorder(transport, tmp_path / "raw", tmp_path / "index") as recorder:
        threads = [threading.Thread(target=read_all, args=(limit,)) for limit in (97, 4096, 1 << 20)]
        for thread in threads:
            thread.start()
        peer.sendall(sent)
        peer.close()
        for thread in threads:
            thread.join()
    assert all(data == sent for data in results.values())
    assert len(results) == 3


def test_index_tells_when_bytes_arrived(guest: Guest, tmp_path: Path) -> None:
    peer, transport = guest
    now = 100.0
    with Recorder(transport, tmp_path / "raw", tmp_path / "index", clock=lambda: now) as recorder:
        for second, data in enumerate((b"abc", b"de", b"f"), 1):
            now = 100.0 + second
            size = recorder.size + len(data)
            peer.sendall(data)
            assert len(recorded(recorder, size)) == size
        assert [recorder.seconds_at(offset) for offset in range(6)] == [1, 1, 1, 2, 2, 3]
        assert recorder.arrivals(0, 6) == [(0, 1), (3, 2), (5, 3)]
        assert recorder.arrivals(1, 5) == [(1, 1), (3, 2)]
        assert recorder.arrivals(3, 4) == [(3, 2)]
        assert recorder.seconds == 3
    assert (tmp_path / "index").read_text() == "0 1.000000\n3 2.000000\n5 3.000000\n"


def test_typing_is_sent_and_told(guest: Guest, tmp_path: Path) -> None:
    peer, transport = guest
    typed: list[tuple[bytes, int, bool]] = []
    with Recorder(
        transport,
        tmp_path / "raw",
        tmp_path / "index",
        typed=lambda data, offset, by_hand: typed.append((data, offset, by_hand)),
    ) as recorder:
        peer.sendall(b"prompt")
        recorded(recorder, 6)
        recorder.write(b"ls\n")
        assert peer.recv(10) == b"ls\n"
        recorder.write(b"x", by_hand=True)
    assert typed == [(b"ls\n", 6, False), (b"x", 6, True)]


def test_a_guest_that_does_not_read_is_noticed_before_typing_to_it(guest: Guest, tmp_path: Path) -> None:
    peer, transport = guest
    with Recorder(transport, tmp_path / "raw", tmp_path / "index") as recorder:
        assert recorder.takes_input
        written = 0
        while recorder.takes_input:
            recorder.write(b"x" * 4096)  # would block for a minute if it did not fit
            written += 4096
        while written > 0:
            written -= len(peer.recv(1 << 20))
        assert recorder.takes_input


def test_input_that_is_larger_than_the_sockets_buffer(guest: Guest, tmp_path: Path) -> None:
    peer, transport = guest
    received = bytearray()

    def receive() -> None:
        while len(received) < 3_000_000:
            received.extend(peer.recv(65536))

    thread = threading.Thread(target=receive)
    with Recorder(transport, tmp_path / "raw", tmp_path / "index") as recorder:
        thread.start()
        recorder.write(b"abc" * 1_000_000)
        thread.join()
    assert received == b"abc" * 1_000_000


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_reported_and_what_was_recorded_stays(guest: Guest, tmp_path: Path) -> None:
    peer, transport = guest
    with (
        Recorder(transport, tmp_path / "raw", tmp_path / "index") as recorder,
        file_size_limit(20_000),
    ):
        peer.sendall(b"x" * 30_000)
        assert recorded(recorder, 30_000) == b"x" * 20_000
        assert recorder.ended
        assert recorder.failure is not None
        assert recorder.failure.errno == errno.EFBIG
    assert recorder.read(19_999) == b"x"


def test_an_earlier_record_is_not_overwritten(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"evidence")
    with pytest.raises(InfraError, match="raw"), Recorder(guest[1], tmp_path / "raw", tmp_path / "index"):
        pass
    assert (tmp_path / "raw").read_bytes() == b"evidence"
