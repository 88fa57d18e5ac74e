"""Stands in for `harness run`: takes its options, and ends as the name of the kernel says, at once.

The kernel `SECONDS-ENDS` takes so long, and `go-ENDS` until there is a file `go` beside the records. Its
attempts end as the letters say: p PASS, f FAIL, k PANIC, i INFRA without an answer, x killed. What it did is
noted in `log` beside the records.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import time
from pathlib import Path

from harness.core import paths
from harness.core.outcome import Outcome
from harness.store import Store, seal
from testcases.support.records import leave_run

OUTCOMES = {"p": Outcome.PASS, "f": Outcome.FAIL, "k": Outcome.PANIC, "i": Outcome.INFRA}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe")
    for name in (
        "machine",
        "kernel",
        "accelerator",
        "memory",
        "medium",
        "firmware",
        "patience",
        "cache",
        "runs",
        "lock",
    ):
        parser.add_argument(f"--{name}")
    parser.add_argument("--label", action="append")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    labels = dict(label.split("=", 1) for label in options.label)
    runs = Path(options.runs)
    if options.lock:  # what is booted was sent into our own store
        store = Store(paths.cache_root())
        assert not seal.damage(store.place("initramfs", {"of": options.kernel}))
        note(runs, f"{store.cache.name} has {options.kernel}")
    seconds, _, ends = options.kernel.partition("-")
    attempt = int(labels["attempt"])
    end = ends[min(attempt, len(ends)) - 1]
    signal.signal(signal.SIGTERM, lambda *_: stop(runs, options.kernel))
    note(runs, f"began {options.kernel} {attempt}")
    sys.stderr.write("✓ sysa 1.0 s\n")
    sys.stderr.flush()
    while seconds == "go" and not (runs.parent / "go").exists():
        time.sleep(0.05)
    took = 0.0 if seconds == "go" else float(seconds)
    time.sleep(took)
    if end == "x":
        os.kill(os.getpid(), signal.SIGKILL)
    outcome = OUTCOMES[end]
    name = f"{time.time_ns()}-{secrets.token_hex(2)}"
    directory = leave_run(
        runs,
        name,
        recipe=options.recipe,
        kernel=options.kernel,
        outcome=outcome,
        labels=labels,
        sysa=took,
    )
    note(runs, f"ended {options.kernel} {attempt}")
    if outcome == Outcome.INFRA:
        sys.stdout.write(json.dumps({"outcome": "INFRA", "error": "QEMU is gone", "hint": ""}))
    else:
        sys.stdout.write((directory / "run.json").read_text())
    sys.exit(outcome.exit_code)


def stop(runs: Path, kernel: str) -> None:
    note(runs, f"stopped {kernel}")
    sys.exit(Outcome.INTERRUPTED.exit_code)


def note(runs: Path, text: str) -> None:
    with (runs.parent / "log").open("a") as log:
        log.write(text + "\n")


if __name__ == "__main__":
    main()
