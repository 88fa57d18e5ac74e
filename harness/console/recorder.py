"""Records every byte of a console, from the first one on.

The recorded file is also the queue: readers ask for bytes by offset, each at its own pace, so
no reader makes the recorder wait or fills the memory.
"""

from __future__ import annotations

import os
import select
import time
import weakref
from array import array
from bisect import bisect_left, bisect_right
from threading import Condition, Lock, Thread
from typing import TYPE_CHECKING, Protocol, Self

from harness.core.errors import InfraError, explaining

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.console.transport import Pace, Transport

_READ_LIMIT = 65536
# What comes within a moment is recorded at once: a serial port delivers single bytes, a pseudo terminal 4 KB
# at a time, and waking up for each would take a processor of its own.
_MOMENT = 0.004  # seconds
# After few bytes more are let gather, for longer while they come steadily, as a build's do, than for the
# answers that a reader waits for.
_FEW = 1000
_SHORTEST, _LONGEST = 0.0005, 0.008  # seconds
# Slow consoles deliver single bytes: one index entry per millisecond keeps the index smaller than the log.
_INDEX_SECONDS = 0.001
# What has arrived when we are told to stop is still recorded, but a chatty guest cannot keep us.
_LAST_WORDS = 1 << 20
_INDEX_BLOCK = 256  # bytes that hold several entries
_INDEX_KEPT = 4096  # entries in memory; older ones are read back from the file


class Console(Protocol):
    """A recorded console as its readers see it; `Recorder` says what each means."""

    raw: Path

    @property
    def failure(self) -> OSError | None:
        """Why recording stopped early."""

    @property
    def size(self) -> int:
        """Bytes recorded so far."""

    @property
    def ended(self) -> bool:
        """Whether no more bytes will come."""

    def read(self, offset: int, limit: int = _READ_LIMIT, timeout: float = 0.0) -> bytes:
        """Return up to `limit` recorded bytes from `offset` on."""


