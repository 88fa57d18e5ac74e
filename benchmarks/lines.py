"""What cleaning and matching console lines costs, in MB per CPU-second, beside the least that is accepted.

    .venv/bin/python benchmarks/lines.py

Ends with status 1 if anything is slower. A tenth of what was measured is accepted, as a loaded host gives a
quarter.
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

from harness.console.lines import MAX_LINE, LineCleaner
from harness.console.prefilter import Sieve
from harness.console.watcher import Marker, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

COMPILER = b"gcc -O2 -Wall -I../include -c -o build/foo.o ../src/foo.c -DHAVE_CONFIG_H"
MARKERS = [Marker("kernel", re.compile("^Linux version")), Marker("prompt", re.compile("^bash-[0-9.]+# ?$"))]


def cleaning() -> int:
    """Lines of a compiler, in blocks."""
    block, cleaner = (COMPILER + b"\r\n") * 800, LineCleaner()
    for _ in range(160):
        assert len(list(cleaner.feed(block))) == 800
    return 160 * len(block)


def single_bytes() -> int:
    """An endless line byte by byte; to copy the tail for each would take minutes."""
    cleaner = LineCleaner()
    for _ in range(300_000):
        cleaner.feed(b"x")
    return 300_000


def sieving() -> int:
    """A hundred patterns on a block of lines that none matches."""
    text = (COMPILER + b"\n") * 800
    sieve = Sieve(re.compile(rf"^package{number}: (?P<step>\w+) failed$") for number in range(100))
    for _ in range(40):
        assert sieve.candidates(text) == []
    return 40 * len(text)


def unended_line() -> int:
    """Markers looked for in the tail of an endless line, after each byte."""
    watcher = Watcher()
    for _ in range(2 * MAX_LINE):
        for line in watcher.feed(b"["):
            watcher.match(line, MARKERS)
        watcher.match_tail(MARKERS)
    return 2 * MAX_LINE


# The least that is accepted, in MB per CPU-second.
LEAST: dict[Callable[[], int], float] = {cleaning: 20, single_bytes: 0.1, sieving: 40, unended_line: 0.026}


def main() -> int:
    """Print the table; whether something is too slow."""
    print("| what | MB/CPU-s | at least |\n|---|---|---|")
    slow = False
    for measured, least in LEAST.items():
        started = time.process_time()
        rate = measured() / (time.process_time() - started) / 1e6
        slow = slow or rate < least
        print(f"| {(measured.__doc__ or '').rstrip('.')} | {rate:.3g} | {least:g} |")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
