"""Derivations: reading a closure, hashing NARs, and what a replay costs over Nix' own build.

    .venv/bin/python benchmarks/derivation.py [--count 10000] [--size 1024] [--seconds 20] [--directory DIR]

1. Writes a closure of COUNT derivations of 3 KB, each built from up to five others; reads it, and computes
   all paths anew.
2. Hashes the NAR of a file of SIZE MiB, beside SHA-256 of the same bytes in memory and in the file.
3. Builds five derivations, of about SECONDS processor seconds together, with Nix (Debian package nix-bin, in
   its sandbox, below bwrap) and again in a chroot, which needs root.

Prints a Markdown table; the figures are processor seconds and wall seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.paths import cache_root
from harness.derivation import graph
from harness.formats import nar
from testcases.support.derivations import FakeStore
from testcases.support.stores import Tools

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = 1 << 20
# A builder that computes for as long as its count says; 40 MB of SHA-256 take about a tenth of a second.
_WORK = """
{ busybox, rounds }:
let
  tools = builtins.path { path = busybox; name = "tools"; };
  step = name: before: derivation {
    inherit name before;
    system = "x86_64-linux";
    builder = "${tools}/bin/busybox";
    PATH = "${tools}/bin";
    args = [ "sh" "-euc" "busybox dd if=/dev/zero bs=40960 count=${rounds}000 | busybox sha256sum > $out" ];
    inherit rounds;
  };
in step "e" (step "d" (step "c" (step "b" (step "a" ""))))
"""


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds of this process and its children."""
    wall, cpu = time.monotonic(), sum(os.times()[:4])
    call()
    return sum(os.times()[:4]) - cpu, time.monotonic() - wall


def row(what: str, spent: tuple[float, float], note: str = "") -> None:
    """Print a row of the table."""
    print(f"| {what} | {spent[0]:.2f} | {spent[1]:.2f} | {note} |", flush=True)


def closure(place: Path, count: int) -> None:
    """Read a closure."""
    fake, rng = FakeStore(place / "store"), random.Random(1)  # noqa: S311 - the same closure each time
    made: list[str] = []
    known: dict[str, str] = {}
    for number in range(count):
        inputs = {path: ["out"] for path in rng.sample(made[-50:], min(len(made), rng.randint(1, 5)))}
        text = "".join(rng.choices("abcdefgh \n", k=2000))
        given = dict.fromkeys("abcdefghij", "x" * 50)
        made.append(fake.derive(f"step-{number}", text, inputs=inputs, known=known, **given))
    last = fake.derive("last", inputs={path: ["out"] for path in made[-2000:]}, known=known)
    drv, found = fake.on_host(last), list[graph.Graph]()
    spent = timed(lambda: found.append(graph.read(drv)))
    row(f"read {len(found[0].derivations)} derivations", spent)
    row("compute all their paths", timed(lambda: list(graph.wrong_paths(found[0]))))


def hashing(place: Path, size: int) -> None:
    """Hash a large file."""
    file, block = place / "large", os.urandom(_BLOCK)
    with file.open("wb") as out:
        for _ in range(size):
            out.write(block)

    def memory() -> None:
        digest = hashlib.sha256()
        for _ in range(size):
            digest.update(block)

    def flat() -> None:
        with file.open("rb") as opened:
            hashlib.file_digest(opened, "sha256")

    alone = timed(memory)
    row(f"SHA-256 of {size} MiB in memory", alone)
    row("SHA-256 of the file", timed(flat))
    ours = timed(lambda: nar.hashed(nar.of_path(file)))
    row("the hash of its NAR", ours, f"{100 * alone[0] / ours[0]:.0f} % of the speed in memory")


def replay(place: Path, seconds: float) -> None:
    """Build with Nix, and again without."""
    tools = Tools("nix-bin", "/nix/store", place / "nix", cache_root())
    (tools.work / "work.nix").write_text(_WORK)
    words = ("--argstr", "busybox", "/w/tools", "--argstr", "rounds", str(max(1, round(seconds * 2))))
    drv = tools.run("nix-instantiate", "-Q", "work.nix", *words).strip()
    by_nix = timed(lambda: tools.run("nix-store", "-Q", "-r", drv))
    row("five derivations by Nix", by_nix)
    command = [sys.executable, "-m", "harness", "run", "derivation", str(tools.store / Path(drv).name)]
    command += ["--machine", "chroot", "--runs", str(place / "runs")]
    subprocess.run(command, capture_output=True, check=True)  # so that the images are there
    ours = timed(lambda: subprocess.run(command, capture_output=True, check=True))
    more = 100 * (ours[0] / by_nix[0] - 1)
    row("the same by `harness run --machine chroot`, whole", ours, f"{more:+.0f} % processor time")
    tools.clean()


def main() -> None:
    """Measure all three."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--directory", type=Path)
    given = parser.parse_args()
    print("| what | CPU s | wall s | |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=given.directory) as name:
        closure(Path(name), given.count)
        hashing(Path(name), given.size)
        replay(Path(name), given.seconds)


if __name__ == "__main__":
    main()
