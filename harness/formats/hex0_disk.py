"""Reads disks that boot builder-hex0: the files of their script.

The form is described where such disks are made, in harness.image.builder_hex0: behind the stages, at the
beginning of a sector, `src 0 .` and then `src SIZE PATH` before each file's bytes; other commands and a zero
byte follow.
"""

from __future__ import annotations

import os
import re
import stat
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from harness.core.errors import ConfigError
from harness.formats.tree import Member

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECTOR = 512
HEAD = 1 << 20  # the stages have less
_FIRST = b"src 0 .\n"
_LINE_MAX = 4096
_FILE = re.compile(rb"src (\d+) (?:\./)?([^\n]*)")
_BLOCK = 1 << 20


def find_script(head: bytes) -> int | None:
    """The byte at which the script of a disk begins; None for what is no such disk."""
    if head[_SECTOR - 2 : _SECTOR] != b"\x55\xaa":
        return None
    places = range(_SECTOR, min(len(head), HEAD), _SECTOR)
    return next((at for at in places if head.startswith(_FIRST, at)), None)


def members(file: BinaryIO, start: int) -> Iterator[Member]:
    """The files and directories of a disk whose script begins at a byte."""
    name = getattr(file, "name", "the disk")
    size = file.seek(0, os.SEEK_END)

    def cut_off() -> ConfigError:
        message = f"{name} is cut off: its script goes on after its end at byte {size}"
        return ConfigError(message, hint="build or fetch it again")

    at = start
    while True:
        file.seek(at)
        line, newline, _ = file.read(_LINE_MAX).partition(b"\n")
        if line.startswith(b"\0"):
            return
        if not newline:
            raise cut_off()
        at += len(line) + 1
        found = _FILE.fullmatch(line)
        if found is None:
            continue  # a command
        length, path = int(found[1]), os.fsdecode(found[2])
        if at + length > size:
            raise cut_off()
        if length or path != ".":
            is_directory = not length
            mode = stat.S_IFDIR | 0o755 if is_directory else stat.S_IFREG | 0o755
            yield Member(path, mode, size=length, blocks=partial(_blocks, file, at, length))
        at += length


def _blocks(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    for at in range(0, size, _BLOCK):
        file.seek(start + at)
        yield file.read(min(_BLOCK, size - at))
