"""Reads ISO 9660 images: Rock Ridge, else Joliet, else plain names.

Sizes come from the directory records and are compared with the size of the file: an image that is cut off is
refused and never read as a shorter one.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from functools import partial
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError, explaining
from harness.formats.iso.records import DirectoryRecord, IsoError, IsoSource, Zisofs
from harness.formats.tree import Member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    # Places in the image and lengths, in bytes.
    Extents = tuple[tuple[int, int], ...]

_BLOCK = 1 << 20
_PLAIN_FILE, _PLAIN_DIRECTORY = stat.S_IFREG | 0o444, stat.S_IFDIR | 0o555
_ZISOFS_MAGIC = b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07"
_ZISOFS_BLOCKS = range(1 << 15, (1 << 17) + 1)  # bytes; what the kernel takes


def members(path: Path) -> Iterator[Member]:
    """Yield what is in an image, parents first.

    Files that share their content are hard links to the first of them.

    Raises:
        IsoError: It is damaged or no ISO image; where it is cut off, after the last member at the latest. The
            blocks of a file that is not all there raise it too.
    """
    yield from _walk(path, {})


def places(path: Path) -> dict[str, Extents]:
    """Where the content of each file lies in an image: offsets and lengths in bytes, by the file's path."""
    found: dict[str, Extents] = {}
    for _ in _walk(path, found):
        pass
    return found


def _walk(path: Path, places: dict[str, Extents]) -> Iterator[Member]:
    with explaining(ConfigError, f"cannot read {path}"), path.open("rb") as file:
        yield from _Walk(IsoSource(path, file), places).members()


class _Walk:
    """Goes through the directories of an image."""

    def __init__(self, source: IsoSource, places: dict[str, Extents]) -> None:
        self._source = source
        self._places = places
        self._links: dict[Extents, str] = {}

    def members(self) -> Iterator[Member]:
        source = self._source
        last, end = "", 0
        waiting = [("", source.root, frozenset({source.root.offset}))]
        while waiting:
            above, directory, ways = waiting.pop()
            below = []
            for records in self._files(directory, above):
                member, inner = self._member(above, records)
                if member is None:
                    continue
                yield member
                if inner is not None:
                    if inner.offset in ways:
                        raise source.damaged(f"the directory {member.path} is inside itself")
                    below.append((f"{member.path}/", inner, ways | {inner.offset}))
                for offset, length in self._places.get(member.path, ()):
                    if length and offset + length > end:
                        last, end = member.path, offset + length
            waiting += reversed(below)
        if end > source.size:
            raise source.cut_off(last, end)

    def _files(self, directory: DirectoryRecord, name: str) -> Iterator[list[DirectoryRecord]]:
        """The files of a directory; those of 4 GiB and more have several records."""
        pieces: list[DirectoryRecord] = []
        for record in self._source.records(directory, name or "/"):
            if record.name in {b"\0", b"\1", b""} or record.is_associated:
                continue
            pieces.append(record)
            if not record.continues:
                yield pieces
                pieces = []
        if pieces:
            raise self._source.damaged(f"the directory {name or '/'} ends in the middle of a file")

    def _member(
        self, above: str, records: list[DirectoryRecord]
    ) -> tuple[Member | None, DirectoryRecord | None]:
        """A file, and its record if it is a directory; None for what is shown elsewhere."""
        source, record = self._source, records[0]
        plain = self._name(record)
        rock_ridge = source.rock_ridge(record, f"{above}{plain}")
        path = above + (os.fsdecode(rock_ridge.name) or plain)
        if rock_ridge.relocated:
            return None, None
        if rock_ridge.child is not None:
            record = source.own_record(rock_ridge.child, path)
            rock_ridge = source.rock_ridge(record, path)
        mode = rock_ridge.mode
        if mode is None:
            mode = _PLAIN_DIRECTORY if record.is_directory else _PLAIN_FILE
        elif record.is_directory != stat.S_ISDIR(mode):
            raise source.damaged(f"{path} is a directory and something else")
        if stat.S_ISLNK(mode):
            mode = stat.S_IFLNK | 0o777  # some writers leave out bits that no system looks at
        size, link = 0, ""
        extents: Extents = ()
        if stat.S_ISREG(mode):
            extents = tuple((each.offset, each.size) for each in records)
            size = rock_ridge.zisofs.size if rock_ridge.zisofs else sum(each.size for each in records)
            self._places[path] = extents
            if size:
                first = self._links.setdefault(extents, path)
                link = "" if first == path else first
        member = Member(
            path=path,
            mode=mode,
            uid=rock_ridge.owner[0],
            gid=rock_ridge.owner[1],
            mtime=record.mtime,
            size=size,
            target=rock_ridge.target if stat.S_ISLNK(mode) else "",
            link=link,
            device=rock_ridge.device,
            blocks=self._blocks(
                path, extents, rock_ridge.zisofs, any(each.is_interleaved for each in records)
            ),
        )
        return member, record if record.is_directory else None

    def _name(self, record: DirectoryRecord) -> str:
        if self._source.is_joliet:
            return record.name.decode("utf-16-be", "replace").partition(";")[0]
        # As Linux shows them: in small letters, without the version and a dot that nothing follows.
        return record.name.decode("latin-1").partition(";")[0].removesuffix(".").lower()

    def _blocks(
        self, path: str, extents: Extents, zisofs: Zisofs | None, interleaved: bool
    ) -> Callable[[], Iterator[bytes]]:
        source = self._source
        raw = partial(_pieces, source, path, extents)

        def blocks() -> Iterator[bytes]:
            if interleaved or (zisofs and (zisofs.algorithm != b"pz" or zisofs.block not in _ZISOFS_BLOCKS)):
                how = "interleaved" if interleaved else "compressed with a later version of zisofs"
                raise IsoError(
                    f"{source.path}: {path} is {how}, which is not read here", hint="mount the image"
                )
            yield from _unpacked(source, path, raw, zisofs) if zisofs else raw()

        return blocks


