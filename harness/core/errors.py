"""Errors for people.

Each is one sentence that names the file, key or device, and a hint that says what to do next.
"""

from __future__ import annotations

import errno
import os
import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from harness.core.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_LITTLE = 1 << 20  # bytes; a disk with less is full
DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Ending(BaseException):
    """What ends the program: the command line shows it without a traceback."""

    outcome: ClassVar[Outcome] = Outcome.BUG

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message  # one sentence that names the file, key or device
        self.hint = hint  # what to do next, if anything can be done


class HarnessError(Ending, Exception):
    """An error that the user can act on."""


class ConfigError(HarnessError):
    """The user's input is wrong: a recipe, an option, a file, a missing program."""

    outcome = Outcome.CONFIG


class InfraError(HarnessError):
    """The host failed us: QEMU died, the disk is full, the archive does not answer."""

    outcome = Outcome.INFRA


class Interrupted(Ending):
    """The user or the system asked us to stop (Ctrl-C, SIGTERM).

    It is no `Exception`, so that no handler of failures, in a library or here, takes it for one and goes on.
    """

    outcome = Outcome.INTERRUPTED


def command_failed(command: Sequence[str], returncode: int, stderr: str, *, hint: str = "") -> InfraError:
    """Describe a program that failed: a command line to paste, its status, the tail of what it said."""
    tail = "\n".join(f"  {line}" for line in stderr.strip().splitlines()[-10:])
    message = f"`{shlex.join(command)}` ended with status {returncode}"
    return InfraError(f"{message}:\n{tail}" if tail else message, hint=hint)


@contextmanager
def explaining(kind: type[HarnessError], what: str, hint: str = "") -> Iterator[None]:
    """Make an error for people of an OSError in the block: what failed, and why in the system's words."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {error.strerror or error}", hint=hint) from error


def explained(error: BaseException) -> Ending:
    """Convert an unexpected exception into an error for people: a full disk, or a mistake of ours."""
    if isinstance(error, Ending):
        return error
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        what = f"cannot write {error.filename or _on_full_disk()}: {error.strerror}"
        return InfraError(what, hint="free some space, or choose another directory")
    import traceback

    where = traceback.extract_tb(error.__traceback__)[-1]
    return HarnessError(
        f"a mistake of ours: {type(error).__name__}: {error} ({where.filename}:{where.lineno})",
        hint="please report it, with what `harness --debug …` prints",
    )


def _on_full_disk() -> str:
    """The file that could not be written, as far as free space tells."""
    import shutil
    import tempfile

    for place in (os.environ.get("HARNESS_CACHE", ""), tempfile.gettempdir()):
        directory = Path(place).absolute()
        there = next(path for path in (directory, *directory.parents) if path.exists())
        if shutil.disk_usage(there).free < _LITTLE:
            return f"a file in {there}"
    return "a file"
