"""Saves and restores a guest: its memory, compressed, and its disk's overlay.

QEMU writes its migration stream into a pipe, or reads it from one; a thread has the other end. Zero pages are
not in the stream. The file is a zstd frame (RFC 8878) with a checksum of the content.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING

import zstandard

from harness.core import programs
from harness.core.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_PIECE = 1 << 20  # bytes: also what an unprivileged pipe may hold at most (pipe(7))
_LEVEL = 1  # saving keeps the guest waiting: a third larger than at 9, and many times faster
_THREADS = 2


@contextmanager
def saving(path: Path) -> Iterator[int]:
    """Give the end of a pipe that takes the stream; what was written to it is in the file afterwards.

    The writer must have closed its copy before the end of the block.
    """
    ours, theirs = _pipe()
    failures: list[OSError] = []

    def compress() -> None:
        compressor = zstandard.ZstdCompressor(level=_LEVEL, threads=_THREADS, write_checksum=True)
        try:
            with path.open("wb") as file, compressor.stream_writer(file) as writer:
                while data := os.read(ours, _PIECE):
                    writer.write(data)
        except OSError as error:
            failures.append(error)
        finally:
            os.close(ours)

    thread = Thread(target=compress, name="memory-saver", daemon=True)
    thread.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        thread.join()
        if failures:
            message = f"cannot save the machine's memory to {path}: {failures[0].strerror}"
            hint = "free some space, or choose another cache with --cache DIR"
            raise InfraError(message, hint=hint) from failures[0]


class Loading:
    """What `saving` wrote, written into a pipe by a thread until all of it is read."""

    def __init__(self, path: Path) -> None:
        self.pipe, self._ours = _pipe()  # QEMU inherits `pipe`; `close` it then
        self.failure = ""  # why the file could not be read to its end
        self._path = path
        Thread(target=self._decompress, name="memory-loader", daemon=True).start()

    def close(self) -> None:
        """Leave the pipe to QEMU."""
        os.close(self.pipe)

    def _decompress(self) -> None:
        try:
            with self._path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
                while data := reader.read(_PIECE):
                    rest = memoryview(data)
                    while rest:
                        rest = rest[os.write(self._ours, rest) :]
        except BrokenPipeError:
            pass  # QEMU gave up, and says why
        except (OSError, zstandard.ZstdError) as error:
            self.failure = str(error)
        finally:
            os.close(self._ours)


def _pipe() -> tuple[int, int]:
    """A pipe that holds as much as it may: its reading end, its writing end."""
    ends = os.pipe()
    with suppress(OSError):  # many pipes of one user may hold less
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _PIECE)
    return ends


def create_overlay(overlay: Path, disk: Path) -> None:
    """Make an overlay that shows what is on the disk; it takes some 200 KiB.

    The disk image itself is never written. The overlay is a named file rather than QEMU's anonymous
    `snapshot=on`, so that it can be saved with the memory.
    """
    _run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(disk), "-F", "raw", str(overlay)])


def copy_overlay(source: Path, target: Path) -> None:
    """Copy an overlay; where the filesystem can, both share their blocks until one of them changes."""
    _run(["cp", "--reflink=auto", "--", str(source), str(target)])


def adopt_overlay(saved: Path, overlay: Path, disk: Path) -> None:
    """Make an overlay that goes on from a saved one; the disk image may lie elsewhere today."""
    copy_overlay(saved, overlay)
    overlay.chmod(0o644)
    _run(["qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-b", str(disk), "-F", "raw", str(overlay)])


def _run(command: Sequence[str]) -> None:
    done = programs.call(command, package="qemu-utils")
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        hint = "look at the space on the disk"
        raise InfraError(f"the run's disk {command[-1]} cannot be made: {words[-1]}", hint=hint)
