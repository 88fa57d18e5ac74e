"""What the harness costs over bare QEMU: the same boot with the same flags, in turn.

    .venv/bin/python benchmarks/overhead.py [--rounds N] [--busy]

Compares `harness run` with a bare QEMU process and with a pexpect script that waits for the same line. Prints
medians: processor seconds of QEMU and of all that is not QEMU, what share of QEMU's that is, wall seconds,
and how many of them went by before QEMU began. Images come from the store. With `--busy` the guest works for
three minutes and prints like a build, which shows what a long run costs.

QEMU's processor seconds differ more from boot to boot than a harness may cost, so it is measured apart: a
shell in its place notes when it begins and what it took.
"""

from __future__ import annotations

import argparse
import os
import re
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

HERE = Path(__file__).resolve().parent
RECIPES = HERE / "hello/recipes"

PEXPECT = """\
import pexpect, shlex, sys
child = pexpect.spawn(sys.argv[1], shlex.split(sys.argv[2]), timeout=600)
child.expect("HELLO")
child.expect(pexpect.EOF)
"""

# In the place of QEMU. Of the calls that are no boot, such as for its version, nothing is noted.
STAND_IN = """\
#!/bin/sh
case " $* " in *" -kernel "*) ;; *) exec {qemu} "$@" ;; esac
date +%s.%N > {notes}
{qemu} "$@"
status=$?
times >> {notes}
exit $status
"""
_SPENT = re.compile(r"([0-9]+)m([0-9.]+)s ([0-9]+)m([0-9.]+)s$")


class Measured(NamedTuple):
    """What a boot took, in seconds.

    Attributes:
        qemu: Processor time of QEMU.
        own: Processor time of everything else.
        wall: From the start of the command to its end.
        before: From the start of the command to that of QEMU.
    """

    qemu: float
    own: float
    wall: float
    before: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", action="store_true", help="a guest that works for three minutes")
    options = parser.parse_args()
    rounds = options.rounds
    recipe = RECIPES / ("busy.toml" if options.busy else "hello.toml")
    with tempfile.TemporaryDirectory() as directory:
        runs, notes = Path(directory, "runs"), Path(directory, "notes")
        # As installed: compiled once, whatever the surroundings say about writing bytecode.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(directory, "bytecode"))
        harness = [sys.executable, "-m", "harness", "run", "--runs", str(runs)]
        run([*harness, str(recipe)])  # builds what is not in the store, and shows which QEMU command runs
        pasted = next(runs.glob("*/qemu.cmd")).read_text().splitlines()[-1]
        program, *flags = shlex.split(pasted)
        stand_in(Path(directory, "bin"), Path(program), notes)
        program = Path(program).name
        run([*harness, str(RECIPES / "hello.toml")])  # asks this QEMU what it can
        script = [sys.executable, "-c", PEXPECT, program, shlex.join(flags)]
        contestants = {
            "bare QEMU": [program, *flags],
            "pexpect script": script,
            "harness run": [*harness, str(recipe)],
        }
        taken: dict[str, list[Measured]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, command in contestants.items():
                taken[name].append(measure(command, notes))
    print(f"Medians of {rounds}, in seconds.\n")
    print("| | QEMU's CPU | own CPU | own, of QEMU's | wall | before QEMU began |\n|---|---|---|---|---|---|")
    for name, times in taken.items():
        qemu, own, wall, before = (statistics.median(values) for values in zip(*times, strict=True))
        share = statistics.median(one.own / one.qemu for one in times)
        print(f"| {name} | {qemu:.2f} | {own:.2f} | {share:.2%} | {wall:.2f} | {before:.2f} |")


def stand_in(directory: Path, program: Path, notes: Path) -> None:
    """Make the program's name mean a shell that starts it and takes notes."""
    directory.mkdir()
    path = directory / program.name
    qemu = shutil.which(str(program)) or sys.exit(f"there is no {program}")
    path.write_text(STAND_IN.format(qemu=shlex.quote(qemu), notes=shlex.quote(str(notes))))
    path.chmod(0o755)
    os.environ["PATH"] = f"{directory}:{os.environ['PATH']}"


def measure(command: Sequence[str], notes: Path) -> Measured:
    """What a command took that boots QEMU once."""
    before, began, clock = os.times(), time.time(), time.monotonic()
    run(command)
    after, ended = os.times(), time.monotonic()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    started, *_, spent = notes.read_text().splitlines()
    found = _SPENT.match(spent) or sys.exit(f"{notes} ends with {spent!r}")
    minutes, seconds, more_minutes, more_seconds = map(float, found.groups())
    qemu = 60 * (minutes + more_minutes) + seconds + more_seconds
    return Measured(qemu, cpu - qemu, ended - clock, float(started) - began)


def run(command: Sequence[str]) -> None:
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{shlex.join(command)} ended with {result.returncode}:\n{result.stderr.decode()}")


if __name__ == "__main__":
    main()
