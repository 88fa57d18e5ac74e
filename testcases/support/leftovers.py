"""What of this process is still there after something has ended: threads, processes and open files."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def children() -> set[int]:
    """Numbers of the processes that this thread has started and that nobody has waited for."""
    own = os.getpid()
    return {int(word) for word in Path(f"/proc/{own}/task/{own}/children").read_text().split()}


@contextmanager
def none_left() -> Iterator[None]:
    """Hold that whatever is here afterwards was here before.

    What goes meanwhile is none of our business: earlier tests leave files that close when they are collected.
    """
    threads, processes, files = set(threading.enumerate()), children(), _open_files()
    yield
    assert set(threading.enumerate()) <= threads
    assert children() <= processes
    assert _open_files() <= files


def _open_files() -> set[tuple[str, Path]]:
    """Descriptors with what they lead to, as a number alone may be given again meanwhile."""
    return {(path.name, path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
