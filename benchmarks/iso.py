"""What an ISO image costs: many small files into ISO 9660 with Rock Ridge, beside xorriso and `cat`.

    .venv/bin/python benchmarks/iso.py [--rounds N] [--files N] [--tree DIR]

Writes a tree of 20,000 files (290 MB) with our writer, SHA-256 of every file included, and with xorriso, and
its bytes into one file with `cat`. Prints medians, and ratios to `cat` and to xorriso, as a Markdown table.
Needs xorriso (Debian: apt-get install xorriso).
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

MEAN_SIZE = 14_500  # bytes of a file
A_DIRECTORY = 100  # files

OURS = """\
import os, stat, sys
from pathlib import Path
from harness.formats.iso.filesystem import Filesystem, still_clock
from harness.formats.tree import Entry
root, out = sys.argv[1:]
entries = []
for directory, directories, files in os.walk(root):
    above = Path(directory)
    prefix = directory[len(root) + 1 :] + "/" if directory != root else ""
    entries += [Entry(prefix + name, stat.S_IFDIR | 0o755) for name in directories]
    entries += [Entry(prefix + name, stat.S_IFREG | 0o644, content=above / name) for name in files]
with still_clock(0):
    filesystem = Filesystem("BENCHMARK")
    filesystem.add(entries)
    filesystem.write(Path(out))
    assert all(each.sha256 for each in filesystem.written() if stat.S_ISREG(each.mode))
"""
CAT = 'find "$1" -type f -print0 | sort -z | xargs -0 cat >"$2"'


class Cost(NamedTuple):
    """Of one run: seconds and bytes."""

    wall: float
    cpu: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--tree", type=Path, help="an existing tree, instead of a made one")
    options = parser.parse_args()
    if shutil.which("xorriso") is None:
        sys.exit("xorriso is not installed; it is what we compare with (Debian: apt-get install xorriso)")
    with tempfile.TemporaryDirectory() as directory:
        tree = options.tree or make_tree(Path(directory, "tree"), options.files)
        out = str(Path(directory, "out"))
        contestants = {
            "cat": ["sh", "-c", CAT, "cat", str(tree), out],
            "xorriso": ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", out, str(tree)],
            "harness": [sys.executable, "-c", OURS, str(tree), out],
        }
        costs: dict[str, list[Cost]] = {name: [] for name in contestants}
        for measured in (False, *[True] * options.rounds):  # the first round fills the cache
            for name, command in contestants.items():
                Path(out).unlink(missing_ok=True)
                cost = measure(command)
                if measured:
                    costs[name].append(cost)
    print(f"Medians of {options.rounds} rounds; ratios round by round, wall and CPU.\n")
    print("| | wall s | CPU s | MB of memory | to cat | to xorriso |")
    print("|---|---|---|---|---|---|")
    for name, taken in costs.items():
        wall, cpu, memory = (statistics.median(values) for values in zip(*taken, strict=True))
        ratios = " | ".join(ratio(taken, costs[base]) for base in ("cat", "xorriso"))
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {memory / 1e6:.0f} | {ratios} |")
    print(f"\nLoad of the host at the end: {os.getloadavg()[0]:.1f}")


def ratio(taken: Sequence[Cost], base: Sequence[Cost]) -> str:
    """How many times the wall and processor time of another one."""
    pairs = list(zip(taken, base, strict=True))
    wall = statistics.median(mine.wall / other.wall for mine, other in pairs)
    cpu = statistics.median(mine.cpu / other.cpu for mine, other in pairs)
    return f"{wall:.2f}, {cpu:.2f}"


def make_tree(root: Path, files: int) -> Path:
    """Files of random content and exponentially distributed sizes, the same every time."""
    source = random.Random(1)  # noqa: S311
    block = source.randbytes(1 << 20)
    for number in range(files):
        directory = root / f"directory-{number // A_DIRECTORY:03d}"
        directory.mkdir(parents=True, exist_ok=True)
        start = source.randrange(len(block) // 2)
        size = min(int(source.expovariate(1 / MEAN_SIZE)), len(block) // 2)
        (directory / f"file-number-{number:05d}.data").write_bytes(block[start : start + size])
    return root


def measure(command: Sequence[str]) -> Cost:
    """What a command and its children took; memory is that of the largest process."""
    script = "import resource, subprocess, sys\n"
    script += "status = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL).returncode\n"
    script += "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    script += "print(used.ru_utime + used.ru_stime, used.ru_maxrss)\nsys.exit(status)\n"
    began = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, check=False
    )
    wall = time.monotonic() - began
    if result.returncode != 0:
        sys.exit(f"{shlex.join(command)} ended with {result.returncode}:\n{result.stderr}")
    cpu, kilobytes = result.stdout.split()[-2:]
    return Cost(wall, float(cpu), int(kilobytes) * 1024)


if __name__ == "__main__":
    main()