class Recorder:
    """Drains a transport into a file from `__enter__` to `__exit__`; all methods are thread-safe.

    The index file has a line "<offset> <seconds>" for each read: the raw offset of its first byte and
    when it arrived, in host seconds since the recorder was entered. Reads within a millisecond share a line.

    Args:
        transport: The console; the recorder is its only reader and closes it in the end.
        raw: File for the bytes as they came; must not exist.
        index: File for the arrival times; must not exist.
        clock: Seconds from an arbitrary start, never going back.
        typed: Told what is typed to the guest, with the raw offset at that moment, and whether a person does.
        earlier: What the same console said in an earlier run, to begin the record with; all of it counts as
            having arrived at the start.
        pace: How fast a `Dialogue` types to the guest; as fast as the transport takes it without.
    """

    def __init__(
        self,
        transport: Transport,
        raw: Path,
        index: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        typed: Callable[[bytes, int, bool], None] | None = None,
        earlier: Path | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.raw = raw
        self.pace = pace
        self.index = index
        self._transport = transport
        self._clock = clock
        self._typed = typed
        self._earlier = earlier
        self._idle = False  # whether all that was read is recorded
        self._start = clock()
        self.size = 0  # bytes recorded so far
        self.ended = (
            False  # whether no more bytes will come: the transport is at its end, or recording failed
        )
        # why recording stopped early, such as a full disk; what was recorded stays readable
        self.failure: OSError | None = None
        self._wakes = 0
        self._changed = Condition()  # reentrant: wake() may be called from a signal handler
        self._writing = Lock()
        self._offsets = array("Q")
        self._arrivals = array("d")
        self._thread = Thread(target=self._drain, name="console-recorder", daemon=True)

    def __enter__(self) -> Self:
        """Create the files and start to record."""
        self._raw_fd = self._create(self.raw)
        self._index_fd = self._create(self.index)
        self._stop_read, self._stop_write = os.pipe()
        if self._earlier is not None:
            self._record_earlier(self._earlier)
        self._start = self._clock()
        self._thread.start()
        return self

    def _record_earlier(self, path: Path) -> None:
        with explaining(InfraError, f"cannot copy the console of {path}"), path.open("rb") as earlier:
            while data := earlier.read(_READ_LIMIT):
                self._record(data, 0.0)

    def _create(self, path: Path) -> int:
        hint = "record each run into a new directory"
        with explaining(InfraError, f"cannot record the console to {path}", hint):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        # What was recorded stays readable after __exit__, as long as anybody holds the recorder.
        weakref.finalize(self, os.close, fd)
        return fd

    def __exit__(self, *_: object) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join()
        os.close(self._stop_read)
        os.close(self._stop_write)
        self._transport.close()

    @property
    def seconds(self) -> float:
        """Host seconds since the recorder was entered."""
        return self._clock() - self._start

    def seconds_at(self, offset: int) -> float:
        """Return when the byte at raw `offset` arrived, in seconds since the start."""
        with self._changed:
            if not self._offsets or self._offsets[0] <= offset:
                entry = bisect_right(self._offsets, offset) - 1
                return self._arrivals[entry] if entry >= 0 else 0.0
        return self._recorded_seconds_at(offset)

    def arrivals(self, start: int, end: int) -> list[tuple[int, float]]:
        """When the bytes of a raw stretch arrived: where in it each read began, and its seconds.

        The first is that of the byte at `start`.
        """
        first = self.seconds_at(start)
        with self._changed:
            inside = slice(bisect_right(self._offsets, start), bisect_left(self._offsets, end))
            return [(start, first), *zip(self._offsets[inside], self._arrivals[inside], strict=True)]

    def _recorded_seconds_at(self, offset: int) -> float:
        """Search the index file."""
        low, high = 0, os.fstat(self._index_fd).st_size  # the entry begins from low on and before high
        while high - low > _INDEX_BLOCK:
            middle = (low + high) // 2
            cut, _, rest = os.pread(self._index_fd, _INDEX_BLOCK, middle).partition(b"\n")
            if int(rest.split(maxsplit=1)[0]) <= offset:
                low = middle + len(cut) + 1
            else:
                high = middle + len(cut) + 1
        seconds = 0.0
        for line in os.pread(self._index_fd, high - low, low).splitlines():
            began, came = line.split()
            if int(began) <= offset:
                seconds = float(came)
        return seconds

    def read(self, offset: int, limit: int = _READ_LIMIT, timeout: float = 0.0) -> bytes:
        """Return up to `limit` recorded bytes from `offset` on.

        Waits until there are any, for `timeout` seconds at most; b"" after that, at the end of the stream
        (see `ended`) and when `wake` was called.
        """
        with self._changed:
            wakes = self._wakes
            self._changed.wait_for(lambda: self.size > offset or self.ended or self._wakes != wakes, timeout)
            available = self.size - offset
        return os.pread(self._raw_fd, min(limit, available), offset) if available > 0 else b""

    def settle(self) -> None:
        """Wait until all that has arrived is recorded; from a guest that stands still, nothing more comes."""
        poller = select.poll()
        poller.register(self._transport, select.POLLIN)
        # In this order: what cannot be read any more the thread took, and is busy until it has recorded it.
        while not self.ended and (poller.poll(0) or not self._idle):
            time.sleep(_MOMENT)

    def wake(self) -> None:
        """Make every waiting `read` return at once; may be called from a signal handler."""
        with self._changed:
            self._wakes += 1
            self._changed.notify_all()

    @property
    def takes_input(self) -> bool:
        """Whether some typed text would be taken at once; a guest that does not read it lets it pile up."""
        return self._transport.takes_input

    def write(self, data: bytes, *, by_hand: bool = False) -> None:
        """Type `data` to the guest; `by_hand`: a person does."""
        with self._writing:
            if self._typed is not None:
                self._typed(data, self.size, by_hand)
            self._transport.write(data)

    def _drain(self) -> None:
        try:
            self._record_until_stopped()
        except OSError as error:
            self.failure = error
        finally:
            with self._changed:
                self.ended = True
                self._changed.notify_all()

    def _record_until_stopped(self) -> None:
        poller = select.poll()
        poller.register(self._transport, select.POLLIN)
        poller.register(self._stop_read, select.POLLIN)
        last_words, goes_on = _LAST_WORDS, True
        pause = _SHORTEST
        while goes_on and last_words > 0:
            self._idle = True
            slept = time.monotonic()
            ready = {descriptor for descriptor, _ in poller.poll()}
            self._idle = False
            if self._transport.fileno() not in ready:
                return
            seconds = self.seconds
            comes_steadily = time.monotonic() - slept < pause
            pause = min(2 * pause, _LONGEST) if comes_steadily else _SHORTEST
            data, goes_on = self._gather(pause)
            if data:
                self._record(data, seconds)
            if self._stop_read in ready:
                last_words -= len(data)

    def _gather(self, pause: float) -> tuple[bytes, bool]:
        """Read what there is and what comes within a moment; whether the stream goes on after it."""
        pieces: list[bytes] = []
        size, paused = 0, False
        until = time.monotonic() + _MOMENT
        while size < _READ_LIMIT:
            try:
                data = self._transport.read(_READ_LIMIT)
            except OSError:
                if not pieces:
                    raise
                break  # what came before is recorded first; the next read says it again
            if data == b"":
                return b"".join(pieces), False
            if data:
                pieces.append(data)
                size += len(data)
            few = len(data or b"") < _FEW
            if (few and paused) or (not few and time.monotonic() > until):
                break
            if few:
                select.select([self._stop_read], [], [], pause if size < _FEW else _SHORTEST)
            paused = few
        return b"".join(pieces), True

    def _record(self, data: bytes, seconds: float) -> None:
        if not self._arrivals or seconds - self._arrivals[-1] >= _INDEX_SECONDS:
            self._enter(self.size, seconds)
        rest = memoryview(data)
        while rest:
            written = os.write(self._raw_fd, rest)
            rest = rest[written:]
            with self._changed:
                self.size += written
                self._changed.notify_all()

    def _enter(self, offset: int, seconds: float) -> None:
        """Note in the index when a byte came."""
        os.write(self._index_fd, b"%d %.6f\n" % (offset, seconds))
        with self._changed:
            self._offsets.append(offset)
            self._arrivals.append(seconds)
            if len(self._offsets) >= 2 * _INDEX_KEPT:
                del self._offsets[:_INDEX_KEPT], self._arrivals[:_INDEX_KEPT]
