"""What the report costs: of many runs with much to say, made the first time, and when some came.

Most logs are sparse files, which take no room on the disk but are read and cut into pieces like all others.

    benchmarks/report.py --runs 1000 --size 10M     as the claim has it: 10 GB of logs
    benchmarks/report.py --runs 100 --size 1M       in a minute
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import msgspec

from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.core.sizes import format_size, parse_size
from harness.machine.protocol import MachineRecord
from harness.record.record import HostRecord, KernelRecord, RunDocument
from harness.report.site.build import build
from harness.stages.verdict import StageResult, StageStatus, Verdict

LINE = b"[%12.6f] checking whether the C compiler works with argument number %07d... yes\r\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="What the report of many runs costs.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--size", type=parse_size, default="10M", help="of each log")
    parser.add_argument(
        "--new", type=int, default=5, help="runs that come later, with logs that are full of lines"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        runs, target = Path(place, "runs"), Path(place, "report")
        runs.mkdir()
        for number in range(chosen.runs):
            with (leave(runs, number) / "console.raw").open("wb") as log:
                log.truncate(chosen.size)
        measure("first time", runs, target)
        measure("nothing new", runs, target)
        for number in range(chosen.runs, chosen.runs + chosen.new):
            count = chosen.size // len(LINE % (0.0, 0))
            (leave(runs, number) / "console.raw").write_bytes(
                b"".join(LINE % (n / 1e4, n) for n in range(count))
            )
        measure(f"{chosen.new} new runs of {format_size(chosen.size)}", runs, target)
        pages = [path.stat().st_size for path in target.rglob("*.html")]
        print(f"{len(pages)} pages, the largest has {max(pages)} bytes")
        print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


def measure(what: str, runs: Path, target: Path) -> None:
    before, began = os.times(), time.perf_counter()
    built = build(runs, target, progress=Quiet())
    wall, after = time.perf_counter() - began, os.times()
    cpu = sum(after[:4]) - sum(before[:4])  # those of processes for cores, too
    print(
        f"{what:<28}{wall:8.1f} s wall {cpu:8.1f} s CPU   {built.rendered} of {built.runs} runs anew",
        flush=True,
    )


def leave(runs: Path, number: int) -> Path:
    kernel = f"debian-{number % 20}-i686"
    name = f"{20260101 + number // 100}-{number % 100:06}-relay-{kernel}-{number:04x}"
    stages = ("sysa", "kexec", "sysb", "switch_root", "sysc", "shell", "gcc")
    document = RunDocument(
        id=name,
        harness="0.1.0",
        recipe="relay",
        plan="relay",
        recipe_sha256="0" * 64,
        plan_sha256="0" * 64,
        started="2026-01-01T00:00:00Z",
        ended="2026-01-01T00:01:00Z",
        pid=number,
        host=HostRecord("Linux", "processor", 2, 1 << 34),
        kernels=(KernelRecord("seed", kernel, kernel, 32, "1" * 64),),
        machine=MachineRecord("qemu", "tcg", "", 1 << 30, "console=ttyS0", "7.2"),
        verdict=Verdict(Outcome.PANIC if number % 30 == 7 else Outcome.PASS, "gcc", "as it is"),
        stages=tuple(
            StageResult(stage, StageStatus.PASSED, wall=number % 7 + 1.0, cpu=1.0) for stage in stages
        ),
    )
    directory = runs / name
    directory.mkdir()
    (directory / "run.json").write_bytes(msgspec.json.encode(document))
    (directory / "console.idx").write_text("0 0.000\n")
    events = (
        {"seconds": 0.0, "event": "StageBegan", "stage": stage, "offset": place * 1000}
        for place, stage in enumerate(stages)
    )
    (directory / "events.jsonl").write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    return directory


if __name__ == "__main__":
    main()
