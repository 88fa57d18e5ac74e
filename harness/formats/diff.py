"""Compares two images, file by file and byte by byte."""

from __future__ import annotations

import re
import stat
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError, explaining
from harness.formats.names import plain
from harness.formats.tree import Member, Part, by_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


# Differences with up to so many equal bytes between them are one range: a number that changed, for example.
_GAP = 8
_RANGE = re.compile(rb"[^\0]+(?:\0{1,%d}[^\0]+)*" % _GAP)
_BLOCK = 1 << 20
_SHOWN = 4  # ranges, in one line
_RANGES = 16  # so many are kept, the others only counted
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
}


class ByteRange(msgspec.Struct, frozen=True):
    """Bytes that differ: from offset `first` to offset `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


class ByteDifference(msgspec.Struct, frozen=True):
    """How two runs of bytes differ."""

    count: int  # bytes that differ; those that only the longer one has are among them
    # where, in order; few equal bytes between two differences belong to a range too
    ranges: tuple[ByteRange, ...]
    more: int = 0  # how many ranges there are behind these

    def __str__(self) -> str:
        if not self.count:
            return "no byte differs"
        places = ", ".join(map(str, self.ranges[:_SHOWN]))
        if more := len(self.ranges[_SHOWN:]) + self.more:
            places += f" and {more} more ranges"
        first = self.ranges[0]
        if self.count == 1:
            return f"byte {first} differs"
        exact = len(self.ranges) == 1 and self.count == first.last - first.first + 1
        return f"bytes {places} differ" + ("" if exact else f" ({self.count} bytes)")


class Difference(msgspec.Struct, frozen=True):
    """One thing in which two images differ."""

    path: str  # what differs
    # "removed" (only the first has it), "added", "type", "mode", "owner", "device", "target", "link",
    # "size", "content" or "mtime"
    what: str
    a: str = ""  # how it is in the first image, in words; "" for added, and for content
    b: str = ""  # how it is in the second one; "" for removed, and for content
    content: ByteDifference | None = None  # where the content differs, with "content"

    def __str__(self) -> str:
        match self.what:
            case "removed":
                return f"- {self.path} ({self.a})"
            case "added":
                return f"+ {self.path} ({self.b})"
            case "content":
                return f"  {self.path}: {self.content}"
        return f"  {self.path}: {self.what} {self.a or 'none'} → {self.b or 'none'}"


class FileDifference(msgspec.Struct, frozen=True):
    """How two image files differ, byte by byte."""

    content: ByteDifference  # the bytes
    # for each range of `content`, what lies there in the first image; "" where that is not known
    places: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Describe it for people."""
        yield f"  {self.content.count} bytes of the files themselves differ"
        for differing, place in zip(self.content.ranges, self.places, strict=True):
            yield f"    bytes {differing}" + (f": {place}" if place else "")
        if self.content.more:
            yield f"    and {self.content.more} more ranges"


def differences(a: Iterable[Member], b: Iterable[Member], *, times: bool = False) -> Iterator[Difference]:
    """Compare the trees of two images, of any formats, with their `times` if wanted; sorted by path.

    Of several members with the same name the last one counts, as in the kernel. Both images must stay open.
    """
    first, second = by_path(a), by_path(b)
    links = _links(first), _links(second)
    for path in sorted(first.keys() | second.keys()):
        shown = path or "."
        if path not in second or path not in first:
            if path in first and path:  # archives may do without the root
                yield Difference(path, "removed", a=_type(first[path]))
            elif path:
                yield Difference(path, "added", b=_type(second[path]))
            continue
        mine, other = first[path], second[path]
        if _type(mine) != _type(other):
            yield Difference(shown, "type", _type(mine), _type(other))
        else:
            link = (links[0].get(path, ""), links[1].get(path, ""))
            yield from _compare(shown, mine, other, link=link, times=times)


def byte_ranges(a: Iterable[bytes], b: Iterable[bytes]) -> ByteDifference:
    """Compare two runs of bytes, each in pieces of any size, in bounded memory."""
    left, right = _Pieces(a), _Pieces(b)
    found = _Ranges()
    offset = 0
    while size := min(left.fill(), right.fill()):
        mine, other = left.take(size), right.take(size)
        if mine != other:
            found.add(offset, mine, other)
        offset += size
    rest = left.drain() + right.drain()  # one of them has ended
    if rest:
        found.add_range(offset, offset + rest - 1, rest)
    return found.result()


