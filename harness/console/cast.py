"""Turns a recorded console into a film for asciinema."""

from __future__ import annotations

import heapq
import json
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, BinaryIO

from harness.core.files import replaced

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_COLUMNS, _ROWS = 80, 25  # a PC's text screen
_READ_LIMIT = 65536


def write_cast(
    raw: Path, index: Path, cast: Path, *, title: str, typed: Iterable[tuple[float, str]] = ()
) -> None:
    """Write an asciicast v2 file, whole or not at all.

    The format is a JSON header and a JSON line [seconds, "o", text] for each output, "i" for each input
    (https://docs.asciinema.org/manual/asciicast/v2/).

    Args:
        raw: The recorder's console bytes.
        index: The recorder's arrival times; a last line that was cut off is left out.
        cast: File to write; replaced if it exists.
        title: Title of the film.
        typed: When something was typed, in seconds, rising; and what.

    Raises:
        OSError: A file cannot be read or written.
    """
    header = {"version": 2, "width": _COLUMNS, "height": _ROWS, "title": title}
    with (
        raw.open("rb") as source,
        replaced(cast) as unfinished,
        unfinished.open("w", encoding="utf-8") as film,
    ):
        film.write(json.dumps(header) + "\n")
        output = ((seconds, "o", text) for seconds, text in _events(source, index))
        keys = ((seconds, "i", text) for seconds, text in typed)
        for event in heapq.merge(output, keys, key=lambda event: event[0]):
            film.write(json.dumps(event, ensure_ascii=False) + "\n")


def _events(source: BinaryIO, index: Path) -> Iterator[tuple[float, str]]:
    """Yield when text arrived, and the text; a character that was cut by two reads belongs to the second."""
    decoder = getincrementaldecoder("utf-8")("replace")
    seconds, position = 0.0, 0
    for next_offset, next_seconds in arrivals(index):
        for data in _pieces(source, next_offset - position):
            if text := decoder.decode(data):
                yield seconds, text
        seconds, position = next_seconds, next_offset
    while data := source.read(_READ_LIMIT):
        if text := decoder.decode(data):
            yield seconds, text
    if text := decoder.decode(b"", final=True):
        yield seconds, text


def _pieces(source: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (data := source.read(min(size, _READ_LIMIT))):
        size -= len(data)
        yield data


def arrivals(index: Path) -> Iterator[tuple[int, float]]:
    """Yield the lines of a recorder's index: raw offset, seconds; one that was cut off is left out."""
    with index.open(encoding="ascii") as lines:
        for line in lines:
            if line.endswith("\n"):
                offset, seconds = line.split()
                yield int(offset), float(seconds)
