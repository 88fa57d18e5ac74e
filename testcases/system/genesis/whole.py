"""The chain of genesis from the seed to tcc on musl, on this host.

Usage: python -m testcases.system.genesis.whole DIRECTORY

runs it in a new directory, prints how long each part took, and writes the sums of what it made into
images/genesis. That is needed after each change in its sources.

Usage: python -m testcases.system.genesis.whole DIRECTORY PART...

goes on in that directory with parts behind these, such as 11-busybox and 13-binutils, in bwrap. The names in
a part's `sums` say which files count; a part that is new has a line with any hash for each.
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
PACKAGES = {
    "busybox.tar.bz2": ("busybox", "1:1.35.0-4+deb12u1"),
    "byacc.tar.gz": ("byacc", "1:2.0.20221106-1"),
    "binutils.tar.gz": ("binutils-h8300-hms", "2.16.1-10"),
    "gcc.tar.gz": ("gcc-h8300-hms", "1:3.4.6+dfsg2-4.2"),
    "make.tar.xz": ("make-dfsg", "4.4.1-2"),
    "bash.tar.gz": ("bash", "5.2.15-2"),
    "coreutils.tar.xz": ("coreutils", "9.1-1"),
}
SUITES = {"make.tar.xz": "trixie"}
BWRAP = ("bwrap", "--unshare-all", "--as-pid-1", "--bind")
INSIDE = ("/", "--dev", "/dev", "--proc", "/proc", "--chdir", "/", "/run")
PARTS = ("05-cc", "07-tools", "08-tcc", "09-musl", "10-programs")
# What is made, by the file that has its sums.
SUMS = {
    "07-tools/sums": (
        *("init", "seed", "run", "asm", "mc", "c0-first", "c0", "cc-1", "cc"),
        *("sha256", "gunzip", "bunzip2", "untar", "edit", "cp", "mkdir"),
    ),
    "08-tcc/sums": ("tcc-1", "tcc-2"),
    "08-tcc/mended": ("tcc-4",),
    "09-musl/sums": tuple(
        f"musl/lib/{name}" for name in ("crt1.o", "crti.o", "crtn.o", "libc.a", "libtcc1.a")
    ),
    "09-musl/compiler": ("tcc-5", "tcc-6"),
}


def fetch(root: Path, cache: Path, sources: dict[str, tuple[str, str]]) -> None:
    """Put tarballs into a root, under the names that the steps give them.

    Raises:
        HarnessError: Debian's sources cannot be had.
    """
    debian = DebianSource(Store(cache), Quiet())
    for name, (package, version) in sources.items():
        suite = SUITES.get(name, "bookworm")
        (tarball,) = debian.tarballs(suite, debian.source(suite, package, version))
        shutil.copy(tarball, root / name)


def lay_out(root: Path, cache: Path) -> None:
    """Put sources, tarballs and the first programs into a root.

    Raises:
        HarnessError: Debian's sources cannot be had.
    """
    fetch(root, cache, SOURCES)
    chain.lay_out(root)
    done = chain.start(root)
    assert done.returncode == 0, done


def run(root: Path, part: str) -> subprocess.CompletedProcess[str]:
    """Run the steps of one part."""
    command = ["./run", f"{part}/steps"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=600)


def go_on(root: Path, parts: list[str]) -> None:
    """Run parts in bwrap, and write their sums."""
    fetch(root, cache_root(), PACKAGES)
    for part in parts:
        shutil.copytree(chain.GENESIS / part, root / part, dirs_exist_ok=True)
        sums = chain.GENESIS / part / "sums"
        made = [line.split()[1] for line in sums.read_text().splitlines()]
        (root / part / "sums").write_bytes(b"")
        before = os.times()
        command = [*BWRAP, str(root), *INSIDE, f"{part}/steps"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
        used = sum(os.times()[2:4]) - sum(before[2:4])
        sys.stdout.write(f"{part}: {used:.2f} s of processor time\n")
        if done.returncode:
            sys.exit(done.stderr[-1500:])
        sums.write_text(
            "".join(f"{hashlib.sha256((root / file).read_bytes()).hexdigest()}  {file}\n" for file in made)
        )


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
    if sys.argv[2:]:
        go_on(Path(sys.argv[1]), sys.argv[2:])
    else:
        main(Path(sys.argv[1]))