def file_difference(a: Path, b: Path, parts: Sequence[Part]) -> FileDifference | None:
    """Compare two files byte by byte; None when they are equal.

    `parts` says what the bytes of the first one are; they may be nested, and the smallest one counts.
    """
    content = byte_ranges(_blocks(a), _blocks(b))
    if not content.count:
        return None
    return FileDifference(content, tuple(_place(each, parts) for each in content.ranges))


def _blocks(path: Path) -> Iterator[bytes]:
    with explaining(ConfigError, f"cannot read {path}"), path.open("rb") as file:
        yield from iter(partial(file.read, _BLOCK), b"")


def _place(differs: ByteRange, parts: Sequence[Part]) -> str:
    around = [part for part in parts if part.offset <= differs.first < part.offset + part.size]
    if not around:
        return ""
    part = min(around, key=lambda part: part.size)
    return part.name if differs.last < part.offset + part.size else f"{part.name}, and what follows"


def _compare(path: str, a: Member, b: Member, *, link: tuple[str, str], times: bool) -> Iterator[Difference]:
    values = {
        "mode": (f"{stat.S_IMODE(a.mode):04o}", f"{stat.S_IMODE(b.mode):04o}"),
        "owner": (f"{a.uid}:{a.gid}", f"{b.uid}:{b.gid}"),
        "device": ("{}:{}".format(*a.device), "{}:{}".format(*b.device)) if a.is_device else ("", ""),
        "target": (a.target, b.target),
        "link": link,
        "size": (str(a.size), str(b.size)),
        "mtime": (str(a.mtime), str(b.mtime)) if times else ("", ""),
    }
    for what, (mine, other) in values.items():
        if mine != other:
            yield Difference(path, what, mine, other)
    if a.is_file and (content := byte_ranges(a.blocks(), b.blocks())).count:
        yield Difference(path, "content", content=content)


def _type(member: Member) -> str:
    return _TYPES.get(stat.S_IFMT(member.mode), "something without a type")


def _links(members: dict[str, Member]) -> dict[str, str]:
    """The first path of each file that has several; formats differ in which one carries the content."""
    groups: dict[str, list[str]] = {}
    for path, member in members.items():
        if member.is_file:
            groups.setdefault(plain(member.link) or path if member.link else path, []).append(path)
    return {path: min(group) for group in groups.values() if len(group) > 1 for path in group}


class _Pieces:
    """Bytes that come in pieces, taken in other pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")

    def fill(self) -> int:
        """Return how many bytes are at hand; 0 at the end."""
        while not self._piece and (piece := next(self._pieces, None)) is not None:
            self._piece = memoryview(piece)
        return len(self._piece)

    def take(self, size: int) -> memoryview:
        taken, self._piece = self._piece[:size], self._piece[size:]
        return taken

    def drain(self) -> int:
        """Return how many bytes there still are."""
        return len(self._piece) + sum(map(len, self._pieces))


class _Ranges(msgspec.Struct):
    """Ranges found so far; the last one may still grow."""

    count: int = 0
    total: int = 0
    kept: list[ByteRange] = msgspec.field(default_factory=list)
    last: int = -1

    def add(self, offset: int, a: memoryview, b: memoryview) -> None:
        """Compare two pieces of equal length."""
        size = len(a)
        changed = (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(size, "big")
        for match in _RANGE.finditer(changed):
            first, end = match.span()
            count = end - first - changed.count(0, first, end)
            self.add_range(offset + first, offset + end - 1, count)

    def add_range(self, first: int, last: int, count: int) -> None:
        self.count += count
        joins = self.last >= 0 and first - self.last <= _GAP + 1
        self.last = last
        if not joins:
            self.total += 1
            if len(self.kept) < _RANGES:
                self.kept.append(ByteRange(first, last))
        elif self.total == len(self.kept):
            self.kept[-1] = ByteRange(self.kept[-1].first, last)

    def result(self) -> ByteDifference:
        return ByteDifference(self.count, tuple(self.kept), self.total - len(self.kept))
