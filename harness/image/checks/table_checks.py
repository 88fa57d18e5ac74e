"""Whether a disk's partition table is sound: checksums, a GPT's backup, partitions that keep apart."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.image.checks.kernel_checks import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_COUNT = re.compile(r"\d+ errors? detected\.")
_HINT = "make the partition table anew, or fetch the image again"


def check_table(path: Path) -> Iterator[Finding]:
    """Ask sfdisk, which looks at checksums, backups, overlaps and ends; its exit status says nothing.

    Raises:
        ConfigError: sfdisk is not installed.
    """
    # Administrators' programs are not on every user's PATH.
    program = shutil.which("sfdisk", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if program is None:
        raise ConfigError("sfdisk is not installed", hint="install the Debian package fdisk")
    asked = subprocess.run(
        [program, "--verify", str(path)],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    # The standard output only has what is well, and sizes.
    said = [line.strip() for line in asked.stderr.splitlines()]
    problems = [line.rstrip(".") for line in said if line and not _COUNT.fullmatch(line)]
    for problem in problems:
        yield Finding(False, f"the partition table is damaged: {problem}", _HINT)
    if not problems:
        yield Finding(True, "the partition table is sound")
