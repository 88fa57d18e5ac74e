"""Files that appear whole or not at all, and directories that go away whatever they hold."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old content or the new, never half of it.

    Raises:
        OSError: It cannot be written; nothing of it is left.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.rename(path)
    except OSError as error:  # one that comes from writing names no file
        error.filename = error.filename or str(path)
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def remove(directory: Path) -> None:
    """Remove a directory, if it is there, with all that it holds, directories without write permission too.

    Raises:
        OSError: It cannot be removed.
    """
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
