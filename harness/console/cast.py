"""Turns a recorded console into a film for asciinema."""

from __future__ import annotations

import heapq
import json
import sys
from codecs import getincrementaldecoder
from itertools import chain
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
    """Write an asciicast v2 file, whole or not at all, of a recorder's bytes and arrival times.

    The format is a JSON header and a JSON line [seconds, "o", text] for each output, "i" for each input
    (https://docs.asciinema.org/manual/asciicast/v2/); `typed` has seconds, rising, and what was typed then.

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
        output = ((seconds, "o", text) for seconds, text in texts(pieces(source, index)))
        keys = ((seconds, "i", text) for seconds, text in typed)
        for event in heapq.merge(output, keys, key=lambda event: event[0]):
            film.write(json.dumps(event, ensure_ascii=False) + "\n")


def texts(recorded: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, str]]:
    """Yield when text arrived, and the text; a character that was cut by two reads belongs to the second."""
    decoder = getincrementaldecoder("utf-8")("replace")
    seconds = 0.0
    for seconds, data in recorded:
        if text := decoder.decode(data):
            yield seconds, text
    if text := decoder.decode(b"", final=True):
        yield seconds, text


def pieces(source: BinaryIO, index: Path) -> Iterator[tuple[float, bytes]]:
    """Yield the rest of a recorded console in small pieces, each with the time at which it came."""
    seconds = 0.0
    for offset, arrived in chain(_arrivals(index), [(sys.maxsize, 0.0)]):
        while data := source.read(max(0, min(offset - source.tell(), _READ_LIMIT))):
            yield seconds, data
        seconds = arrived


def _arrivals(index: Path) -> Iterator[tuple[int, float]]:
    """Yield the lines of a recorder's index: raw offset, seconds; one that was cut off is left out."""
    with index.open(encoding="ascii") as lines:
        for line in lines:
            if line.endswith("\n"):
                offset, seconds = line.split()
                yield int(offset), float(seconds)
