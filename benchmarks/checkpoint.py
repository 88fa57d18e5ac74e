"""What checkpoints cost, and what they save: the relay is saved on its way and resumed.

    .venv/bin/python benchmarks/checkpoint.py [--rounds N]

For each stage: how long the guest stood still while it was saved, how large the checkpoint is, and the time
from QEMU's start until the guest goes on; for the prompt, until a command was answered. To compare with: the
time that the run took to get there. Images come from the store; the checkpoints are removed afterwards.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from harness.console.recorder import Recorder
from harness.core import paths
from harness.core.files import remove
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.machine.qemu import QemuMachine
from harness.record.record import RunDocument
from harness.run import checkpoints
from harness.run.execute import execute
from harness.run.prepare import prepare
from harness.run.request import RunRequest, StageRange

if TYPE_CHECKING:
    from harness.machine.spec import MachineSpec
    from harness.run.checkpoints import Checkpoint

STAGES = ("sysb", "sysc", "shell")
LIMIT = 60.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    cache = paths.cache_root()
    with tempfile.TemporaryDirectory() as directory:
        request = RunRequest(
            build=BuildOptions(cache=cache),
            runs=Path(directory, "runs"),
            append=f"benchmark={secrets.token_hex(8)}",  # so that nobody else's checkpoint fits
            part=StageRange(save=STAGES, until="gcc"),
        )
        prepared = prepare(request, Quiet())
        run, store, spec = execute(prepared), prepared.store, cast("MachineSpec", prepared.spec)
        mine = (one for one in checkpoints.saved(store) if spec.boot.command_line in one.identity.values())
        saved = sorted(mine, key=lambda one: one.state.seconds)
        document = msgspec.json.decode((run.directory / "run.json").read_bytes(), type=RunDocument)
        kept = {one.stage: one.seconds for one in document.checkpoints}
        print(f"{'':<8}{'booted s':>10}{'saved in s':>12}{'MiB':>8}{'goes on s':>11}{'prompt s':>10}")
        try:
            for one in saved[: len(STAGES)]:
                stage = one.state.boundary.stage
                times = [resume(spec, one, Path(tempfile.mkdtemp(dir=directory))) for _ in range(rounds)]
                goes_on, prompt = (statistics.median(values) for values in zip(*times, strict=True))
                row = f"{one.state.seconds:10.1f}{kept[stage]:12.2f}{one.size / (1 << 20):8.1f}"
                print(f"{stage:<8}{row}{goes_on:11.2f}{prompt:10.2f}")
        finally:
            for one in saved:
                remove(one.path)


def resume(spec: MachineSpec, checkpoint: Checkpoint, directory: Path) -> tuple[float, float]:
    """Seconds from QEMU's start until the guest goes on, and until its prompt has answered."""
    began = time.monotonic()
    with (
        QemuMachine(spec, directory, saved=checkpoint.path) as machine,
        Recorder(machine.transport, directory / "console.raw", directory / "console.idx") as recorder,
    ):
        machine.start()
        goes_on = time.monotonic() - began
        if checkpoint.state.boundary.stage != "shell":  # the prompt is to come
            hear(recorder, b"bash-")
        recorder.write(b"echo ali''ve\n")
        hear(recorder, b"alive")
        return goes_on, time.monotonic() - began


def hear(recorder: Recorder, word: bytes) -> None:
    heard, until = b"", time.monotonic() + LIMIT
    while word not in heard:
        if time.monotonic() > until:
            sys.exit(f"the guest does not say {word.decode()!r}, but: {heard[-200:]!r}")
        heard += recorder.read(len(heard), timeout=0.1)


if __name__ == "__main__":
    main()
