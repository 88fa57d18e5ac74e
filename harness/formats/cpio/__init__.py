"""The "newc" cpio archive: what the kernel unpacks as its initramfs.

The format is described by the kernel's Documentation/driver-api/early-userspace/buffer-format.rst: for
each file a header of 110 ASCII bytes (a magic and 13 fields of 8 hex digits), its name with a NUL, its
content; name and content are padded to 4 bytes. The names of one file (hard links) share an inode number, and
the last of them carries the content. An entry named TRAILER!!! ends an archive; others may follow.
"""

from __future__ import annotations

import binascii
import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.formats.order import in_order, name
from harness.formats.output import Output, open_content
from harness.formats.tree import Entry, Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.formats.compression import Sink

NEWC = b"070701"
# ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
FIELDS = struct.Struct(">13I")
TRAILER = "TRAILER!!!"
HEADER_SIZE = 6 + 2 * FIELDS.size
_PADDING = (b"", bytes(3), bytes(2), bytes(1))  # by the length's remainder modulo 4


class _Inode(msgspec.Struct, frozen=True):
    """A file with several names."""

    number: int  # inode number
    main: Entry  # the entry with mode, owner and content
    last: bytes  # the path of the name that carries the content
    links: int  # how many names there are


def write(entries: Iterable[Entry], out: Sink, *, mtime: int = 0) -> list[Written]:
    """Write a newc archive whose bits depend only on the entries and `mtime`, not on their order.

    Entries are sorted by the bytes of their paths, so parents come first; directories that are
    missing are added as root's, mode 0755. The archive is padded with zeros to 512 bytes.

    Args:
        entries: What goes in.
        out: Takes the archive, in pieces of at most 1 MiB; need not be seekable.
        mtime: Modification time of every entry, in seconds since 1970.

    Returns:
        What was written, in order, without the trailer; a hard link has all that belongs to its file.

    Raises:
        ConfigError: A path that is no plain relative path or exists twice, a hard link to what is no file of
            the archive, content that is missing, unreadable or 4 GiB and more, a number that does not fit.
        InfraError: A file changed its size while it was read.
        OSError: `out` takes no more.
    """
    ordered = in_order(entries)
    inodes = _shared_inodes(ordered)
    sizes: dict[str, int] = {}
    with Output(out) as output:
        for number, (path, entry) in enumerate(ordered.items(), start=1):
            if entry.path == TRAILER:
                raise ConfigError(f"{name(entry)} has the name that ends a cpio archive")
            inode = inodes.get(entry.link or entry.path)
            if inode is None:
                links = 2 if entry.is_directory else 1
                sizes[entry.path] = _put(output, path, entry, inode=number, links=links, mtime=mtime)
                continue
            main, shared = inode.main, {"inode": inode.number, "links": inode.links, "mtime": mtime}
            if path == inode.last:
                sizes[main.path] = _put(output, path, main, **shared)
            else:
                _put_header(output, path, main, size=0, **shared)
        end = Entry(TRAILER, mode=0)
        _put_header(output, os.fsencode(TRAILER), end, inode=0, links=1, size=0, mtime=0)
        output.put(bytes(-output.length % 512))
    written = []
    for entry in ordered.values():
        main = inodes[entry.link].main if entry.link else entry
        written.append(Written.of(entry, main, sizes[main.path], output.sums.get(main.path, "")))
    return written


def _shared_inodes(ordered: Mapping[bytes, Entry]) -> Mapping[str, _Inode]:
    """The files with several names, by the path of the entry that has the content."""
    names: dict[str, list[bytes]] = {entry.link: [] for entry in ordered.values() if entry.link}
    if not names:
        return {}
    for path, entry in ordered.items():
        if entry.link or entry.path in names:
            names[entry.link or entry.path].append(path)
    return {
        entry.path: _Inode(number, entry, names[entry.path][-1], len(names[entry.path]))
        for number, entry in enumerate(ordered.values(), start=1)
        if entry.path in names
    }


def _put(output: Output, path: bytes, entry: Entry, *, inode: int, links: int, mtime: int) -> int:
    """Write an entry with its content, under a path of it; return the content's size in bytes."""
    if entry.is_file and isinstance(entry.content, Path):
        fd = open_content(entry, entry.content)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{entry.content!s}, content of {name(entry)}, is no regular file")
            size = _checked_size(entry, status.st_size)
            _put_header(output, path, entry, inode=inode, links=links, size=size, mtime=mtime)
            output.copy_file(entry, fd, size)
        finally:
            os.close(fd)
        return size
    content = (
        bytes(entry.content) if entry.is_file else os.fsencode(entry.target) if entry.is_symlink else b""
    )
    size = _checked_size(entry, len(content))
    _put_header(output, path, entry, inode=inode, links=links, size=size, mtime=mtime)
    if entry.is_file:
        output.put_file(entry.path, content)
    else:
        output.put(content)
    return size


def _checked_size(entry: Entry, size: int) -> int:
    if size >= 1 << 32:
        what = entry.content if isinstance(entry.content, Path) else name(entry)
        message = f"{what} has {size} bytes; a cpio archive holds files of less than 4 GiB"
        raise ConfigError(message, hint="put it on a disk image")
    return size


def _put_header(
    output: Output, path: bytes, entry: Entry, *, inode: int, links: int, size: int, mtime: int
) -> None:
    """Write header and name, padded, at a multiple of 4 bytes."""
    # Most entries are files, and that is asked faster than whether they are devices.
    major, minor = entry.device if not entry.is_file and entry.is_device else (0, 0)
    try:
        fields = FIELDS.pack(
            inode, entry.mode, entry.uid, entry.gid, links, mtime, size, 0, 0, major, minor, len(path) + 1, 0
        )
    except struct.error:
        raise ConfigError(f"{name(entry)}: mode, owner and time must fit 32 bits") from None
    header = NEWC + binascii.hexlify(fields).upper() + path + b"\0"
    output.put(_PADDING[output.length % 4] + header + _PADDING[len(header) % 4])
