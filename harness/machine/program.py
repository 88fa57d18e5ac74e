"""Finds QEMU, and its version."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache

from harness.core.errors import ConfigError, InfraError

PROGRAM = "qemu-system-x86_64"


def qemu_program() -> str:
    """The path of QEMU."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise ConfigError(
            f"{PROGRAM} is not installed",
            hint="install it (Debian: apt-get install qemu-system-x86), then see `harness doctor`",
        )
    return program


@cache
def qemu_version() -> str:
    """The version of QEMU and of its package, as it says them."""
    command = [qemu_program(), "--version"]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    version = re.match(r"QEMU emulator version (.+)", answer.stdout)
    if version is None:
        raise InfraError(
            f"{command[0]} does not say its version: {answer.stderr.strip()}", hint="see `harness doctor`"
        )
    return version[1]
