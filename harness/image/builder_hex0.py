"""Writes disks that a BIOS boots into builder-hex0.

A disk has its two stages, the files that it loads, and its commands. The form is that of builder-hex0's
README (https://github.com/ironmeld/builder-hex0) and of what its shell reads: a boot sector, made from hex0;
the second stage as hex0 source, which the first compiles; and from the next sector on a script. In the script
`src 0 PATH` makes a directory, `src SIZE PATH` is followed by that many bytes of a file, and a zero byte is
the end. Its first release (the one file builder-hex0-x86.hex0 of live-bootstrap 2e289933) had one stage of
several sectors, behind which the script begins.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError, InfraError, explaining
from harness.core.sizes import format_size
from harness.formats.order import in_order
from harness.formats.tree import Entry, Written

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from harness.recipe import BuilderHex0, Recipe

_SECTOR = 512
_COMMENT = re.compile(rb"[#;][^\n]*")
_MOST_FILES = 14332  # that its filesystem has room for, as its README says


def describe(image: BuilderHex0, recipe: Recipe) -> dict[str, str]:
    """The hashes of its stages: they determine the disk beside its contents."""
    stages = {"stage1": image.stage1, "stage2": image.stage2}
    return {key: hashlib.sha256(_read(recipe, key, path)).hexdigest() for key, path in stages.items() if path}


def write(image: BuilderHex0, recipe: Recipe, entries: Iterable[Entry], path: Path) -> list[Written]:
    """Write the disk.

    Raises:
        ConfigError: A stage is no hex0 or no boot sector, a name or a kind of file is none that builder-hex0
            can load, there are too many files, or all together is larger than the disk.
        InfraError: The disk cannot be written.
    """
    stages = _stages(image, recipe)
    written: list[Written] = []
    explained = explaining(InfraError, f"cannot write {path}", "free some space there")
    with explained, path.open("wb") as file:
        file.write(stages)
        file.write(bytes(-file.tell() % _SECTOR))
        file.write(b"src 0 .\n")  # the root: `cd ..` from a directory below it fails otherwise
        for entry in in_order(entries).values():
            data = _content(entry)
            file.write(b"src %d ./%s\n" % (len(data), os.fsencode(entry.path)) + data)
            sha256 = hashlib.sha256(data).hexdigest() if entry.is_file else ""
            # There are no owners there.
            written.append(Written.of(entry, Entry(entry.path, entry.mode), len(data), sha256))
        file.write("".join(f"{command}\n" for command in image.commands).encode())
        if len(written) > _MOST_FILES:
            raise ConfigError(f"builder-hex0 has room for {_MOST_FILES} files, and there are {len(written)}")
        if file.tell() >= image.size_bytes:
            needed, has = format_size(file.tell()), format_size(image.size_bytes)
            message = f"the disk {image.name} has {has}, and its files take {needed}"
            raise ConfigError(message, hint="raise the key size of the image")
        file.truncate(image.size_bytes)
    return written


def _stages(image: BuilderHex0, recipe: Recipe) -> bytes:
    """What the script comes behind: the program that the BIOS starts, and the source that it compiles."""
    first = _read(recipe, "stage1", image.stage1)
    if not starts_by_bios(first):
        first = binary(first, image.stage1)
    if not starts_by_bios(first) or (len(first) != _SECTOR if image.stage2 else len(first) % _SECTOR):
        what = f"boot sector of {_SECTOR}" if image.stage2 else "whole sectors with a boot sector first,"
        message = f"{image.stage1} makes {len(first)} bytes, and no {what} that ends in 55 aa"
        raise ConfigError(message, hint="give builder-hex0's stage 1, as hex0 or as it is")
    return first + (_read(recipe, "stage2", image.stage2) if image.stage2 else b"")


def starts_by_bios(data: bytes) -> bool:
    """Whether a BIOS takes this as a program. No hex0 is one: the last byte of a boot sector is not ASCII."""
    return data[_SECTOR - 2 : _SECTOR] == b"\x55\xaa"


def binary(source: bytes, name: str) -> bytes:
    """What hex0 stands for: pairs of hexadecimal digits; what follows on # or ; is a comment."""
    try:
        return bytes.fromhex(_COMMENT.sub(b"", source).decode("ascii"))
    except ValueError as error:
        raise ConfigError(f"{name} is no hex0: {error}") from error


def _content(entry: Entry) -> bytes:
    name = os.fsencode(entry.path)
    if not name.isascii() or any(letter < ord(" ") for letter in name):
        what = f"builder-hex0 loads no file whose name has control characters or is not ASCII: {entry.path!r}"
        raise ConfigError(what, hint="leave it out with drop")
    if entry.is_directory:
        return b""
    if not entry.is_file or entry.link:
        message = f"builder-hex0 knows files and directories only, and {entry.path} is neither"
        raise ConfigError(message, hint="leave it out with drop")
    if isinstance(entry.content, bytes):
        data = entry.content
    else:
        with explaining(ConfigError, f"cannot read {entry.content}"):
            data = entry.content.read_bytes()
    return data


def _read(recipe: Recipe, key: str, path: str) -> bytes:
    hint = "it is in a checkout of https://github.com/ironmeld/builder-hex0"
    with explaining(ConfigError, f"{recipe.path}: key {key}: cannot read {path}", hint):
        return (recipe.base / path).read_bytes()
