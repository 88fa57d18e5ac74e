"""Atomic writing of files; removal of directories."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a file to write, which replaces `path` when the block ends without an error.

    Raises:
        OSError: It cannot be written; nothing of it is left. The error names the file.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:  # one that comes from writing names no file
        error.filename = error.filename or str(path)
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text so that a reader sees the old content or the new, never half of it."""
    with replaced(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def remove(directory: Path) -> None:
    """Remove a directory, if it is there, with all its content, directories without write permission too."""
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        return
    except PermissionError:
        directory.chmod(0o700)
        for top, directories, _ in os.walk(directory):
            for name in directories:
                place = Path(top, name)
                if not place.is_symlink():
                    place.chmod(0o700)
        shutil.rmtree(directory)
