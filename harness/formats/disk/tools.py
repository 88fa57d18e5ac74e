"""Runs the programs that know disks: sfdisk, qemu-img, e2fsck."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


def run_tool(command: Sequence[str], package: str, script: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program and return what it said.

    Args:
        command: The program, which may be an administrator's, and its arguments.
        package: The Debian package that has it.
        script: What it reads.

    Raises:
        ConfigError: It is not installed.
    """
    # Administrators' programs are not on every user's PATH.
    program = shutil.which(command[0], path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if program is None:
        raise ConfigError(f"{command[0]} is not installed", hint=f"install the Debian package {package}")
    return subprocess.run(
        [program, *command[1:]],
        input=script,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
