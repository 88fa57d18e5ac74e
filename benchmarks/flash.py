"""What `harness flash` reaches beside `dd bs=4M oflag=direct`: the same bytes to the same device, in turn.

    .venv/bin/python benchmarks/flash.py [--rounds N] [--size MIB] [--device /dev/sdX --serial S]

Without --device it takes a loop device over a file in --directory, which needs root. With one, all on it is
lost. `dd` writes and syncs; the harness writes, hashes, syncs, and reads all back, which is told apart.
Prints medians of MiB/s, and of the ratios of each round's two, as a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=512, help="of the image, in MiB")
    parser.add_argument("--directory", type=Path, help="where image and backing file lie")
    parser.add_argument("--device", help="a real stick; all on it is lost")
    parser.add_argument("--serial", help="its serial number")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        image = Path(directory, "image")
        with image.open("wb") as file:
            for _ in range(arguments.size):
                file.write(os.urandom(1 << 20))
            file.seek(510)
            file.write(b"\x55\xaa")
        with device_of(arguments, Path(directory, "disk")) as (device, serial):
            compare(image, device, serial, arguments)


@contextmanager
def device_of(arguments: argparse.Namespace, backing: Path) -> Iterator[tuple[str, str]]:
    """The device and its serial number."""
    if arguments.device:
        yield arguments.device, arguments.serial
        return
    with backing.open("wb") as file:
        file.write(bytes(1 << 20) * (arguments.size + 8))  # no holes: blocks are found beforehand
    attach = ["losetup", "--direct-io=on", "-f", "--show", str(backing)]
    device = subprocess.run(attach, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    try:
        yield device, f"virtual {device.removeprefix('/dev/')}"
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def compare(image: Path, device: str, serial: str, arguments: argparse.Namespace) -> None:
    dd = ["dd", f"if={image}", f"of={device}", "bs=4M", "oflag=direct", "conv=fsync", "status=none"]
    ours = [sys.executable, "-m", "harness", "flash", device, "--image", str(image)]
    ours += ["--expect-serial", serial, "--force", "--json"]
    rates: dict[str, list[float]] = {"dd": [], "write": [], "read back": []}
    for turn in range(arguments.rounds * 2):
        if turn % 2 == 0:
            began = time.monotonic()
            subprocess.run(dd, check=True)
            rates["dd"].append(arguments.size / (time.monotonic() - began))
        else:
            done = subprocess.run(ours, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
            report = json.loads(done.stdout)["flashed"]
            rates["write"].append(arguments.size / report["write_seconds"])
            rates["read back"].append(arguments.size / report["verify_seconds"])
    ratios = [ours / theirs for ours, theirs in zip(rates["write"], rates["dd"], strict=True)]
    print("| what | MiB/s | of dd's |")
    print("|---|---|---|")
    print(f"| `dd bs=4M oflag=direct conv=fsync` | {statistics.median(rates['dd']):.0f} | 1 |")
    write = statistics.median(rates["write"])
    print(f"| `harness flash`, writing | {write:.0f} | {statistics.median(ratios):.2f} |")
    print(f"| `harness flash`, reading back and comparing | {statistics.median(rates['read back']):.0f} | |")
    print(
        f"\n{arguments.size} MiB, {arguments.rounds} rounds; "
        f"ratios from {min(ratios):.2f} to {max(ratios):.2f}"
    )


if __name__ == "__main__":
    main()
