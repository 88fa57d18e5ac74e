"""Runs make for a kernel, with log and progress.

It runs in a process group of its own, with a lower priority.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import IO, TYPE_CHECKING

import msgspec

from harness.core.errors import InfraError, command_failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from harness.core.progress import Task

# What kbuild prints per object ("  CC      init/main.o"), marks such as [M] left out.
_OBJECT = re.compile(rb"  (CC|AS)  +\S")
# What compilers, linkers, Kconfig and make say when something is wrong.
_ERROR = re.compile(r"error:|undefined reference|can't open file|\*\*\* \[|[Ee]rror \d")
_LINES = 10  # as many as an error message shows
_NICE = 5
WANTED = "wanted.config"
_NEARLY = 0.98  # linking and compressing come after the last object


class Made(msgspec.Struct, frozen=True):
    """What a run of make took."""

    objects: int  # how many objects were compiled
    cpu: float  # CPU-seconds of all its processes


class KernelMake(msgspec.Struct, frozen=True):
    """A kernel's build directory, as make sees it."""

    source: Path  # the kernel's source, only read
    objects: Path  # where it is built
    settings: Sequence[str]  # variables on make's command line, such as ARCH=i386
    environment: Mapping[str, str]  # all that the programs see of their surroundings
    log: Path  # file that all they say is added to
    failed: Path  # directory where the configuration is kept when make fails; the build directory goes

    def run(self, *targets: str, jobs: int = 1, task: Task | None = None, expected: int = 0) -> Made:
        """Make targets. When this fails or is interrupted, no process of it goes on.

        Args:
            targets: What to make.
            jobs: How many processes at once.
            task: Told how far the work is, when `expected` says how much it is.
            expected: How many objects there were in an earlier build; 0 when that is unknown.
        """
        arguments = ["-C", str(self.source), f"O={self.objects}", *self.settings, f"-j{jobs}", *targets]
        command = ["make", *arguments]
        before = _children_cpu()
        with (
            self.log.open("ab", buffering=0) as kept,
            subprocess.Popen(
                ["nice", "-n", str(_NICE), *command],
                env=dict(self.environment),
                umask=0o022,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us, and the group ends together
            ) as process,
        ):
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            try:
                objects = _follow(process.stdout, kept, task, expected)
            except BaseException:
                _end(process)
                raise
        if process.returncode != 0:
            raise self._failure(command, process.returncode)
        return Made(objects, _children_cpu() - before)

    def _failure(self, command: Sequence[str], status: int) -> InfraError:
        """Describe what failed by a command line that does it again, in a directory that stays."""
        self.failed.mkdir(exist_ok=True)
        for name in (WANTED, ".config"):
            if (self.objects / name).exists():
                shutil.copyfile(self.objects / name, self.failed / name)
        full = ["env", "-i", *(f"{name}={value}" for name, value in self.environment.items()), *command]
        pasted = [word.replace(str(self.objects), str(self.failed)) for word in full]
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        # Other jobs go on for a while after the first that failed.
        first = next((number for number, line in enumerate(lines) if _ERROR.search(line)), len(lines))
        said = "\n".join(lines[max(0, first - 2) :][:_LINES] if first < len(lines) else lines)
        return command_failed(pasted, status, said, hint=f"all that was said is in {self.log}")


def _follow(output: IO[bytes], kept: IO[bytes], task: Task | None, expected: int) -> int:
    objects = 0
    for line in output:
        kept.write(line)
        if _OBJECT.match(line):
            objects += 1
            if task and expected:
                task.update(min(objects / expected, _NEARLY))
    return objects


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group; make removes what it was about to write when it is asked politely."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=2)  # up to the end of what any of them could say


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
