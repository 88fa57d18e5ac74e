"""Runs git on a repository, without variables of a calling git."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError, HarnessError, command_failed

if TYPE_CHECKING:
    from pathlib import Path


def git(directory: Path, *arguments: str, given: bytes = b"") -> bytes:
    """What git says, when it is given something to read."""
    result = ask(directory, *arguments, given=given)
    if result.returncode != 0:
        raise refusal(directory, result)
    return result.stdout


def ask(directory: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """What git says, whether or not it ended with an error."""
    if shutil.which("git") is None:
        raise ConfigError("git is not installed, and it knows what belongs to a checkout", hint="install git")
    # The caller may be git itself: in a hook, it points to a repository of its own.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(directory), *arguments]
    return subprocess.run(
        command, env={**clean, "LC_ALL": "C"}, input=given, capture_output=True, check=False
    )


def submodules_hint(tree: Path, *paths: str) -> str:
    """How the submodules of a tree are had; where git knows nothing about the tree, without git."""
    if (tree / ".git").exists():
        return f"git -C {tree} submodule update --init {' '.join(paths) or '--recursive'}"
    return f"{tree} has no .git, as archives of sources have none: unpack there what the submodules contain"


def refusal(directory: Path, result: subprocess.CompletedProcess[bytes]) -> HarnessError:
    """The error for people when git ended with one."""
    stderr = os.fsdecode(result.stderr)
    if "dubious ownership" in stderr:
        return ConfigError(
            f"git does not trust the checkout {directory}, because it belongs to another user",
            hint=f"if you do: git config --global --add safe.directory {directory}",
        )
    return command_failed(result.args, result.returncode, stderr)