def _pieces(source: IsoSource, path: str, extents: Extents) -> Iterator[bytes]:
    """The content of a file as it is stored."""
    end = max((offset + length for offset, length in extents if length), default=0)
    if end > source.size:
        raise source.cut_off(path, end)
    with source.path.open("rb") as file:
        for offset, length in extents:
            file.seek(offset)
            for at in range(0, length, _BLOCK):
                block = file.read(min(_BLOCK, length - at))
                if len(block) < min(_BLOCK, length - at):
                    raise source.cut_off(path, offset + length)
                yield block


def _unpacked(
    source: IsoSource, path: str, raw: Callable[[], Iterator[bytes]], zisofs: Zisofs
) -> Iterator[bytes]:
    """The content of a file that zisofs compresses block by block; a block of no bytes is zeros."""
    packed = b"".join(raw())
    count = -(-zisofs.size // zisofs.block)
    if not packed.startswith(_ZISOFS_MAGIC) or len(packed) < zisofs.header + 4 * (count + 1):
        raise source.damaged(f"{path} does not begin as zisofs makes it")
    pointers = struct.unpack_from(f"<{count + 1}I", packed, zisofs.header)
    for number in range(count):
        start, end = pointers[number : number + 2]
        size = min(zisofs.block, zisofs.size - number * zisofs.block)
        if not start <= end <= len(packed):
            raise source.damaged(f"block {number} of {path} lies outside of it")
        try:
            unpacker = zlib.decompressobj()
            block = unpacker.decompress(packed[start:end], size) if end > start else bytes(size)
        except zlib.error as error:
            raise source.damaged(f"block {number} of {path}: {error}") from None
        if len(block) != size:
            raise source.damaged(f"block {number} of {path} has {len(block)} of {size} bytes")
        yield block
