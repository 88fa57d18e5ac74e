"""Checks partition tables: checksums, a GPT's second copy, partitions that keep apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.core import programs
from harness.formats.disk import partitions
from harness.image.checks.kernel_checks import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_COUNT = re.compile(r"\d+ errors? detected\.")
# What sfdisk says of disks that every system takes: mostly an image that was copied to a larger disk.
_HARMLESS = re.compile(
    r"PMBR size mismatch|not on the end of the device|physical sector boundary", re.IGNORECASE
)
_HINT = "make the partition table anew, or fetch the image again"


def check_table(path: Path) -> Iterator[Finding]:
    """Ask sfdisk, which checks sums, second copies, overlaps and ends; its exit status says nothing."""
    table = partitions.read(path)
    problems = [table.problem] if table.problem else []
    if table.sector == partitions.SECTOR:  # sfdisk knows no other ones in files
        # The standard output only has what is well, and sizes.
        said = programs.call(["sfdisk", "--verify", str(path)], package="fdisk").stderr.splitlines()
        problems = [
            line.strip().rstrip(".") for line in said if line.strip() and not _COUNT.fullmatch(line.strip())
        ]
    damaged = [problem for problem in problems if not _HARMLESS.search(problem)]
    for problem in problems:
        if problem in damaged:
            yield Finding(False, f"the partition table is damaged: {problem}", _HINT)
        else:
            yield Finding(None, f"sfdisk says of the partition table: {problem}")
    if not damaged:
        yield Finding(True, "the partition table is sound")
