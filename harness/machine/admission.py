"""Admission: limits concurrent guests to the host's cores and memory."""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.core.sizes import format_size
from harness.store import locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_OVERHEAD = 256 << 20  # bytes that QEMU itself takes beside the guest's memory
_RESERVE = 0.8  # part of the host's memory that guests may have
_RETRY = 0.2  # seconds between attempts; a holder's end cannot be waited for across processes


def check_holds(memory: int, kernel: int, initramfs: int, work: float) -> None:
    """Find out whether an initramfs of so many bytes fits into a guest's memory.

    The kernel needs `kernel` bytes before it unpacks anything; the payload makes `work` times the archive's
    size of it in the same root.
    """
    # The archive and what is unpacked from it are in memory together, beside the kernel.
    needed = kernel + 2 * initramfs
    what = "kernel and initramfs need"
    if work:
        # The first root is a tmpfs, which takes half of the memory at most (Documentation/filesystems/tmpfs).
        needed = max(needed, kernel + int(2 * (1 + work) * initramfs))
        what = "kernel, initramfs and what is unpacked and built in it need"
    if memory < needed:
        message = f"{format_size(memory)} of memory is too little: {what} {format_size(needed)}"
        raise ConfigError(message, hint="give the guest more with --memory or the recipe's key boot.memory")


def check_fits(memory: int) -> None:
    """Make sure that the host can carry a guest with so many bytes of memory at all."""
    total = _host_memory()
    if memory + _OVERHEAD > total * _RESERVE:
        raise ConfigError(
            f"a guest with {format_size(memory)} does not fit this host's {format_size(total)} of memory",
            hint="ask for less with --memory",
        )


def places() -> int:
    """How many places for guests this host has."""
    return len(os.sched_getaffinity(0))


def places_for(memory: int) -> int:
    """How many of the host's places a guest with so many bytes of memory takes."""
    check_fits(memory)
    # Memory is shared out evenly over the cores' places; a larger guest takes several of them.
    share = _host_memory() * _RESERVE / places()
    return min(places(), max(1, math.ceil((memory + _OVERHEAD) / share)))


@contextmanager
def admitted(directory: Path, memory: int, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a place for one guest; tell once that it is waited for if all are taken.

    A place is a lock that the kernel frees when its holder dies, so no clean-up is needed. The directory of
    locks is shared by all who share the host. A guest takes one core's place and as many memory places as it
    needs.
    """
    wanted = places_for(memory)
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / f"guest-{number}.lock" for number in range(places())]
    told = False
    while True:
        # One at a time collects places, or two could starve each other.
        with locks.held(directory / "gate.lock"):
            taken = _take(files, wanted)
        if taken is not None:
            break
        if not told:
            waiting()
            told = True
        time.sleep(_RETRY)
    with taken:
        yield


def _take(files: Iterable[Path], wanted: int) -> ExitStack | None:
    """Hold this many of the locks until the stack is left, or none."""
    with ExitStack() as taken:
        for file in files:
            wanted -= taken.enter_context(locks.held_if_free(file))
            if not wanted:
                return taken.pop_all()
    return None


def _host_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
