"""The "newc" cpio archive: what the kernel unpacks as its initramfs.

The format is described by the kernel's Documentation/driver-api/early-userspace/buffer-format.rst: for
each file a header of 110 ASCII bytes (a magic and 13 fields of 8 hex digits), its name with a NUL, its
content; name and content are padded to 4 bytes. An entry named TRAILER!!! ends an archive; archives can
follow each other.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from harness.errors import ConfigError, InfraError
from harness.image.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NEWC = b"070701"
# ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
FIELDS = struct.Struct(">13I")
HEADER_SIZE = 6 + 2 * FIELDS.size
TRAILER = "TRAILER!!!"
BLOCK = 1 << 20
# The kernel skips entries whose name or link target is longer (PATH_MAX, with the NUL), without a word.
PATH_MAX = 4096


@dataclass(frozen=True, slots=True)
class Written:
    """One entry as it was written, for a manifest.

    Attributes:
        path: Path in the archive.
        mode: Full `st_mode`.
        uid: Owner.
        gid: Group.
        size: Content in bytes: of a file, or of a symbolic link's target.
        sha256: Of a regular file's content, in hex; "" for everything else.
        source: Where the entry came from, in words; "" for a directory that was added.
    """

    path: str
    mode: int
    uid: int
    gid: int
    size: int
    sha256: str
    source: str


def write(entries: Iterable[Entry], out: BinaryIO, *, mtime: int = 0) -> list[Written]:
    """Write a newc archive whose bits depend only on the entries and `mtime`, not on their order.

    Entries are sorted by the bytes of their paths, so parents come first; directories that are
    missing are added as root's, mode 0755. The archive is padded with zeros to 512 bytes.

    Args:
        entries: What goes in.
        out: Binary stream to append to; need not be seekable.
        mtime: Modification time of every entry, in seconds since 1970.

    Returns:
        What was written, in order, without the trailer.

    Raises:
        ConfigError: A path that is no plain relative path or exists twice, content that is missing,
            unreadable or 4 GiB and more, a number that does not fit.
        InfraError: A file changed its size while it was read.
        OSError: `out` takes no more.
    """
    written = []
    length = 0
    for inode, entry in enumerate(_in_order(entries), start=1):
        content, size = _open(entry)
        with content:
            header = _header(entry, inode, size, mtime)
            out.write(header)
            digest = hashlib.sha256()
            for block in _blocks(content, size, entry):
                digest.update(block)
                out.write(block)
        padding = bytes(-size % 4)
        out.write(padding)
        length += len(header) + size + len(padding)
        sha256 = digest.hexdigest() if entry.is_file else ""
        written.append(Written(entry.path, entry.mode, entry.uid, entry.gid, size, sha256, entry.source))
    trailer = _header(Entry(TRAILER, mode=0), inode=0, size=0, mtime=0)
    out.write(trailer + bytes(-(length + len(trailer)) % 512))
    return written


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Check the entries, add missing parents, sort by bytes."""
    tree: dict[bytes, Entry] = {}
    for entry in entries:
        path = _checked_path(entry)
        if path in tree:
            raise ConfigError(f"{entry.path!r} comes from both {_origin(tree[path])} and {_origin(entry)}")
        tree[path] = entry
    for path, entry in list(tree.items()):
        for end in (i for i, byte in enumerate(path) if byte == ord("/")):
            parent = tree.setdefault(path[:end], Entry(os.fsdecode(path[:end]), stat.S_IFDIR | 0o755))
            # Below a link the kernel would often find no directory yet, and drop the file without a word.
            if not parent.is_directory:
                message = f"{_name(entry)} lies below {_name(parent)}, which is no directory"
                hint = f"write it below {parent.target}" if parent.is_symlink else ""
                raise ConfigError(message, hint=hint)
    return [tree[path] for path in sorted(tree)]


def _checked_path(entry: Entry) -> bytes:
    """Return the path as bytes when the kernel would unpack this entry where it says."""
    try:
        path, target = os.fsencode(entry.path), os.fsencode(entry.target)
    except UnicodeEncodeError as error:
        raise ConfigError(f"{_name(entry)} has no form in bytes: {error}") from None
    if b"\0" in path + target or any(part in {b"", b".", b".."} for part in path.split(b"/")):
        hint = "write it like usr/bin/bash: no leading or double slash, no . or .., no NUL"
        raise ConfigError(f"{_name(entry)} is no plain relative path", hint=hint)
    if entry.path == TRAILER:
        raise ConfigError(f"{_name(entry)} has the name that ends a cpio archive")
    if max(len(path), len(target)) >= PATH_MAX:
        raise ConfigError(f"{_name(entry)} is longer than the kernel's {PATH_MAX - 1} bytes")
    if entry.is_symlink and not target:
        raise ConfigError(f"{_name(entry)} is a symbolic link without a target")
    if not stat.S_IFMT(entry.mode):
        raise ConfigError(f"{_name(entry)} has mode {entry.mode:o}, which names no file type")
    return path


def _name(entry: Entry) -> str:
    return f"{entry.path!r} (from {_origin(entry)})"


def _origin(entry: Entry) -> str:
    return entry.source or (str(entry.content) if isinstance(entry.content, Path) else "a recipe")


def _open(entry: Entry) -> tuple[BinaryIO, int]:
    """Return the content as a stream, and its size in bytes."""
    content = entry.content if entry.is_file else os.fsencode(entry.target) if entry.is_symlink else b""
    if isinstance(content, bytes):
        return io.BytesIO(content), len(content)
    try:
        if not content.is_file():  # opening a FIFO would wait for ever
            raise ConfigError(f"{content}, content of {entry.path!r}, does not exist or is no regular file")
        size = content.stat().st_size
        if size >= 1 << 32:
            raise ConfigError(f"{content} has {size} bytes; a cpio archive holds files of less than 4 GiB")
        return content.open("rb", buffering=0), size
    except OSError as error:
        raise ConfigError(f"cannot read {content}, content of {entry.path!r}: {error.strerror}") from error


def _blocks(content: BinaryIO, size: int, entry: Entry) -> Iterator[bytes]:
    """Read exactly `size` bytes; one more or less means that somebody is writing the file."""
    left = size
    try:
        while left >= 0 and (block := content.read(min(BLOCK, left + 1))):
            left -= len(block)
            yield block
    except OSError as error:
        raise ConfigError(f"cannot read {entry.content!s} ({entry.path!r}): {error.strerror}") from error
    if left:
        hint = "build again when nobody writes it"
        raise InfraError(f"{entry.content!s} ({entry.path!r}) changed its size while it was read", hint=hint)


def _header(entry: Entry, inode: int, size: int, mtime: int) -> bytes:
    """Return header and name, padded."""
    name = os.fsencode(entry.path) + b"\0"
    nlink = 2 if entry.is_directory else 1
    device = entry.device if entry.is_device else (0, 0)
    try:
        fields = FIELDS.pack(
            inode, entry.mode, entry.uid, entry.gid, nlink, mtime, size, 0, 0, *device, len(name), 0
        )
    except struct.error:
        raise ConfigError(f"{_name(entry)}: mode, owner, time and device must fit 32 bits") from None
    header = NEWC + fields.hex().upper().encode() + name
    return header + bytes(-len(header) % 4)
