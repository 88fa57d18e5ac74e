"""Errors for people: one sentence that names the file, key or device, and what to do next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from harness.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence


class HarnessError(Exception):
    """An error that the user can act on; the command line shows it without a traceback.

    Args:
        message: One sentence that names the file, key or device.
        hint: What to do next, if anything can be done.
    """

    outcome: ClassVar[Outcome] = Outcome.BUG

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(HarnessError):
    """The user's input is wrong: a recipe, an option, a file, a missing program."""

    outcome = Outcome.CONFIG


class InfraError(HarnessError):
    """The host failed us: QEMU died, the disk is full, the archive does not answer."""

    outcome = Outcome.INFRA


class Interrupted(HarnessError):  # noqa: N818 - a fact, not an error of anybody's
    """The user or the system asked us to stop (Ctrl-C, SIGTERM)."""

    outcome = Outcome.INTERRUPTED


def command_failed(command: Sequence[str], returncode: int, stderr: str, *, hint: str = "") -> InfraError:
    """Describe a program that failed: a command line to paste, its status, the tail of what it said."""
    tail = "\n".join(f"  {line}" for line in stderr.strip().splitlines()[-10:])
    message = f"`{shlex.join(command)}` ended with status {returncode}"
    return InfraError(f"{message}:\n{tail}" if tail else message, hint=hint)
