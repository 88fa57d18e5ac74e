"""Archives as writers of them make them, sound and not: the kernel and the check before a boot are asked."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import stat
import struct
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest
import zstandard

from harness.formats.cpio import FIELDS, TRAILER

if TYPE_CHECKING:
    from collections.abc import Callable

HELLO = b"HELLO from init\n"
REG, DIR, LNK = stat.S_IFREG | 0o755, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777


def hello() -> bytes:
    """An i386 program that writes HELLO to its standard output and powers off."""
    at = 0x8048000
    code = b"".join(
        struct.pack("<" + "BI" * 4, 0xB8, number, 0xBB, b, 0xB9, c, 0xBA, d) + b"\xcd\x80"
        for number, b, c, d in (
            (4, 1, at + 52 + 32 + 44, len(HELLO)),
            (88, 0xFEE1DEAD, 672274793, 0x4321FEDC),
        )
    )
    size = 52 + 32 + len(code) + len(HELLO)
    head = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\1\1\1", 2, 3, 1, at + 84, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return head + struct.pack("<8I", 1, 0, at, at, size, size, 5, 4096) + code + HELLO


class Row(msgspec.Struct, frozen=True):
    """A record as a writer of archives gives it, whatever it means."""

    path: str
    mode: int = REG
    content: bytes = b""
    inode: int = 0
    links: int = 1


def newc(*rows: Row) -> bytes:
    """These records in this order, and nothing else."""
    data = b""
    for number, row in enumerate([*rows, Row(TRAILER, 0)], start=100):
        name = row.path.encode() + b"\0"
        fields = (
            row.inode or number,
            row.mode,
            0,
            0,
            row.links,
            0,
            len(row.content),
            0,
            0,
            0,
            0,
            len(name),
            0,
        )
        data += b"070701" + FIELDS.pack(*fields).hex().encode() + name
        data += bytes(-len(data) % 4) + row.content
        data += bytes(-len(data) % 4)
    return data


INIT = Row("init", content=hello())
BIN, SHELL = Row("bin", DIR), Row("bin/sh", content=hello())
SCRIPT = Row("init", content=b"#!/bin/sh\n")
PLAIN = newc(INIT, *(Row(f"f{number}", content=bytes([number]) * 5000) for number in range(50)))


def script(line: bytes, *more: Row) -> bytes:
    return newc(BIN, SHELL, *more, Row("init", content=line))


def program(name: str, *options: str) -> Callable[[], bytes]:
    """What a compressor makes of an archive."""

    def packed() -> bytes:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not installed")
        return subprocess.run([found, *options], input=PLAIN, capture_output=True, check=True).stdout

    return packed


def halves(pack: Callable[[bytes], bytes], at: int = len(PLAIN) // 2) -> bytes:
    return pack(PLAIN[:at]) + pack(PLAIN[at:])


def gzip_with_comment() -> bytes:
    data = gzip.compress(PLAIN)
    return data[:3] + b"\x10" + data[4:10] + b"a comment\0" + data[10:]


# Whether the kernel unpacks it and starts init without a complaint, and what it is given.
ARCHIVES: dict[str, tuple[bool, Callable[[], bytes]]] = {
    "as it should be": (True, lambda: newc(BIN, SHELL, SCRIPT)),
    "directories without records": (False, lambda: newc(SHELL, SCRIPT)),
    "a directory behind what is in it": (False, lambda: newc(SHELL, BIN, SCRIPT)),
    "a link to a directory on the way": (
        True,
        lambda: newc(Row("usr", DIR), Row("usr/bin", DIR), Row("bin", LNK, b"usr/bin"), SHELL, SCRIPT),
    ),
    "a link to a directory that comes later": (
        False,
        lambda: newc(Row("bin", LNK, b"usr/bin"), SHELL, Row("usr", DIR), Row("usr/bin", DIR), SCRIPT),
    ),
    "hard links": (
        True,
        lambda: newc(BIN, Row("bin/a", inode=7, links=2), Row("bin/sh", REG, hello(), 7, 2), SCRIPT),
    ),
    "two groups of hard links with one inode number": (
        False,
        lambda: newc(
            BIN,
            Row("bin/a", inode=7, links=2),
            Row("bin/sh", REG, hello(), 7, 2),
            Row("b", inode=7, links=2),
            Row("c", REG, b"text\n", 7, 2),
            SCRIPT,
        ),
    ),
    "a file in the place of a directory": (False, lambda: newc(Row("init", DIR), Row("init/x"), INIT)),
    "a file in the place of an empty directory": (True, lambda: newc(Row("init", DIR), INIT)),
    "an empty interpreter": (False, lambda: newc(BIN, Row("bin/sh"), SCRIPT)),
    "an interpreter that is a text": (False, lambda: newc(BIN, Row("bin/sh", content=b"a text\n"), SCRIPT)),
    "an interpreter that is a script": (
        True,
        lambda: script(b"#!/bin/a\n", Row("bin/a", content=b"#!/bin/sh\n")),
    ),
    "line ends of Windows": (False, lambda: script(b"#!/bin/sh\r\necho\r\n")),
    "a line without an end": (True, lambda: script(b"#! /bin/sh")),
    "names with ./ and /": (
        True,
        lambda: newc(Row(".", DIR), Row("./bin", DIR), Row("/bin/sh", content=hello()), SCRIPT),
    ),
    "lz4 -l": (True, program("lz4", "-l", "-9")),
    "lz4 frame": (False, program("lz4", "-9")),
    "pzstd": (False, program("pzstd", "-p", "2")),
    "two gzip members": (False, lambda: halves(gzip.compress)),
    "gzip members with an archive each": (True, lambda: gzip.compress(newc(Row("x"))) + gzip.compress(PLAIN)),
    "gzip with a comment": (False, gzip_with_comment),
    "two bzip2 streams": (False, lambda: halves(bz2.compress)),
    "xz with crc64": (False, lambda: lzma.compress(PLAIN, check=lzma.CHECK_CRC64)),
    "two zstd frames": (False, lambda: halves(zstandard.compress)),
    "xz with sha256": (False, lambda: lzma.compress(PLAIN, check=lzma.CHECK_SHA256)),
    "xz in several blocks": (True, program("xz", "--check=crc32", "--block-size=16KiB")),
    "xz with the filter for x86": (True, program("xz", "--check=crc32", "--x86", "--lzma2")),
    "xz with the delta filter": (False, program("xz", "--check=crc32", "--delta=dist=4", "--lzma2")),
    "xz with an option of a filter": (False, program("xz", "--check=crc32", "--x86=start=16", "--lzma2")),
    "zstd with a large window": (False, program("zstd", "--long=28")),
    "lzma with a dictionary of 32 MiB": (True, program("xz", "--format=lzma", "--lzma1=dict=32MiB")),
}
