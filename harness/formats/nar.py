"""Reads, writes and hashes NARs, the archives of Nix and Guix.

A NAR has what a hash should depend on: contents, the executable bit, targets of links, and names in the order
of their bytes. The manual of Nix describes it under "Nix Archive (NAR) format".
"""

from __future__ import annotations

import hashlib
import os
import stat
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.formats import store_path
from harness.formats.tree import Member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

_BLOCK = 1 << 18
_DEEPEST = 400  # directories in each other; Linux' paths are not longer by much
_NAME_MAX, _TARGET_MAX = 255, 4095  # bytes
_EXPORTED = 0x4558494E  # "NIXE", behind each NAR of an export
_PATH_MAX = 1 << 16  # bytes of a path or a signature in an export


def _strings(*words: bytes) -> bytes:
    return b"".join(len(word).to_bytes(8, "little") + word + bytes(-len(word) % 8) for word in words)


def write(members: Iterable[Member], sink: Callable[[bytes], object]) -> None:
    """Write a NAR of members whose paths are relative to its root, which is "".

    Raises:
        ValueError: A member is neither file, directory nor link, or lies in none; or there is none.
    """
    tree = {tuple(filter(None, os.fsencode(member.path).split(b"/"))): member for member in members}
    if () not in tree:
        raise ValueError("there is nothing")
    sink(_strings(b"nix-archive-1"))
    depth = 0  # of the last member, which ends before the first one that is not below it
    for place in sorted(tree):
        member = tree[place]
        if place:
            above = tree.get(place[:-1])
            if above is None or not above.is_directory:
                raise ValueError(f"what {member.path} lies in is no directory")
            sink(_strings(b")", b")") * (depth + 1 - len(place)))
            sink(_strings(b"entry", b"(", b"name", place[-1], b"node"))
        depth = len(place)
        if member.is_file:
            executable = _strings(b"executable", b"") if member.mode & stat.S_IXUSR else b""
            sink(_strings(b"(", b"type", b"regular") + executable + _strings(b"contents"))
            sink(member.size.to_bytes(8, "little"))
            for block in member.blocks():
                sink(block)
            sink(bytes(-member.size % 8))
        elif member.is_symlink:
            sink(_strings(b"(", b"type", b"symlink", b"target", os.fsencode(member.target)))
        elif member.is_directory:
            sink(_strings(b"(", b"type", b"directory"))
        else:
            raise ValueError(f"{member.path} is neither file, directory nor link")
    sink(_strings(b")", b")") * depth + _strings(b")"))


def hashed(members: Sequence[Member], algorithm: str = "r:sha256") -> str:
    """A hash in hexadecimal: of the NAR of members ("r:" in front), or of a file's content."""
    digest = hashlib.new(algorithm.removeprefix("r:"), usedforsecurity=False)
    if algorithm.startswith("r:"):
        write(members, digest.update)
    elif members[0].is_file:
        for block in members[0].blocks():
            digest.update(block)
    return digest.hexdigest()


def below(path: str, members: Iterable[Member]) -> list[Member]:
    """The same members with another path in the place of their root."""
    return [msgspec.structs.replace(each, path=f"{path}/{each.path}".rstrip("/")) for each in members]


def of_path(path: Path, name: str = "") -> list[Member]:
    """A file, directory or link of this host, as members below `name`, with the modes that stores give."""
    status = path.lstat()
    executable = stat.S_ISDIR(status.st_mode) or status.st_mode & stat.S_IXUSR
    mode = stat.S_IFMT(status.st_mode) | (0o555 if executable else 0o444)
    if stat.S_ISDIR(mode):
        below = (of_path(each, f"{name}/{each.name}".lstrip("/")) for each in sorted(path.iterdir()))
        return [Member(name, mode), *chain.from_iterable(below)]
    if stat.S_ISLNK(mode):
        return [Member(name, mode, target=str(path.readlink()))]
    return [Member(name, mode, size=status.st_size, blocks=partial(_blocks_of, path))]


def _blocks_of(place: Path) -> Iterator[bytes]:
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            yield block


def read(file: BinaryIO) -> list[Member]:
    """The members of a NAR that begins at a file's position; contents are read when they are asked for.

    Raises:
        ValueError: It is no NAR, is cut off, or has what no NAR may have, such as a name with a slash.
    """
    reader = _Reader(file)
    reader.expect(b"nix-archive-1")
    return list(reader.node("", 0))


