"""Records every byte of a console, from the first one on, whether or not anybody reads it.

The recorded file is also the queue: readers ask for bytes by offset, each at its own pace, and nobody
can make the recorder wait or fill the memory.
"""

from __future__ import annotations

import os
import selectors
import time
import weakref
from array import array
from bisect import bisect_right
from threading import Condition, Lock, Thread
from typing import TYPE_CHECKING, Self

from harness.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from harness.console.transport import Transport

_READ_LIMIT = 65536
# Slow consoles deliver single bytes: one index entry per millisecond keeps the index smaller than the log.
_INDEX_SECONDS = 0.001
# What has arrived when we are told to stop is still recorded, but a chatty guest cannot keep us.
_LAST_WORDS = 1 << 20


class Recorder:
    """Drains a transport into a file from `__enter__` to `__exit__`; all methods are thread-safe.

    The index file has a line "<offset> <seconds>" for each read: the raw offset of its first byte and
    when it arrived, in host seconds since the recorder was entered. Reads within a millisecond share a line.

    Args:
        transport: The console; the recorder is its only reader and closes it in the end.
        raw: File for the bytes as they came; must not exist.
        index: File for the arrival times; must not exist.
        clock: Seconds from an arbitrary start, never going back.
        typed: Told what is typed to the guest, with the raw offset at that moment.
    """

    def __init__(
        self,
        transport: Transport,
        raw: Path,
        index: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        typed: Callable[[bytes, int], None] | None = None,
    ) -> None:
        self.raw = raw
        self.index = index
        self._transport = transport
        self._clock = clock
        self._typed = typed
        self._start = clock()
        self._size = 0
        self._ended = False
        self._failure: OSError | None = None
        self._wakes = 0
        self._changed = Condition()  # reentrant: wake() may be called from a signal handler
        self._writing = Lock()
        self._offsets = array("Q")
        self._arrivals = array("d")
        self._thread = Thread(target=self._drain, name="console-recorder", daemon=True)

    def __enter__(self) -> Self:
        """Create the files and start to record.

        Raises:
            InfraError: The files cannot be created.
        """
        try:
            self._raw_fd = self._create(self.raw)
            self._index_fd = self._create(self.index)
        except OSError as error:
            raise InfraError(
                f"cannot record the console to {error.filename}: {error.strerror}",
                hint="Record each run into a new directory.",
            ) from error
        self._stop_read, self._stop_write = os.pipe()
        self._start = self._clock()
        self._thread.start()
        return self

    def _create(self, path: Path) -> int:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        # What was recorded stays readable after __exit__, as long as anybody holds the recorder.
        weakref.finalize(self, os.close, fd)
        return fd

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop to record and close the transport."""
        os.write(self._stop_write, b"x")
        self._thread.join()
        os.close(self._stop_read)
        os.close(self._stop_write)
        self._transport.close()

    @property
    def size(self) -> int:
        """Bytes recorded so far."""
        return self._size

    @property
    def ended(self) -> bool:
        """Whether no more bytes will come: the transport is at its end, or recording failed."""
        return self._ended

    @property
    def failure(self) -> OSError | None:
        """Why recording stopped early, such as a full disk; what was recorded stays readable."""
        return self._failure

    @property
    def seconds(self) -> float:
        """Host seconds since the recorder was entered."""
        return self._clock() - self._start

    def seconds_at(self, offset: int) -> float:
        """Return when the byte at raw `offset` arrived, in seconds since the start."""
        with self._changed:
            entry = bisect_right(self._offsets, offset) - 1
            return self._arrivals[entry] if entry >= 0 else 0.0

    def read(self, offset: int, limit: int = _READ_LIMIT, timeout: float = 0.0) -> bytes:
        """Return up to `limit` recorded bytes from `offset` on.

        Waits until there are any, for `timeout` seconds at most; b"" after that, at the end of the stream
        (see `ended`) and when `wake` was called.
        """
        with self._changed:
            wakes = self._wakes
            self._changed.wait_for(
                lambda: self._size > offset or self._ended or self._wakes != wakes, timeout
            )
            available = self._size - offset
        return os.pread(self._raw_fd, min(limit, available), offset) if available > 0 else b""

    def wake(self) -> None:
        """Make every waiting `read` return at once; may be called from a signal handler."""
        with self._changed:
            self._wakes += 1
            self._changed.notify_all()

    def write(self, data: bytes) -> None:
        """Type `data` to the guest.

        Raises:
            InfraError: The guest's side of the console is gone.
        """
        with self._writing:
            if self._typed is not None:
                self._typed(data, self._size)
            self._transport.write(data)

    def _drain(self) -> None:
        try:
            with selectors.PollSelector() as selector:  # epoll refuses files, which replays are
                selector.register(self._transport, selectors.EVENT_READ)
                selector.register(self._stop_read, selectors.EVENT_READ)
                self._record_until_stopped(selector)
        except OSError as error:
            self._failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _record_until_stopped(self, selector: selectors.BaseSelector) -> None:
        last_words = _LAST_WORDS
        while last_words > 0:
            ready = {key.fileobj for key, _ in selector.select()}
            stopping = self._stop_read in ready
            if self._transport not in ready:
                return
            data = self._transport.read(_READ_LIMIT)
            if not data:
                return
            self._record(data)
            last_words -= len(data) if stopping else 0

    def _record(self, data: bytes) -> None:
        seconds = self.seconds
        offset = self._size
        rest = memoryview(data)
        while rest:
            written = os.write(self._raw_fd, rest)
            rest = rest[written:]
            with self._changed:
                if not self._arrivals or seconds - self._arrivals[-1] >= _INDEX_SECONDS:
                    self._offsets.append(self._size)
                    self._arrivals.append(seconds)
                self._size += written
                self._changed.notify_all()
        if self._offsets[-1] == offset:
            os.write(self._index_fd, b"%d %.6f\n" % (offset, seconds))
