"""Runs other programs to their end, and takes what they print."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError, command_failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def search_path() -> str:
    """The user's PATH, and behind it the directories of programs for administrators."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def find(name: str) -> str | None:
    """Path of a program, those for administrators included."""
    return shutil.which(name, path=search_path())


def call(
    command: Sequence[str],
    *,
    package: str = "",
    text: str = "",
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program, whether or not it ends with an error.

    Args:
        command: The program and its arguments.
        package: The Debian package that it is in.
        text: Its standard input.
        environment: All variables that it sees; by default ours, with the locale C.UTF-8.
        cwd: Its working directory.

    Raises:
        ConfigError: It is not installed.
    """
    seen = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": search_path()} if environment is None else environment
    program = shutil.which(command[0], path=seen["PATH"])
    if program is None:
        hint = f"install the Debian package {package}" if package else ""
        raise ConfigError(f"{command[0]} is not installed", hint=hint)
    return subprocess.run(
        [program, *command[1:]],
        input=text,
        env=seen,
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def output(
    command: Sequence[str],
    *,
    package: str = "",
    text: str = "",
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program, and return what it prints; arguments are those of `call`."""
    done = call(command, package=package, text=text, environment=environment, cwd=cwd)
    if done.returncode != 0:
        raise command_failed(command, done.returncode, done.stderr)
    return done.stdout
