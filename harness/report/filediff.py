"""Compares a file of two runs, by diffoscope where it is installed."""

from __future__ import annotations

import difflib
import shutil
import subprocess
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.formats.diff import file_difference
from harness.formats.parts import Part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = "diffoscope"
_TEXT = 1 << 20  # bytes: so much is compared line by line
_LINES = 200  # of our own display
_DIFFERENT = 1  # diffoscope's status; above it, it failed


class FileComparison(msgspec.Struct, frozen=True):
    """A file of two records."""

    path: str  # as the guests had it
    first: str  # where it lies in the first record
    second: str  # where in the other
    same: bool  # whether the bits are the same
    by: str  # "diffoscope", or "harness" for our own look
    lines: tuple[str, ...]  # what differs, in words
    note: str = ""  # why it is not diffoscope that looked; "" where it did, or nothing differs


def compare_file(path: str, first: Path, second: Path) -> FileComparison:
    """Compare a file that both records have."""
    one, other = _kept(first, path), _kept(second, path)
    places = (path, str(one), str(other))
    difference = file_difference(one, other, list(_sections(one)))
    if difference is None:
        return FileComparison(*places, same=True, by="harness", lines=())
    said = _diffoscope(one, other)
    if isinstance(said, list):
        return FileComparison(*places, same=False, by=PROGRAM, lines=tuple(said))
    text = _text_lines(one, other)
    sizes = f"{one.stat().st_size} and {other.stat().st_size} bytes"
    lines = (sizes, *(line.removeprefix("  ") for line in difference.lines()), *text)
    return FileComparison(*places, same=False, by="harness", lines=lines, note=said)


def _kept(directory: Path, path: str) -> Path:
    """Where a record has a file of its guest."""
    files = directory / "files"
    name = path.lstrip("/")
    kept = files / name
    if name and kept.is_file() and kept.resolve().is_relative_to(files.resolve()):
        return kept
    there = sorted(f"/{each.relative_to(files)}" for each in files.rglob("*") if each.is_file())
    raise ConfigError(
        f"the record {directory.name} has not kept the file {path}",
        hint=f"name it in the key `fetches` of a stage and run again; kept are: {', '.join(there) or 'none'}",
    )


def _diffoscope(one: Path, other: Path) -> list[str] | str:
    """What diffoscope says; or, as text, why it says nothing."""
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} is not installed, and would show what the bytes mean"
    command = [PROGRAM, "--no-progress", "--text", "-", "--text-color", "never", "--", str(one), str(other)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != _DIFFERENT:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return f"{PROGRAM} ended with status {done.returncode}: {last or 'no reason given'}"
    return done.stdout.decode("utf-8", "replace").splitlines()


def _sections(path: Path) -> Iterator[Part]:
    """The sections of an ELF file, as parts of its bytes."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    with suppress(ELFError, OSError, ValueError), path.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            if section.name and section["sh_type"] != "SHT_NOBITS":
                yield Part(section.name, section["sh_offset"], section["sh_size"])


def _text_lines(one: Path, other: Path) -> list[str]:
    """The lines in which two texts differ; none for what is no text."""
    if max(one.stat().st_size, other.stat().st_size) > _TEXT:
        return []
    try:
        first, second = (path.read_text("utf-8").splitlines() for path in (one, other))
    except UnicodeDecodeError:
        return []
    found = difflib.unified_diff(first, second, "first", "second", lineterm="", n=1)
    lines = list(islice(found, _LINES + 1))
    return [*lines[:_LINES], *(["… and more"] if len(lines) > _LINES else [])]
