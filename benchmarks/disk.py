"""What an ext4 image costs over `mke2fs -d`: the same tree, in turn, hashes included only in ours.

    .venv/bin/python benchmarks/disk.py [--rounds N] [--files N] [--size BYTES]

`cat` of all files into one is the limit. `disk.write` is what the factory calls, measured inside its process,
because the interpreter is running there already; its row below is the whole process, with the interpreter's
start and the making of the list of files. Prints medians, a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import stat
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from harness.formats.tree import Entry
from harness.image import disk
from harness.recipe import Disk

SEED = 20_000


class Cost(msgspec.Struct, frozen=True):
    """Wall and processor seconds, and the peak of resident memory in MiB."""

    wall: float
    cpu: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=290 << 20, help="of all files together, in bytes")
    parser.add_argument("--write", nargs=2, type=Path, metavar=("TREE", "IMAGE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write(*arguments.write)
        return
    with tempfile.TemporaryDirectory() as directory:
        compare(Path(directory), arguments)


def compare(place: Path, arguments: argparse.Namespace) -> None:
    tree, image = place / "tree", place / "image"
    grow(tree, arguments.files, arguments.size)
    megabytes = (arguments.size * 3 // 2 >> 20) + 64
    files = [str(path) for path in sorted(tree.rglob("*")) if path.is_file()]
    inodes = str(arguments.files * 5 // 4)
    contestants = {
        "cat": ["xargs", "-0", "cat"],
        "mke2fs -d": [
            "mke2fs",
            "-qF",
            "-t",
            "ext4",
            "-N",
            inodes,
            "-d",
            str(tree),
            str(image),
            f"{megabytes}M",
        ],
        "whole process": [sys.executable, __file__, "--write", str(tree), str(image)],
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ["cat", "mke2fs -d", "disk.write", "whole process"]}
    for _ in range(arguments.rounds + 1):  # the first one warms the cache, and does not count
        for name, command in contestants.items():
            image.unlink(missing_ok=True)
            cost, said = measure(command, "\0".join(files).encode() if name == "cat" else b"", image)
            costs[name].append(cost)
            if name == "whole process":
                costs["disk.write"].append(Cost(float(said.split()[0]), float(said.split()[1]), cost.memory))
    print(f"{len(files):,} files, {arguments.size >> 20} MiB, medians of {arguments.rounds}\n")
    print("| | wall s | CPU s | peak MiB | wall / mke2fs -d | CPU / mke2fs -d |\n|---|---|---|---|---|---|")
    base = costs["mke2fs -d"][1:]
    for name, taken in costs.items():
        mine = taken[1:]
        wall, cpu, memory = (
            statistics.median(getattr(c, key) for c in mine) for key in ("wall", "cpu", "memory")
        )
        walls, cpus = (
            statistics.median(getattr(c, key) / getattr(b, key) for c, b in zip(mine, base, strict=True))
            for key in ("wall", "cpu")
        )
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {memory:.0f} | {walls:.2f} | {cpus:.2f} |")


def grow(tree: Path, files: int, size: int) -> None:
    """A tree of small files whose sizes are distributed as those of real trees are: many tiny, few large."""
    chance = random.Random(SEED)  # noqa: S311
    sizes = [chance.expovariate(1) for _ in range(files)]
    scale = size / sum(sizes)
    for number, share in enumerate(sizes):
        path = tree / f"{number // 1000:03}/{number // 50 % 20:02}/file-{number:06}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(int(share * scale)))


def measure(command: list[str], given: bytes, image: Path) -> tuple[Cost, str]:
    """What a command and its children cost, and what it printed; `cat` prints into the image."""
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    with tempfile.TemporaryFile() as stdin, image.open("wb") if given else tempfile.TemporaryFile() as out:
        stdin.write(given)
        stdin.seek(0)
        began = time.monotonic()
        child = subprocess.Popen(command, stdin=stdin, stdout=out, env=environment)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"{command[0]} ended with {child.returncode}")
        said = ""
        if not given:
            out.seek(0)
            said = out.read().decode()
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), said


def write(tree: Path, image: Path) -> None:
    """Write an image by the factory's function, and print its wall and processor seconds."""
    paths = [path for path in tree.rglob("*") if path.is_file()]
    entries = [Entry(str(path.relative_to(tree)), stat.S_IFREG | 0o644, content=path) for path in paths]
    size = sum(path.stat().st_size for path in paths)
    wanted = Disk(name="benchmark", size=f"{(size * 3 // 2 >> 20) + 64}M")
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    disk.write(wanted, [entries], image, work=image.parent)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(time.monotonic() - began, cpu)


if __name__ == "__main__":
    main()