def read_export(file: BinaryIO) -> Iterator[tuple[str, list[Member]]]:
    """The paths of what `nix-store --export` or `guix archive --export` wrote, and the content of each.

    Raises:
        ValueError: It is no export, is cut off, or has what it may not have.
    """
    reader = _Reader(file)
    while (more := reader.number()) == 1:
        members = read(file)
        if reader.number() != _EXPORTED:
            raise ValueError("it is no export of a store: what stands behind a NAR is not NIXE")
        path = os.fsdecode(reader.string(_PATH_MAX))
        store_path.name_of(path)
        for _ in range(reader.number()):
            reader.string(_PATH_MAX)  # what it refers to
        reader.string(_PATH_MAX)  # what made it
        if reader.number():
            reader.string(_PATH_MAX)  # a signature
        yield path, members
    if more:
        raise ValueError("it is no export of a store")


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        here = file.tell()
        self._size = file.seek(0, os.SEEK_END)
        file.seek(here)

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError(f"it is cut off at byte {self._size}")
        return data

    def number(self) -> int:
        return int.from_bytes(self._take(8), "little")

    def string(self, limit: int) -> bytes:
        size = self.number()
        if size > limit:
            raise ValueError(f"at byte {self._file.tell() - 8} stands a length of {size}")
        data = self._take(size)
        self._pad(size)
        return data

    def _pad(self, size: int) -> None:
        if any(self._take(-size % 8)):
            raise ValueError(f"it is damaged at byte {self._file.tell()}")

    def expect(self, *words: bytes) -> None:
        for word in words:
            if (found := self.string(_NAME_MAX)) != word:
                text, wanted = found.decode("latin-1"), word.decode()
                raise ValueError(f"before byte {self._file.tell()} stands {text!r} instead of {wanted!r}")

    def node(self, path: str, depth: int) -> Iterator[Member]:
        name = path or "its root"
        self.expect(b"(", b"type")
        kind = self.string(_NAME_MAX)
        if kind == b"regular":
            yield self._regular(path)
        elif kind == b"symlink":
            self.expect(b"target")
            target = self.string(_TARGET_MAX)
            if not target or b"\0" in target:
                raise ValueError(f"{name} is a link to what no path is")
            yield Member(path, stat.S_IFLNK | 0o777, target=os.fsdecode(target))
            self.expect(b")")
        elif kind == b"directory" and depth < _DEEPEST:
            yield Member(path, stat.S_IFDIR | 0o755)
            yield from self._entries(path, depth)
        else:
            raise ValueError(f"{name} is of an unknown type, or too deep")

    def _regular(self, path: str) -> Member:
        mode = 0o444
        if (word := self.string(_NAME_MAX)) == b"executable":
            self.expect(b"")
            mode, word = 0o555, self.string(_NAME_MAX)
        if word != b"contents":
            raise ValueError(f"{path or 'its root'} has no contents")
        size, start = self.number(), self._file.tell()
        if start + size > self._size:
            raise ValueError(f"it is cut off at byte {self._size}")
        self._file.seek(size, os.SEEK_CUR)
        self._pad(size)
        self.expect(b")")
        return Member(
            path, stat.S_IFREG | mode, size=size, blocks=partial(self._content, start, start + size)
        )

    def _content(self, start: int, end: int) -> Iterator[bytes]:
        for place in range(start, end, _BLOCK):
            self._file.seek(place)
            yield self._take(min(end - place, _BLOCK))

    def _entries(self, path: str, depth: int) -> Iterator[Member]:
        before = b""
        while (word := self.string(_NAME_MAX)) == b"entry":
            self.expect(b"(", b"name")
            name = self.string(_NAME_MAX)
            if name in {b"", b".", b".."} or b"/" in name or b"\0" in name or name <= before:
                raise ValueError(f"{path or 'its root'} has the name {name.decode('latin-1')!r}, or it twice")
            before = name
            self.expect(b"node")
            yield from self.node(f"{path}/{os.fsdecode(name)}".lstrip("/"), depth + 1)
            self.expect(b")")
        if word != b")":
            raise ValueError(f"{path or 'its root'} does not end")
