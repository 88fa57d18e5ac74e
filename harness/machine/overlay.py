"""The qcow2 overlay that takes the writes of a run.

The disk image itself is never written. The overlay is a named file rather than QEMU's anonymous
`snapshot=on`, so that it can be saved with the memory.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError, InfraError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def create(overlay: Path, disk: Path) -> None:
    """Make an overlay that shows what is on the disk; it takes some 200 KiB."""
    _run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(disk), "-F", "raw", str(overlay)])


def copy(source: Path, target: Path) -> None:
    """Copy an overlay; where the filesystem can, both share their blocks until one of them changes."""
    _run(["cp", "--reflink=auto", "--", str(source), str(target)])


def adopt(saved: Path, overlay: Path, disk: Path) -> None:
    """Make an overlay that goes on from a saved one; the disk image may lie elsewhere today."""
    copy(saved, overlay)
    overlay.chmod(0o644)
    _run(["qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-b", str(disk), "-F", "raw", str(overlay)])


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError as error:
        raise ConfigError(
            f"{command[0]} is not installed", hint="install it (Debian: apt-get install qemu-utils)"
        ) from error
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise InfraError(
            f"the run's disk {command[-1]} cannot be made: {words[-1]}", hint="look at the space on the disk"
        )
