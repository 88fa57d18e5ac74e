"""How well a matrix packs, and what it costs.

    .venv/bin/python benchmarks/matrix.py [--records DIR] [--overhead]

Plans recorded durations for many workers and compares with what no plan can beat: the longest cell, and all
work shared out evenly; for two workers, with the best plan itself. The durations are those of real runs in
DIR (default: runs); a tenth of the cells take hours, and real durations differ from expected ones by up to a
tenth. `--overhead` runs matrices of boots and says what the matrix takes for itself.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.matrix.backlog import Task, simulate
from harness.record.history import Filter, newest

HERE = Path(__file__).resolve().parent
RECIPE = HERE / "hello/recipes/hello.toml"
KERNELS = ("debian-6.1-i686", "debian-5.10-i686")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=Path, default=Path("runs"))
    parser.add_argument("--overhead", action="store_true")
    chosen = parser.parse_args()
    if chosen.overhead:
        overhead()
        return
    recorded = [run.seconds for run in newest(chosen.records, Filter(outcome="PASS"), 10_000)]
    recorded = recorded or [17.2, 19.8, 20.1, 34.9]
    print(f"{len(recorded)} recorded durations, {min(recorded):.0f} to {max(recorded):.0f} s")
    print(f"{'cells':>8}{'workers':>9}{'planned in s':>14}{'of the best':>13}{'durations off':>15}")
    for cells, workers in ((24, 2), (100, 8), (1000, 16), (1000, 100), (10_000, 100), (100_000, 1000)):
        chance = random.Random(cells)  # noqa: S311 - durations, not secrets
        # A tenth of the cells are hours long, as bootstraps are.
        seconds = [
            chance.choice(recorded)
            * (chance.uniform(100, 500) if number % 10 == 0 else chance.uniform(0.9, 1.1))
            for number in range(cells)
        ]
        tasks = [Task(number, each) for number, each in enumerate(seconds)]
        places = [1] * workers
        began = time.perf_counter()
        took = simulate(tasks, places)
        planned = time.perf_counter() - began
        actual = {number: each * chance.uniform(0.9, 1.1) for number, each in enumerate(seconds)}
        real = simulate(tasks, places, actual)
        best, best_real = bound(seconds, workers), bound(list(actual.values()), workers)
        print(f"{cells:8}{workers:9}{planned:14.2f}{best / took:13.1%}{best_real / real:15.1%}")


def bound(seconds: list[float], workers: int) -> float:
    """What no plan can beat; for two workers, what the best one takes, to a second."""
    if workers != 2:
        return max(*seconds, sum(seconds) / workers)
    sums = 1  # a bit for each sum of some of the durations
    for each in seconds:
        sums |= sums << round(each)
    half = sum(map(round, seconds)) // 2
    closest = (sums & ((1 << half + 1) - 1)).bit_length() - 1
    return sum(seconds) - closest


# Runs the program in a process that notes what it took itself, and what its children did.
OWN = """\
import atexit, os, pathlib, sys
from harness.cli import main
note = lambda: pathlib.Path(sys.argv[1]).write_text(" ".join(map(str, os.times()[:4])))
atexit.register(note)
main(sys.argv[2:])
"""


def overhead() -> None:
    """A matrix's own processor time beside that of its runs, which are the same as without one.

    Wall time and the runs' processor time change from minute to minute on a busy host; what the controller
    takes for itself hardly does, and it is all that a matrix adds.
    """
    with tempfile.TemporaryDirectory() as directory:
        for memory in (["256M"], ["256M", "320M", "384M"]):
            matrix = Path(directory, "boots.toml")
            matrix.write_text(
                f'summary = "boots"\n[axes]\nrecipes = ["{RECIPE}"]\nkernels = {json.dumps(KERNELS)}\n'
                f'accelerators = ["tcg"]\nmemory = {json.dumps(memory)}\n'
            )
            noted = Path(directory, "noted")
            words = ["matrix", "run", str(matrix), "--jobs", "1", "--runs", str(Path(directory, "runs"))]
            measure([sys.executable, "-c", OWN, str(noted), *words])
            user, system, of_runs, of_runs_system = map(float, noted.read_text().split())
            own, runs = user + system, of_runs + of_runs_system
            print(
                f"{len(KERNELS) * len(memory)} boots: {runs:.1f} s CPU of the runs, {own:.2f} s of the "
                f"matrix itself ({own / runs:.1%})",
                flush=True,
            )


def measure(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stderr.decode()}")


if __name__ == "__main__":
    main()
