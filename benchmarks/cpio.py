"""What our cpio writer costs over `cat` of the same bytes into one file, beside other archivers.

    .venv/bin/python benchmarks/cpio.py [--rounds N] [--directory DIR] [--tree small|large]

Makes two trees below DIR (default: the directory for temporary files; it takes 7 GB there): 20,000 files with
290 MB, and 8 files with 2 GB. Each contestant writes each tree to a file in turn, from a warm cache, N times;
ours hashes every file meanwhile, the others do not. Prints a Markdown table: medians of wall and processor
seconds, the median over the rounds of the ratios to `cat`, and peak memory (of the largest process). Ours is
the time from a list of entries to the closed file, checks included; of the others, whole processes.

What was tried for the copying loop, with SHA-256, of small and of large files (one round each, wall seconds;
cat 0.28 and 1.9, on 2 cores at 2 GB/s of SHA-256 each):

    os.read of new blocks, buffered writes                        0.73   2.1
    readv into one buffer, written when full                      0.33   1.6
    the same, hashed by a second thread meanwhile                 0.22   1.4
    the same, written by another thread                           no difference
    copy_file_range, a second thread hashes by mmap               0.38   1.1, but mapped pages count as memory
    buffers of 256 KiB to 2 MiB, two or four of them              no difference

The whole of it, checks and headers included, takes 0.28 s instead of 0.36 for small files when another
process hashes (chosen): threads that work on small pieces hand Python's lock to and fro.

Large files vary by a factor of two between rounds, as `cat` does: memory for the pages of the new file has to
be found. Checks, headers and values for the manifest add 0.1 s for 20,000 files.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT = "cat (limit)"
OURS = """\
import os, stat, sys, time
from pathlib import Path
from harness.image import initramfs
from harness.formats.tree import Entry

top = Path(sys.argv[1])
files = [path for path in top.rglob("*") if path.is_file()]
entries = [Entry(str(path.relative_to(top)), stat.S_IFREG | 0o644, path) for path in files]
wall, cpu = time.monotonic(), sum(os.times()[:4])
written = initramfs.write(entries, Path(sys.argv[2]))
wall, cpu = time.monotonic() - wall, sum(os.times()[:4]) - cpu
assert sum(len(entry.sha256) == 64 for entry in written) == len(files)
print(wall, cpu)
"""
CONTESTANTS = {
    LIMIT: ["sh", "-c", 'find "$0" -type f -print0 | xargs -0 cat > "$1"'],
    "ours, with SHA-256": [sys.executable, "-c", OURS],
    "find, sort, cpio --reproducible": [
        "sh",
        "-c",
        'cd "$0" && find . -print0 | LC_ALL=C sort -z | cpio -o -0 -H newc --quiet --reproducible > "$1"',
    ],
    "find, cpio": ["sh", "-c", 'cd "$0" && find . -print0 | cpio -o -0 -H newc --quiet > "$1"'],
    "bsdtar": ["sh", "-c", 'bsdtar -C "$0" -cf "$1" --format=newc .'],
}


class Taken(msgspec.Struct, frozen=True):
    """What one run of a command took: seconds, and bytes of its largest process."""

    wall: float
    cpu: float
    memory: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--tree", choices=["small", "large"])
    options = parser.parse_args()
    missing = [tool for tool in ("cpio", "bsdtar") if shutil.which(tool) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        for name, make in {"small": make_small, "large": make_large}.items():
            if options.tree in {None, name}:
                tree = Path(directory, name)
                title = make(tree)
                report(title, compare(tree, Path(directory, "out"), options.rounds), options.rounds)
                shutil.rmtree(tree)


def make_small(tree: Path) -> str:
    """20,000 files of 0 to 200 kB, 14.5 kB on average."""
    rng = random.Random(1)  # noqa: S311 - the same files each time
    noise = rng.randbytes(1 << 20)
    total = 0
    for number in range(20_000):
        size = min(int(rng.expovariate(1 / 14_500)), 200_000)
        start = rng.randrange(len(noise) - size)
        path = tree / f"{number // 100:03}" / f"file-{number % 100:02}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise[start : start + size])
        total += size
    return f"20,000 files, {total / 1e6:.0f} MB"


def make_large(tree: Path) -> str:
    """8 files of 256 MiB."""
    rng = random.Random(2)  # noqa: S311 - the same files each time
    tree.mkdir()
    for number in range(8):
        with (tree / f"file-{number}").open("wb") as file:
            for _ in range(256):
                file.write(rng.randbytes(1 << 20))
    return f"8 files, {8 * 256 * 1.048576:.0f} MB"


def compare(tree: Path, out: Path, rounds: int) -> dict[str, list[Taken]]:
    """Run all contestants in turn, once to warm up and then so many rounds."""
    taken: dict[str, list[Taken]] = {name: [] for name in CONTESTANTS}
    for counted in range(-1, rounds):
        for name, command in CONTESTANTS.items():
            out.unlink(missing_ok=True)
            result = measure([*command, str(tree), str(out)])
            if counted >= 0:
                taken[name].append(result)
    return taken


def measure(command: Sequence[str]) -> Taken:
    """Run a command, whose own word for wall and processor seconds counts if it prints them."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert child.stdout
    with child.stdout:
        said = child.stdout.read().split()
    _, status, usage = os.wait4(child.pid, 0)
    wall, cpu = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{command} ended with {child.returncode}")
    if said:
        wall, cpu = map(float, said)
    return Taken(wall, cpu, usage.ru_maxrss << 10)


def report(title: str, taken: dict[str, list[Taken]], rounds: int) -> None:
    print(f"\n**{title}**, medians of {rounds}\n")
    print("| | wall s | CPU s | wall to cat | CPU to cat | peak MB |")
    print("|---|---|---|---|---|---|")
    for name, runs in taken.items():
        pairs = list(zip(runs, taken[LIMIT], strict=True))
        wall = statistics.median(run.wall for run in runs)
        cpu = statistics.median(run.cpu for run in runs)
        wall_ratio = statistics.median(run.wall / base.wall for run, base in pairs)
        cpu_ratio = statistics.median(run.cpu / base.cpu for run, base in pairs)
        memory = max(run.memory for run in runs) / 1e6
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {wall_ratio:.2f} | {cpu_ratio:.2f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
