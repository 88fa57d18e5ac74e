"""The files of a git checkout that git tracks.

Their content is as it was committed, or they are named as differing. Git's index knows which files are as
they were committed, so a look at a checkout reads only those that are not. The commands and formats are those
of git-ls-files(1) and git-status(1), porcelain version 2.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.sources.committed import CheckedOut, as_committed, ask, git, refusal, submodules_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_GITLINK, _LINK = "160000", "120000"
_ABSENT = "000000"
_EXECUTABLE = "100755"
_LARGE = 1 << 20
_UNCHANGED = ("H", "h", "S")  # tags of git ls-files: cached, assumed to be unchanged, not checked out
_SKIPPED = "S"
# Of a status line, by its first letter: how many fields stand before the path, and which is the mode in the
# work tree.
_STATUS_FIELDS = {"1": (8, 5), "u": (10, 6)}


class Snapshot(msgspec.Struct, frozen=True):
    """A directory of a checkout at one moment."""

    commit: str  # the commit that is checked out; "" in a repository without one, and outside of git
    differing: tuple[str, ...]  # paths of all that differs from that commit, submodules included
    files: tuple[CheckedOut, ...]  # what is there, sorted by path

    @property
    def sha256(self) -> str:
        """SHA-256 over paths, kinds, modes and contents of all files."""
        digest = hashlib.sha256()
        for file in self.files:
            row = f"{file.mode:o} {file.size} {file.identity}\0{file.path}\0{file.target}\0"
            digest.update(os.fsencode(row))
        return digest.hexdigest()


class _Wanted(msgspec.Struct, frozen=True):
    """What is taken of a part of a checkout."""

    dirty: bool  # whether untracked files are
    partial: bool  # whether submodules may be missing
    leave: Callable[[str], bool]  # whether a submodule, by its path, is left out

    def below(self, path: str) -> _Wanted:
        """The same for a repository within."""
        return msgspec.structs.replace(self, leave=lambda inner: self.leave(f"{path}/{inner}"))


class _Status(msgspec.Struct, frozen=True):
    """What `git status` says about a part of a repository."""

    commit: str  # HEAD
    changed: dict[str, str]  # modes in the work tree, by path, of what differs from HEAD or from the index
    untracked: tuple[str, ...]  # what git neither tracks nor ignores; directories end in a slash


def look(
    directory: Path,
    *,
    dirty: bool = False,
    partial: bool = False,
    leave: Callable[[str], bool] = lambda _: False,
) -> Snapshot:
    """See what is in a directory of a checkout, its submodules included.

    Args:
        directory: The checkout, or a directory in it.
        dirty: Take what git does not track either, unless it ignores it; and take a directory that is no
            checkout as it is.
        leave: Whether a submodule, by its path, is left out, checked out or not.
        partial: Whether submodules may be missing: they are empty directories then.
    """
    prefix = _prefix(directory)
    if prefix is None:
        if not dirty:
            raise ConfigError(
                f"{directory} is no git checkout",
                hint="only what git tracks gets into images; dirty = true takes a plain directory as it is",
            )
        return Snapshot("", differing=(), files=_sorted(_plain(directory)))
    status = _status(directory, prefix, dirty=dirty)
    differing: list[str] = []
    wanted = _Wanted(dirty, partial, leave)
    files = _sorted(_tracked(directory, status, differing, wanted))
    if not files:
        raise ConfigError(f"git tracks no file in {directory}", hint="`git add` what the image is to have")
    return Snapshot(status.commit, tuple(sorted(differing)), files)


def stray_files(directory: Path) -> tuple[str, ...] | None:
    """What lies in a checkout and git does not track, ignored or not; directories end in a slash.

    Returns:
        Paths relative to the directory, sorted; None where there is no git to say it.
    """
    prefix = _prefix(directory)
    if prefix is None:
        return None
    output = git(directory, "status", "--porcelain", "-z", "--ignored", "--untracked-files=normal", "--", ".")
    kinds = ("?? ", "!! ")
    found = (record[3:].removeprefix(prefix) for record in _records(output) if record.startswith(kinds))
    return tuple(sorted(found))


def _tracked(directory: Path, status: _Status, differing: list[str], wanted: _Wanted) -> Iterator[CheckedOut]:
    differing += [*status.changed, *status.untracked]
    blobs: dict[str, str] = {}  # of files that should be as they were committed
    found: list[CheckedOut] = []
    for record in _records(git(directory, "ls-files", "-s", "-v", "-z")):
        head, path = record.split("\t", 1)
        tag, mode, blob, _ = head.split(" ")
        if mode == _GITLINK:
            if not wanted.leave(path):
                yield from _submodule(directory, path, differing, wanted.below(path))
            continue
        is_link = mode == _LINK and path not in status.changed
        mode = status.changed.get(path, mode)
        if mode == _ABSENT or (tag == _SKIPPED and not (directory / path).exists()):
            # Also where a directory on the way became a link.
            raise _missing(directory / path, sparse=tag == _SKIPPED)
        if path not in status.changed and tag in _UNCHANGED:
            blobs[path] = blob
        # Any tag but H: git was told not to look at this file, or it is in conflict.
        known = "" if tag != "H" or path in status.changed else blob
        file = _file(directory, path, executable=mode == _EXECUTABLE, blob=known)
        if is_link and stat.S_ISREG(file.mode):  # as git makes links where there are none (core.symlinks)
            target = os.fsdecode((directory / path).read_bytes())
            file = CheckedOut(path, file.place, stat.S_IFLNK | 0o777, target=target)
        found.append(file)
    yield from as_committed(directory, found, blobs, differing)
    for path in status.untracked:
        if path.endswith("/"):  # a repository within, which git does not look into
            yield from _within(directory, path.rstrip("/"), differing, wanted.below(path.rstrip("/")))
        else:
            yield _file(directory, path)


def _submodule(directory: Path, path: str, differing: list[str], wanted: _Wanted) -> Iterator[CheckedOut]:
    if not (directory / path / ".git").exists():
        if wanted.partial:
            yield CheckedOut(path, directory / path, stat.S_IFDIR | 0o755)
            return
        message = f"the submodule {directory / path} is not checked out"
        raise ConfigError(message, hint=submodules_hint(directory))
    yield from _within(directory, path, differing, wanted)


def _within(directory: Path, path: str, differing: list[str], wanted: _Wanted) -> Iterator[CheckedOut]:
    inner = directory / path
    differing_inside: list[str] = []
    status = _status(inner, "", dirty=wanted.dirty)
    for file in _tracked(inner, status, differing_inside, wanted):
        yield msgspec.structs.replace(file, path=f"{path}/{file.path}")
    differing += [f"{path}/{name}" for name in differing_inside]


def _plain(directory: Path) -> Iterator[CheckedOut]:
    """Everything in a directory that git knows nothing about."""

    def refuse(error: OSError) -> None:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from error

    for place, directories, names in os.walk(directory, onerror=refuse):
        for name in [*directories, *names]:
            yield _file(directory, os.path.relpath(os.path.join(place, name), directory))  # noqa: PTH118


def _file(directory: Path, path: str, *, executable: bool | None = None, blob: str = "") -> CheckedOut:
    """Look at a file; git says whether it is `executable` (None: ask the file), and maybe its hash."""
    place = directory / path
    try:
        status = place.lstat()
        if stat.S_ISLNK(status.st_mode):
            return CheckedOut(path, place, stat.S_IFLNK | 0o777, target=os.readlink(place))  # noqa: PTH115
        if stat.S_ISDIR(status.st_mode) and executable is None:
            return CheckedOut(path, place, stat.S_IFDIR | 0o755)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{place} is neither a file nor a symbolic link")
        if executable is None:
            executable = bool(status.st_mode & stat.S_IXUSR)
        # The size beside git's hash: filters such as line endings change the work tree, not the hash.
        identity = blob or _sha256(place, status.st_size)
        mode = stat.S_IFREG | (0o755 if executable else 0o644)
        return CheckedOut(path, place, mode, status.st_size, identity=identity)
    except FileNotFoundError as error:
        raise _missing(place) from error
    except OSError as error:
        raise ConfigError(f"cannot read {place}: {error.strerror}") from error


def _missing(place: Path, *, sparse: bool = False) -> ConfigError:
    if sparse:
        hint = "`git sparse-checkout disable` takes all files out"
        return ConfigError(f"{place} is tracked by git, and left out by a sparse checkout", hint=hint)
    message = f"{place} is tracked by git and missing from the work tree"
    return ConfigError(message, hint="`git restore` brings it back, `git rm` has git forget it")


def _sha256(place: Path, size: int) -> str:
    with place.open("rb", buffering=0) as file:
        if size < _LARGE:  # in one read: file_digest prepares more than small files have
            return hashlib.sha256(file.read()).hexdigest()
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sorted(files: Iterable[CheckedOut]) -> tuple[CheckedOut, ...]:
    once = {file.path: file for file in files}  # a file in conflict stands in the index up to three times
    return tuple(once[path] for path in sorted(once, key=os.fsencode))


def _prefix(directory: Path) -> str | None:
    """The directory's place in its repository, such as "a/b/"; None where there is no repository."""
    result = ask(directory, "rev-parse", "--show-prefix")
    if result.returncode == 0:
        return os.fsdecode(result.stdout.removesuffix(b"\n"))
    if b"not a git repository" in result.stderr:
        return None
    raise refusal(directory, result)


def _status(directory: Path, prefix: str, *, dirty: bool) -> _Status:
    output = git(
        directory,
        # Submodules count when their commit is another one; what is in them is looked at separately.
        *("status", "--porcelain=v2", "--branch", "-z", "--no-renames", "--ignore-submodules=dirty"),
        *(f"--untracked-files={'all' if dirty else 'no'}", "--", "."),
    )
    commit = ""
    changed: dict[str, str] = {}
    untracked: list[str] = []
    for record in _records(output):
        kind = record[0]
        if record.startswith("# branch.oid "):
            commit = record.removeprefix("# branch.oid ").replace("(initial)", "")
        elif kind == "?":
            untracked.append(record[2:].removeprefix(prefix))
        elif kind in _STATUS_FIELDS:
            before, mode = _STATUS_FIELDS[kind]
            fields = record.split(" ", before)
            changed[fields[before].removeprefix(prefix)] = fields[mode]
    return _Status(commit, changed, tuple(untracked))


def _records(output: bytes) -> Iterator[str]:
    return (os.fsdecode(record) for record in output.split(b"\0") if record)
