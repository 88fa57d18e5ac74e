"""Root directories for chroot and bwrap, each for one run.

Each has a lock that is held as long as its run or its payload lives. What a run that was killed left behind
is known by a lock that no process holds, and the next run removes it. Mounts are never left:
they are in a namespace that ends with its processes.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError, InfraError, explaining
from harness.store import locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

_LOCK = re.compile(r"([0-9a-f]{16})\.lock")
_TRIES = 50  # looks at a directory that processes which are being killed still write to
_PAUSE = 0.1  # seconds between them


class Root(msgspec.Struct, frozen=True):
    """A root directory."""

    path: Path  # the directory
    lock: int  # the descriptor that holds its lock


@contextmanager
def prepared(image: Path, base: Path, note: Callable[[str], None]) -> Iterator[Root]:
    """Fill a directory of its own with what is in an image; it is removed in the end."""
    from harness.formats.extract import extract
    from harness.formats.opened import open_image

    with explaining(ConfigError, f"cannot make a root below {base}", "choose another cache with --cache DIR"):
        base.mkdir(parents=True, exist_ok=True)
        with locks.held(base / "gate"):  # one at a time makes roots and looks for what is left of others
            sweep(base, note)
            name = os.urandom(8).hex()
            lock = os.open(base / f"{name}.lock", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
    path = base / name
    try:
        path.mkdir(mode=0o755)
        left_out: list[str] = []
        with open_image(image) as opened:
            extract(
                opened.members(),
                path,
                note=lambda skipped: None if skipped.expected else left_out.append(skipped.path),
            )
        if left_out:
            note(
                f"{len(left_out)} files of {image.name} have no place on this disk: {', '.join(left_out[:3])}"
            )
        yield Root(path, lock)
    finally:
        remove(path)
        (base / f"{name}.lock").unlink(missing_ok=True)
        os.close(lock)


def sweep(base: Path, note: Callable[[str], None]) -> None:
    """Remove what runs left that were killed; to be called with the gate held."""
    for path in sorted(base.iterdir()):
        if (match := _LOCK.fullmatch(path.name)) is None:
            continue
        try:
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # another user's, or gone
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(base / match[1])
            path.unlink(missing_ok=True)
            note(f"removed the root {match[1]}, which a run left that was killed")
        except BlockingIOError:
            pass  # its run goes on
        except InfraError as error:
            note(error.message)
        finally:
            os.close(lock)


def remove(path: Path) -> None:
    """Remove a root with all that is in it, in spite of modes; nothing that is mounted there."""
    if mounted := [place for place in _mounts() if place == path or path in place.parents]:
        hint = f"umount {mounted[-1]}, which the harness did not mount, and run again"
        raise InfraError(f"the root {path} is not removed: something is mounted at {mounted[-1]}", hint=hint)
    failure: OSError | None = None
    for _ in range(_TRIES):
        try:
            shutil.rmtree(path, onerror=_open_up)
        except FileNotFoundError:
            return
        except OSError as error:
            failure = error
            time.sleep(_PAUSE)
        if not path.exists():
            return
    why = failure.strerror if failure else "it is still there"
    hint = "remove it yourself, as the user that made it"
    raise InfraError(f"cannot remove the root {path}: {why}", hint=hint)


def _open_up(
    _function: Callable[..., object], name: str, info: tuple[type, BaseException, TracebackType]
) -> None:
    """A directory without permissions is in the way: give it some, and leave it to the next try."""
    error = info[1]
    if isinstance(error, FileNotFoundError):
        return
    for place in (Path(name), Path(name).parent):
        with suppress(OSError):
            if stat.S_ISDIR(place.lstat().st_mode):
                place.chmod(0o700)
    if not isinstance(error, PermissionError):
        raise error


def _mounts() -> list[Path]:
    """Where filesystems are mounted (proc(5), mountinfo): the fifth field, blanks as octal escapes."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    names = (line.split(" ")[4] for line in lines)
    return [Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), name)) for name in names]
