"""How long history takes over many runs.

    .venv/bin/python benchmarks/history.py [--runs N] [--rounds N] [--keep DIR]

Makes N records (a directory with a `run.json` each) of 60 cells, takes them into the index, and measures
each question: the library's answer, and the whole command, in seconds on the wall and of processor time.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.outcome import Outcome
from harness.machine.protocol import MachineRecord
from harness.record import index
from harness.record.history import Filter, cell_seconds, cells, estimates, newest
from harness.record.record import HostRecord, KernelRecord, RunDocument
from harness.stages.verdict import StageResult, StageStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES = ("sysa", "kexec", "sysb", "switch_root", "sysc", "shell", "gcc", "power-off")
RECIPES = ("relay", "live-bootstrap", "stage0")
KERNELS = tuple(f"debian-{version}-i686" for version in ("4.19", "5.10", "6.1", "6.12", "7.0"))
MEMORY = (512 << 20, 1 << 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="make the records here, or take those that are there")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        runs = chosen.keep or Path(directory)
        runs.mkdir(exist_ok=True)
        if not any(runs.iterdir()):
            for number in range(chosen.runs):
                leave(runs, number)
        (wall, cpu), count = measure(lambda: index.rebuild(runs))
        print(f"{'made anew from ' + str(count) + ' records':<44}{wall:8.3f} s wall {cpu:8.3f} s CPU")
        relay = Filter(recipe="relay", kernel="debian-6.*")
        questions: dict[str, Callable[[], object]] = {
            "all cells": lambda: cells(runs, Filter()),
            "cells of a recipe and some kernels": lambda: cells(runs, relay),
            "the newest 100 runs of those": lambda: newest(runs, relay, 100),
            "estimates for a run's stages": lambda: estimates(runs, "relay", KERNELS[2]),
            "durations of all cells": lambda: cell_seconds(runs),
            "`harness history`, all of the program": lambda: command(runs),
        }
        # The directory has just been written, and is looked through each time; later it is not.
        os.utime(runs)
        ask("while records come", questions, chosen.rounds)
        old = time.time() - 3600
        os.utime(runs, (old, old))
        cells(runs, Filter())
        ask("when none came", questions, chosen.rounds)


def ask(when: str, questions: dict[str, Callable[[], object]], rounds: int) -> None:
    print(when)
    for name, question in questions.items():
        walls, cpus = zip(*(measure(question)[0] for _ in range(rounds)), strict=True)
        print(f"  {name:<42}{statistics.median(walls):8.3f} s wall {statistics.median(cpus):8.3f} s CPU")


def command(runs: Path) -> None:
    arguments = [sys.executable, "-m", "harness", "history", "--runs", str(runs)]
    subprocess.run(arguments, check=True, capture_output=True)


def measure(question: Callable[[], object]) -> tuple[tuple[float, float], object]:
    """Wall and processor seconds, with those of children, and the answer."""
    before, began = os.times(), time.perf_counter()
    answer = question()
    wall, after = time.perf_counter() - began, os.times()
    return (wall, sum(after[:4]) - sum(before[:4])), answer


def leave(runs: Path, number: int) -> None:
    chance = random.Random(number)  # noqa: S311 - durations, not secrets
    recipe, kernel = chance.choice(RECIPES), chance.choice(KERNELS)
    accelerator, memory = chance.choice(("kvm", "tcg")), chance.choice(MEMORY)
    passed = chance.random() < 0.97
    outcome = (
        Outcome.PASS if passed else chance.choice([Outcome.FAIL, Outcome.PANIC, Outcome.HANG, Outcome.INFRA])
    )
    name = f"{20200101 + number // 1000}-{number % 1000:06}-{recipe}-{kernel}-{chance.randrange(65536):04x}"
    document = RunDocument(
        id=name,
        harness="0.1.0",
        recipe=recipe,
        plan=recipe,
        recipe_sha256=f"{number // 5000:064x}",
        plan_sha256="0" * 64,
        started="2026-01-01T00:00:00Z",
        ended="2026-01-01T00:01:00Z",
        pid=number,
        host=HostRecord("Linux", "processor", 2, 1 << 34),
        kernels=(KernelRecord("seed", kernel, kernel, 32, "1" * 64),),
        machine=MachineRecord("qemu", accelerator, "", memory, "console=ttyS0", "7.2"),
        verdict=Verdict(outcome, "gcc", "as it is"),
        stages=tuple(StageResult(stage, StageStatus.PASSED, wall=chance.uniform(1, 9)) for stage in STAGES),
    )
    (runs / name).mkdir()
    (runs / name / "run.json").write_bytes(msgspec.json.encode(document))


if __name__ == "__main__":
    main()
