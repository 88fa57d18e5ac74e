"""How long genesis takes from the seed to musl, and its compilers beside gcc on the same source.

    PYTHONPATH=. .venv/bin/python benchmarks/genesis.py [--rounds N] [--tcg]

Makes the chain N times in a directory for temporary files, on this kernel, and with `--tcg` runs the recipe
genesis-tcc once under QEMU without KVM. Each round also compiles tcc's source with cc, with the tcc that the
chain ends in, and with gcc (-m32 -O0, and -O2), each with our library's headers. Prints Markdown tables:
processor seconds, the median of the rounds, and the median of the ratios to `gcc -O0` in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.paths import cache_root
from testcases.system.genesis import whole
from testcases.unit.genesis import chain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PARTS = ("05-cc", "07-tools", "08-tcc", "09-musl")
LIBRARY = [f"06-libc/{name}.c" for name in ("floats", "integers", "stdio", "string", "system")]
OURS = ["-I", "08-tcc", "-I", "06-libc/include"]
GCC = [
    "gcc",
    "-m32",
    "-w",
    "-nostdinc",
    "-ffreestanding",
    *OURS,
    "-c",
    "-o",
    "compared.o",
    "tcc/tcc.c",
]
# What each compiler is given; cc makes a whole program, so it has the library to compile as well.
COMPILERS = {
    "gcc -O0": [*GCC, "-O0"],
    "gcc -O2": [*GCC, "-O2"],
    "cc, library included": ["./cc", *OURS, "-o", "compared", "tcc/tcc.c", *LIBRARY],
    "tcc": ["./tcc-6", "-nostdinc", *OURS, "-c", "-o", "compared.o", "tcc/tcc.c"],
}


def processor_seconds(root: Path, command: list[str]) -> float:
    """What a command takes that must end well."""
    before = os.times()
    subprocess.run(command, cwd=root, env={"PATH": chain.PATH}, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


def one_round(root: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each part, and of each compiler."""
    whole.fetch(root, cache_root(), whole.SOURCES)
    chain.lay_out(root)
    parts = {"seed to c0": processor_seconds(root, ["./init"])}
    parts |= {part: processor_seconds(root, ["./run", f"{part}/steps"]) for part in PARTS}
    return parts, {name: processor_seconds(root, command) for name, command in COMPILERS.items()}


def under_tcg(directory: Path) -> dict[str, float]:
    """Seconds of each stage of a run under QEMU."""
    command = [sys.executable, "-m", "harness", "run", "genesis-tcc", "--accelerator", "tcg"]
    subprocess.run([*command, "--runs", directory], check=True, stdout=subprocess.DEVNULL)
    (record,) = directory.glob("*/run.json")
    document = json.loads(record.read_text("utf-8"))
    return {stage["name"]: stage["cpu"] for stage in document["stages"]}


def table(title: str, rows: Mapping[str, Sequence[str]]) -> None:
    """Print a Markdown table."""
    sys.stdout.write(f"\n| {title} |\n|---|{'---:|' * title.count('|')}\n")
    for name, cells in rows.items():
        sys.stdout.write(f"| {name} | {' | '.join(cells)} |\n")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tcg", action="store_true")
    asked = parser.parse_args()
    rounds = []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as directory:
            rounds.append(one_round(Path(directory)))
    parts = {name: statistics.median(each[0][name] for each in rounds) for name in rounds[0][0]}
    table("part | CPU-s", {name: (f"{value:.2f}",) for name, value in parts.items()})
    rows = {
        name: (
            f"{statistics.median(each[1][name] for each in rounds):.2f}",
            f"{statistics.median(each[1][name] / each[1]['gcc -O0'] for each in rounds):.2f}",
        )
        for name in COMPILERS
    }
    table("compiler of tcc's source | CPU-s | to gcc -O0", rows)
    if asked.tcg:
        with tempfile.TemporaryDirectory() as directory:
            stages = under_tcg(Path(directory))
        table("stage under TCG | CPU-s", {name: (f"{value:.1f}",) for name, value in stages.items()})


if __name__ == "__main__":
    main()
