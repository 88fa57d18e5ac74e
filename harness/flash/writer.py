"""Writes an image to a disk, and reads it back.

The boot sector is written last, so nothing boots from a disk with half an image.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import msgspec

from harness.core.errors import HarnessError, InfraError, Interrupted, explaining
from harness.core.sizes import format_size
from harness.flash.ranges import Range, aligned, between, data, pieces, within
from harness.flash.target import BLOCK, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness.core.progress import Progress, Task

Elsewhere = Literal["zero", "discard", "keep"]

# In front of this lies all that firmware looks at first: MBR, GPT, and the descriptors of an ISO image.
HEAD = 1 << 20
CHUNK = 4 << 20  # bytes at once, as with `dd bs=4M`
_PIECE = 64 << 20  # bytes with a hash of their own
_ZERO_AT_ONCE = 64 << 20  # bytes between looks at Ctrl-C


class Sum(msgspec.Struct, frozen=True):
    """A range that was read back as it should be, its sha256 in hex, and whether the image has a hole."""

    start: int
    end: int
    sha256: str
    zero: bool = False


class Flashed(msgspec.Struct, frozen=True):
    """What was done."""

    size: int  # of the image, in bytes
    written: int  # bytes that were written
    zeroed: int  # bytes that were made zeros, as the image has holes there
    discarded: int  # bytes that the disk was told to forget
    write_seconds: float  # what writing took
    verify_seconds: float  # what reading back took
    ranges: tuple[Sum, ...]  # all that was read back


def flash(
    image: int, size: int, target: Target, progress: Progress, *, elsewhere: Elsewhere = "zero"
) -> Flashed:
    """Write an image to a disk, and read all of it back.

    Args:
        image: Descriptor of the image, which must not change meanwhile.
        size: Of the image, in bytes; not more than the target has.
        target: Where to.
        progress: Where it is shown.
        elsewhere: What becomes of what the image has no data for. "zero": its holes are made zeros, and what
            is behind it stays. "discard": the same, after the disk was told to forget all that it has.
            "keep": neither is touched, for images whose holes mean nothing.

    Raises:
        InfraError: The disk is gone, fails, or gives back something else. Nothing boots from it then.
        Interrupted: Ctrl-C or SIGTERM. Nothing boots from it then.
    """
    whole = min(-(-size // BLOCK) * BLOCK, target.size)
    stored = list(within(aligned(data(image, size), BLOCK), 0, whole))
    head = Range(0, min(HEAD, whole))
    body = list(within(stored, head.end, whole))
    holes = list(between(body, head.end, whole))
    work = _Work(image, target, progress)
    target.zero(head.start, head.length)
    target.flush()
    try:
        return work.flash(head, body, holes, elsewhere, size)
    except Interrupted as error:
        raise Interrupted(f"{error.message}: {_unfinished(target)}", hint="start over") from error
    except HarnessError as error:
        raise type(error)(f"{error.message}; {_unfinished(target)}", hint=error.hint) from error


def _unfinished(target: Target) -> str:
    return f"{target.path} is not whole, and has no boot sector, so that nothing boots from it"


class _Work:
    """One flash."""

    def __init__(self, image: int, target: Target, progress: Progress) -> None:
        self._image = image
        self._target = target
        self._progress = progress

    def flash(
        self, head: Range, body: Sequence[Range], holes: Sequence[Range], elsewhere: Elsewhere, size: int
    ) -> Flashed:
        target, progress = self._target, self._progress
        parts = list(pieces(body, _PIECE))
        zeros = list(pieces(holes, _ZERO_AT_ONCE)) if elsewhere != "keep" else []
        rest = Range(head.end, target.size)
        forgotten = [rest] if elsewhere == "discard" and rest.length else []
        began = time.monotonic()
        with _Buffers() as buffers:
            for each in forgotten:
                target.discard(each.start, each.length)
            with progress.task("writing") as task:
                meter = _Meter(task, _total(parts) + _total(zeros))
                for each in zeros:
                    target.zero(each.start, each.length)
                    meter.add(each.length)
                self._write(parts, buffers, meter)
                target.flush()
            wrote = time.monotonic()
            with progress.task("reading back") as task:
                meter = _Meter(task, _total(parts) + _total(zeros))
                sums = self._verify(parts, buffers, meter, zeros)
            sums += self._write_head(head, buffers)
            target.reread_partitions()
        finished = time.monotonic()
        return Flashed(
            size=size,
            written=_total(parts) + head.length,
            zeroed=_total(zeros),
            discarded=_total(forgotten),
            write_seconds=wrote - began,
            verify_seconds=finished - wrote,
            ranges=tuple(sorted(sums, key=lambda each: each.start)),
        )

    def _write_head(self, head: Range, buffers: _Buffers) -> list[Sum]:
        """Write what boots, now that all else is known to be there: the very first block last, in one go."""
        silent = _Meter(None, 0)
        boot = Range(0, min(BLOCK, head.end))
        done: list[Sum] = []
        try:
            for parts in list(between([boot], 0, head.end)), [boot]:
                self._write(parts, buffers, silent)
                self._target.flush()
                done += self._verify(parts, buffers, silent)
        except BaseException:
            with suppress(InfraError):  # a disk that is gone has all of that block by now, or nothing
                self._target.zero(head.start, head.length)
                self._target.flush()
            raise
        return done

    def _write(self, parts: Sequence[Range], buffers: _Buffers, meter: _Meter) -> None:
        """Write parts of the image. Nothing is hashed meanwhile: the disk shall not wait for that."""

        def read(chunk: Range, buffer: memoryview) -> memoryview:
            return _read_image(self._image, buffer[: chunk.length], chunk.start)

        for chunk, view in buffers.ahead(pieces(parts, CHUNK), read):
            self._target.write(view, chunk.start)
            meter.add(chunk.length)

    def _verify(
        self, parts: Sequence[Range], buffers: _Buffers, meter: _Meter, zeros: Sequence[Range] = ()
    ) -> list[Sum]:
        """Read back parts and what was made zeros, and compare the sha256 of each with that of the image."""

        def read(chunk: Range, buffer: memoryview) -> memoryview:
            view = buffer[: chunk.length]
            self._target.read(view, chunk.start)
            return view

        ranges = [*parts, *zeros]
        found = [(hashlib.sha256(), hashlib.sha256()) for _ in ranges]
        digests = (pair for part, pair in zip(ranges, found, strict=True) for _ in pieces([part], CHUNK))
        expected = memoryview(bytearray(CHUNK))
        with ThreadPoolExecutor(1, "hash") as thread:
            chunks = buffers.ahead(pieces(ranges, CHUNK), read)
            for (disk, image), (chunk, view) in zip(digests, chunks, strict=True):
                hashing = thread.submit(disk.update, view)
                image.update(_read_image(self._image, expected[: chunk.length], chunk.start))
                hashing.result()
                meter.add(chunk.length)
        sums = [
            Sum(part.start, part.end, disk.hexdigest(), zero=number >= len(parts))
            for number, (part, (disk, _)) in enumerate(zip(ranges, found, strict=True))
        ]
        bad = [each for each, (_, image) in zip(sums, found, strict=True) if each.sha256 != image.hexdigest()]
        if bad:
            raise InfraError(
                f"{self._target.path} gives back something else than was written to it: "
                f"{len(bad)} of {len(sums)} ranges, the first at byte {bad[0].start}",
                hint="it is worn out, or has less memory than it says; take another",
            )
        return sums


class _Buffers:
    """Two buffers, aligned as O_DIRECT wants it: one is filled in a thread while the other is worked on."""

    def __enter__(self) -> _Buffers:
        self._views = [memoryview(mmap.mmap(-1, CHUNK)) for _ in range(2)]
        self._thread = ThreadPoolExecutor(1, "flash")
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def ahead(
        self, chunks: Iterator[Range], fill: Callable[[Range, memoryview], memoryview]
    ) -> Iterator[tuple[Range, memoryview]]:
        """Each chunk with what `fill` made of it; the next is filled while the caller works on this one."""
        waiting = None
        for number, chunk in enumerate(chunks):
            following = (chunk, self._thread.submit(fill, chunk, self._views[number % 2]))
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = following
        if waiting:
            yield waiting[0], waiting[1].result()


class _Meter:
    """Tells how far the work is, how fast it goes and how long it will take."""

    def __init__(self, task: Task | None, total: int) -> None:
        self._task = task
        self._total = total
        self._done = 0
        self._began = time.monotonic()

    def add(self, length: int) -> None:
        self._done += length
        if self._task is None or not self._total:
            return
        seconds = max(time.monotonic() - self._began, 1e-3)
        rate = self._done / seconds
        minutes, left = divmod(round((self._total - self._done) / rate), 60)
        duration = f"{minutes} min {left} s" if minutes else f"{left} s"
        self._task.update(self._done / self._total, f"{format_size(rate)}/s, {duration} left")


def _total(ranges: Sequence[Range]) -> int:
    return sum(each.length for each in ranges)


def _read_image(image: int, buffer: memoryview, offset: int) -> memoryview:
    """Fill a buffer from the image; behind its end there are zeros up to the end of a block."""
    into = buffer
    while into:
        with explaining(InfraError, "cannot read the image", "look at its disk"):
            done = os.preadv(image, [into], offset)
        if not done:
            if len(into) >= BLOCK:
                raise InfraError("the image became shorter while it was written", hint="start over")
            into[:] = bytes(len(into))
            break
        into, offset = into[done:], offset + done
    return buffer
