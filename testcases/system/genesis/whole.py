"""The chain of genesis from the seed to tcc on musl, on this host.

Usage: python -m testcases.system.genesis.whole DIRECTORY

runs it in a new directory, prints how long each part took, and writes the sums of what it made into
images/genesis. That is needed after each change in its sources.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from harness.core.paths import cache_root
from harness.core.progress import Quiet
from harness.sources.debian import DebianSource
from harness.store import Store
from testcases.unit.genesis import chain

# Source packages, with the names that their tarballs have in the root.
SOURCES = {
    "tcc.tar.bz2": ("tcc", "0.9.27+git20200814.62c30a4a-1"),
    "musl.tar.gz": ("musl", "1.2.3-1"),
}
PARTS = ("05-cc", "07-tools", "08-tcc", "09-musl", "10-programs")
# What is made, by the file that has its sums.
SUMS = {
    "07-tools/sums": (
        *("init", "seed", "run", "asm", "mc", "c0-first", "c0", "cc-1", "cc"),
        *("sha256", "gunzip", "bunzip2", "unxz", "untar", "edit", "cp", "mkdir"),
    ),
    "08-tcc/sums": ("tcc-1", "tcc-2"),
    "08-tcc/mended": ("tcc-4",),
    "09-musl/sums": tuple(
        f"musl/lib/{name}" for name in ("crt1.o", "crti.o", "crtn.o", "libc.a", "libtcc1.a")
    ),
    "09-musl/compiler": ("tcc-5", "tcc-6"),
}


def lay_out(root: Path, cache: Path) -> None:
    """Put sources, tarballs and the first programs into a root.

    Raises:
        HarnessError: Debian's sources cannot be had.
    """
    debian = DebianSource(Store(cache), Quiet())
    for name, (package, version) in SOURCES.items():
        (tarball,) = debian.tarballs("bookworm", debian.source("bookworm", package, version))
        shutil.copy(tarball, root / name)
    chain.lay_out(root)
    done = chain.start(root)
    assert done.returncode == 0, done


def run(root: Path, part: str) -> subprocess.CompletedProcess[str]:
    """Run the steps of one part."""
    command = ["./run", f"{part}/steps"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=600)


def main(root: Path) -> None:
    """Run all, and write the sums."""
    root.mkdir()
    lay_out(root, cache_root())
    for name in SUMS:
        (root / name).write_bytes(b"")
    for part in PARTS:
        start, before = time.monotonic(), os.times()
        done = run(root, part)
        after = os.times()
        used = sum(after[2:4]) - sum(before[2:4])
        sys.stdout.write(f"{part}: {time.monotonic() - start:.2f} s, {used:.2f} s of processor time\n")
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        for name, made in SUMS.items():
            if name.startswith(part):
                lines = (
                    f"{hashlib.sha256((root / file).read_bytes()).hexdigest()}  {file}\n" for file in made
                )
                (chain.GENESIS / name).write_text("".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
