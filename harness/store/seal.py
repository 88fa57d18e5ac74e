"""Records what an entry of the store consists of.

So damage is seen. `seal.json` lists the files that lie directly in the entry: they are few, and each use of
the entry looks at their size and time. What lies in directories, such as thousands of files of a package, is
listed in `below.sums`, a record per file: mode in octal, size, digest, path, with spaces between them and a
NUL at the end. Only `verify` reads it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.digest import EXTENTS, digest_of, sha256_of
from harness.core.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SEAL = "seal.json"
BELOW = "below.sums"
_BLOCK = 512  # bytes: the unit of st_blocks on every filesystem


class SealedFile(msgspec.Struct, frozen=True):
    """One file directly in an entry."""

    size: int  # in bytes
    mtime_ns: int  # time of its last change, in nanoseconds since 1970
    # what identifies its content (`core.digest.digest_of`); seals have it as "sha256"
    digest: str = msgspec.field(name="sha256")


class Seal(msgspec.Struct, frozen=True):
    """What an entry consists of."""

    built: float  # when, in seconds since 1970
    space: int  # bytes of disk space that the entry takes
    files: dict[str, SealedFile]  # the files directly in it, by name


def seal(entry: Path, known: Mapping[str, str]) -> None:
    """Record what the entry consists of."""
    below, space = [], 0
    for path, name in _below(entry):
        status = path.lstat()
        mode, size, digest = _facts(path, status)
        below.append(b"%o %d %s %s\0" % (mode, size, digest.encode(), os.fsencode(name)))
        space += status.st_blocks * _BLOCK // max(1, status.st_nlink * stat.S_ISREG(status.st_mode))
    if below:
        (entry / BELOW).write_bytes(b"".join(below))
    files = {}
    for path in entry.iterdir():
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            digest = known.get(path.name) or _digest(path)
            files[path.name] = SealedFile(status.st_size, status.st_mtime_ns, digest)
            space += status.st_blocks * _BLOCK
    _write(entry, Seal(time.time(), space, files))


def read(entry: Path) -> Seal | None:
    """The seal of an entry; None where there is none that can be read."""
    try:
        return msgspec.json.decode((entry / SEAL).read_bytes(), type=Seal)
    except (OSError, msgspec.DecodeError):
        return None


def is_whole(entry: Path) -> bool:
    """Whether the entry is there and the files directly in it are those that were sealed.

    Sizes and times are compared. A file with another time is read, so that a cache may be copied.
    """
    sealed = read(entry)
    if sealed is None:
        return False
    moved = {}
    for name, file in sealed.files.items():
        try:
            status = (entry / name).lstat()
        except OSError:
            return False
        if status.st_size != file.size or not stat.S_ISREG(status.st_mode):
            return False
        if status.st_mtime_ns != file.mtime_ns:
            if _digest(entry / name, file.digest) != file.digest:
                return False
            moved[name] = SealedFile(file.size, status.st_mtime_ns, file.digest)
    if moved:
        _write(entry, Seal(sealed.built, sealed.space, sealed.files | moved))
    return True


def damage(entry: Path) -> list[str]:
    """Read the whole entry and say in words what is not as it was sealed."""
    sealed = read(entry)
    if sealed is None:
        return [f"{SEAL} is missing or no seal"]
    found = [
        f"{name} {problem}"
        for name, file in sealed.files.items()
        if (problem := _problem(entry / name, None, file.size, file.digest))
    ]
    expected = set()
    listed = (entry / BELOW).read_bytes() if BELOW in sealed.files and not found else b""
    for record in listed.split(b"\0")[:-1]:
        mode, size, digest, name = record.split(b" ", 3)
        path = entry / os.fsdecode(name)
        expected.add(path)
        if problem := _problem(path, int(mode, 8), int(size), digest.decode()):
            found.append(f"{os.fsdecode(name)} {problem}")
    if not found:
        found += [f"{name} was added" for path, name in _below(entry) if path not in expected]
    return found


def _digest(path: Path, known: str = "") -> str:
    """A file's digest, of the same kind as the known one."""
    return sha256_of(path) if known and not known.startswith(EXTENTS) else digest_of(path)


def _write(entry: Path, sealed: Seal) -> None:
    write_atomically(entry / SEAL, msgspec.json.encode(sealed).decode())


def _below(entry: Path) -> Iterator[tuple[Path, str]]:
    """Everything in the directories of an entry, with its path in the entry."""
    for top, directories, files in os.walk(entry):
        place = Path(top)
        for name in sorted([*directories, *(files if place != entry else [])]):
            path = place / name
            yield path, str(path.relative_to(entry))
        directories.sort()


def _facts(path: Path, status: os.stat_result, known: str = "") -> tuple[int, int, str]:
    """Mode, size and digest of a file's content, or of a link's target."""
    if stat.S_ISREG(status.st_mode):
        return status.st_mode, status.st_size, _digest(path, known)
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(os.readlink(path))  # noqa: PTH115 - a Path would change a//b
        return status.st_mode, len(target), hashlib.sha256(target).hexdigest()
    return status.st_mode, 0, "-"


def _problem(path: Path, mode: int | None, size: int, digest: str) -> str:
    """What is wrong with a file, in words; empty when it is as it was."""
    try:
        now = _facts(path, path.lstat(), digest)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if mode is not None and now[0] != mode:
        return f"has the mode {now[0]:o}, not {mode:o}"
    if now[1] != size:
        return f"has {now[1]} bytes, not {size}"
    return "" if now[2] == digest else "has another content"
