"""What the harness costs over bare QEMU: the same boot with the same flags, in turn.

    .venv/bin/python benchmarks/overhead.py [--rounds N]

Compares `harness run` with a bare QEMU process and with a pexpect script that waits for the same line. Prints
medians of processor and wall seconds, and the ratio to bare QEMU round by round. Images come from the store.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
RECIPE = HERE / "hello/recipes/hello.toml"

PEXPECT = """\
import pexpect, shlex, sys
child = pexpect.spawn(sys.argv[1], shlex.split(sys.argv[2]), timeout=300)
child.expect("HELLO")
child.expect(pexpect.EOF)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        runs = Path(directory, "runs")
        # As installed: compiled once, whatever the surroundings say about writing bytecode.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(directory, "bytecode"))
        harness = [sys.executable, "-m", "harness", "run", str(RECIPE), "--runs", str(runs)]
        measure(harness)  # builds what is not in the store, and shows which QEMU command runs
        pasted = next(runs.glob("*/qemu.cmd")).read_text().splitlines()[-1]
        program, *flags = shlex.split(pasted)
        script = [sys.executable, "-c", PEXPECT, program, shlex.join(flags)]
        contestants = {"bare QEMU": [program, *flags], "pexpect script": script, "harness run": harness}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, command in contestants.items():
                times[name].append(measure(command))
    print(f"{'':<16}{'CPU s':>8}{'wall s':>8}{'CPU over bare QEMU':>20}{'ratio':>8}   (medians of {rounds})")
    bare = [cpu for cpu, _ in times["bare QEMU"]]
    for name, taken in times.items():
        cpu, wall = (statistics.median(values) for values in zip(*taken, strict=True))
        over = statistics.median(mine - base for (mine, _), base in zip(taken, bare, strict=True))
        ratio = statistics.median(mine / base for (mine, _), base in zip(taken, bare, strict=True))
        print(f"{name:<16}{cpu:8.2f}{wall:8.2f}{over:20.2f}{ratio:8.2f}")


def measure(command: Sequence[str]) -> tuple[float, float]:
    """Processor and wall seconds of a command and all its children."""
    before, began = os.times(), time.monotonic()
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    after, ended = os.times(), time.monotonic()
    if result.returncode != 0:
        sys.exit(f"{shlex.join(command)} ended with {result.returncode}:\n{result.stderr.decode()}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, ended - began


if __name__ == "__main__":
    main()
