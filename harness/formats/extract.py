"""Extracts members of an image into a directory, and nowhere else.

Every directory on the way to a file is opened by its one name below the directory that is already open, and
never through a symbolic link. So names, links that the image brings along and links that were there before
lead nowhere.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError, InfraError, explaining
from harness.core.sizes import format_size
from harness.formats.names import plain, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from harness.formats.tree import Member

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# What a single name can do wrong, while the disk and all else are fine.
_NAME_ERRORS = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOENT, errno.EEXIST}
_LAST_TIME = 1 << 40  # seconds: no image means more, and no file system takes it
_NO_OWNER = 0xFFFFFFFF
_ELSEWHERE = "choose another directory with -C DIR"


class Skipped(msgspec.Struct, frozen=True):
    """A member that was not extracted."""

    path: str  # its name in the image
    why: str  # a few words
    expected: bool = False  # whether that is as it should be: device nodes, where they were not asked for


def extract(
    members: Iterable[Member],
    into: Path,
    *,
    note: Callable[[Skipped], None],
    force: bool = False,
    devices: bool = False,
) -> int:
    """Write members below a directory.

    Of several members with the same name the last one stays, as in the kernel. Modes and times are kept;
    owners, setuid and setgid bits only for root.

    Args:
        members: What to write, in the order of the image.
        into: The directory; made if it is missing.
        note: Told of each member that is left out.
        force: Whether files that were there before are replaced.
        devices: Whether root makes device nodes.

    Returns:
        How many members were written.

    Raises:
        ConfigError: The image is damaged, or `into` cannot be written to.
        InfraError: The disk is full or fails. The file that was being written is gone again.
    """
    written = 0
    with explaining(ConfigError, f"cannot extract into {into}", _ELSEWHERE):
        into.mkdir(parents=True, exist_ok=True)
        root = os.open(into, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _Target(root, into, force=force, devices=devices) as target:
            for member in members:
                try:
                    target.add(member)
                    written += 1
                except _LeftOutError as left_out:
                    note(Skipped(member.path, left_out.why, left_out.expected))
                except OSError as error:
                    if error.errno not in _NAME_ERRORS:
                        raise _failed(into, member.path, error) from error
                    note(Skipped(member.path, error.strerror or "no such name"))
    except OSError as error:
        raise _failed(into, "its directories", error) from error
    return written


class _LeftOutError(Exception):
    """A member stays out, and the others do not suffer."""

    def __init__(self, why: str, *, expected: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.expected = expected


class _Target:
    """The directory that is being filled."""

    def __init__(self, root: int, name: Path, *, force: bool, devices: bool) -> None:
        self._name = name
        self._force = force
        self._devices = devices
        self._is_root = os.geteuid() == 0
        self._root = root
        # The directory that the last member went to; the next one mostly goes there too.
        self._parent = ("", os.dup(root))
        # Made by us: paths; by what the image calls a content, the file that has it, and the other way round;
        # directories that are to be finished.
        self._made: set[str] = set()
        self._files: dict[str, str] = {}
        self._contents: dict[str, str] = {}
        self._directories: dict[str, Member] = {}

    def __enter__(self) -> _Target:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._finish_directories()
        finally:
            os.close(self._parent[1])
            os.close(self._root)

    def add(self, member: Member) -> None:
        """Write one member."""
        path = plain(member.path)
        if path is None:
            raise _LeftOutError("its name leads out of the directory, or is none")
        if not path:
            return  # the root is the user's own directory
        above, _, name = path.rpartition("/")
        parent = self._open_parent(above)
        if member.is_directory:
            self._add_directory(parent, name, path, member)
            return
        self._make_room(parent, name, path)
        if member.is_file:
            self._add_file(parent, name, path, member)
        elif member.is_symlink:
            if not member.target or "\0" in member.target:
                raise _LeftOutError("it is a symbolic link without a sound target")
            os.symlink(member.target, name, dir_fd=parent)
            self._finish_link(parent, name, member)
        else:
            self._add_node(parent, name, member)
        self._made.add(path)

    def _open_parent(self, path: str) -> int:
        known, opened = self._parent
        if path != known:
            fresh = self._open(path)
            os.close(opened)
            self._parent = (path, fresh)
        return self._parent[1]

    def _open(self, path: str, *, make: bool = True) -> int:
        """Open a directory below the root, step by step; missing ones are made."""
        at = os.dup(self._root)
        way = ""
        for name in filter(None, path.split("/")):
            way = f"{way}/{name}".lstrip("/")
            try:
                try:
                    below = os.open(name, _DIRECTORY, dir_fd=at)
                except FileNotFoundError:
                    if not make:
                        raise
                    self._make_directory(at, name, way)
                    below = os.open(name, _DIRECTORY, dir_fd=at)
            except OSError as error:
                if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                    raise _LeftOutError(f"{printable(way)}, above it, is a link or file") from None
                raise
            finally:
                os.close(at)
            at = below
        return at

    def _make_directory(self, parent: int, name: str, path: str, mode: int = 0o777) -> None:
        os.mkdir(name, mode, dir_fd=parent)
        self._made.add(path)

    def _make_room(self, parent: int, name: str, path: str, *, directory: bool = False) -> None:
        """See to it that nothing has this name, or say why that cannot be."""
        try:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(there.st_mode):
            if directory:
                return
            raise _LeftOutError("a directory has its place")
        if not self._force and path not in self._made:
            raise _LeftOutError("it exists already; --force replaces it")
        os.unlink(name, dir_fd=parent)
        self._files.pop(self._contents.pop(path, ""), None)

    def _add_directory(self, parent: int, name: str, path: str, member: Member) -> None:
        self._make_room(parent, name, path, directory=True)
        try:
            self._make_directory(parent, name, path, 0o700)
        except FileExistsError:
            if path not in self._made:
                return  # the user's own keeps its mode and time
        self._directories[path] = member

    def _add_file(self, parent: int, name: str, path: str, member: Member) -> None:
        content = plain(member.link or member.path) or path
        if content in self._files and self._link(parent, name, self._files[content]):
            return
        disk = os.fstatvfs(parent)
        free = disk.f_bavail * disk.f_frsize
        if member.size > free:
            raise InfraError(
                f"{printable(member.path)} has {format_size(member.size)}, and the disk of {self._name} has "
                f"{format_size(free)} left",
                hint=f"free some space, or {_ELSEWHERE}",
            )
        descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for block in member.blocks():
                    file.write(block)
                file.flush()
                self._finish(file.fileno(), member)
        except BaseException:
            os.unlink(name, dir_fd=parent)
            raise
        self._files[content] = path
        self._contents[path] = content

    def _link(self, parent: int, name: str, path: str) -> bool:
        """Make a hard link to a file that we wrote, if it is still there."""
        above, _, other = path.rpartition("/")
        directory = self._open(above, make=False)
        try:
            os.link(other, name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
        except OSError:  # moved meanwhile, or a file system without hard links: the content is at hand
            return False
        finally:
            os.close(directory)
        return True

    def _add_node(self, parent: int, name: str, member: Member) -> None:
        if member.is_device:
            if not (self._is_root and self._devices):
                raise _LeftOutError("it is a device node; root makes them with --devices", expected=True)
            try:
                os.mknod(name, member.mode, os.makedev(*member.device), dir_fd=parent)
            except OverflowError:
                raise _LeftOutError(f"there are no device numbers {member.device}") from None
        elif stat.S_ISFIFO(member.mode):
            os.mkfifo(name, member.mode & 0o777, dir_fd=parent)
        else:
            raise _LeftOutError("it is a socket, or of a type that there is not")
        self._finish_link(parent, name, member)
        os.chmod(name, self._permissions(member), dir_fd=parent)  # it is new, and no link

    def _permissions(self, member: Member) -> int:
        return member.mode & (0o7777 if self._is_root else 0o1777)

    def _finish(self, descriptor: int, member: Member) -> None:
        """Give an open file or directory its owner, mode and time."""
        if self._is_root:
            os.fchown(descriptor, *_owner(member))
        os.fchmod(descriptor, self._permissions(member))
        os.utime(descriptor, _times(member))

    def _finish_link(self, parent: int, name: str, member: Member) -> None:
        """Give something that cannot be opened its owner and time."""
        if self._is_root:
            os.chown(name, *_owner(member), dir_fd=parent, follow_symlinks=False)
        os.utime(name, _times(member), dir_fd=parent, follow_symlinks=False)

    def _finish_directories(self) -> None:
        """Modes and times of directories come last: filling one changes its time, and may need its mode."""
        for path, member in sorted(self._directories.items(), reverse=True):
            with suppress(_LeftOutError, FileNotFoundError):  # moved meanwhile
                directory = self._open(path, make=False)
                try:
                    self._finish(directory, member)
                finally:
                    os.close(directory)


def _owner(member: Member) -> tuple[int, int]:
    owner = member.uid, member.gid
    # The highest number asks chown(2) to leave the owner alone: root's, of a file that may be setuid.
    if not all(0 <= number < _NO_OWNER for number in owner):
        raise _LeftOutError(f"there is no owner {member.uid}:{member.gid}")
    return owner


def _times(member: Member) -> tuple[int, int]:
    time = max(-_LAST_TIME, min(member.mtime, _LAST_TIME))
    return time, time


def _failed(into: Path, path: str, error: OSError) -> ConfigError | InfraError:
    message = f"cannot write {printable(path)} into {into}: {error.strerror}"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return ConfigError(message, hint=_ELSEWHERE)
    return InfraError(message, hint=f"free some space, or {_ELSEWHERE}")
