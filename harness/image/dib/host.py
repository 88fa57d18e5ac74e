"""Runs diskimage-builder in namespaces, and cleans up after it.

It gets namespaces of its own: what it mounts is seen nowhere else and is gone with its last process, however
that ended, so that removing its directory never reaches the host's /dev through a mount in it. Only
loop devices belong to the whole host; they are detached afterwards, and those of killed builders by the next.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core import paths, programs
from harness.core.errors import ConfigError, command_failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.core.progress import Task

_NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
# The first process of a PID namespace takes the others with it. `cat` ends when the last of them has closed
# its output, so that the end of the log is not lost.
_TO_THE_LAST_WORD = ["bash", "-o", "pipefail", "-c", '"$@" 2>&1 | cat', "bash"]
# Lines of the log, and how much of the work is done by then. Phases: "developing elements" of its manual.
_MILESTONES = [
    (re.compile(rb"I: Retrieving "), 0.05),
    (re.compile(rb"I: Extracting "), 0.2),
    (re.compile(rb"I: Unpacking "), 0.3),
    (re.compile(rb"I: Configuring "), 0.4),
    (re.compile(rb"Running \S+/install\.d/"), 0.5),
    (re.compile(rb"Running \S+/post-install\.d/"), 0.8),
    (re.compile(rb"Running \S+/cleanup\.d/"), 0.9),
]
# What the archive says when a recipe asks for what it does not have.
_USERS_MISTAKES = [
    (re.compile(r"^E: Unable to locate package (?P<what>\S+)", re.MULTILINE), "packages"),
    (re.compile(r"^E: Couldn't find these debs: (?P<what>.+)$", re.MULTILINE), "packages"),
    (re.compile(r"^E: No such script: \S+/(?P<what>\S+)", re.MULTILINE), "debian.suite"),
]


def require(where: str) -> None:
    """Make sure that diskimage-builder can work on this host."""
    if os.geteuid() != 0:
        raise ConfigError(
            f"{where} needs root: diskimage-builder mounts filesystems and makes device nodes",
            hint='run as root; or take contents with add = "packages", which need no root',
        )
    wanted = tomllib.loads((paths.data_root() / "images/elements/programs.toml").read_text("utf-8"))
    path = _environment({})["PATH"]
    missing = {name: package for name, package in wanted.items() if shutil.which(name, path=path) is None}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        message = f"{where} needs programs that are not installed: {', '.join(missing)}"
        raise ConfigError(message, hint=f"apt-get install --no-install-recommends {packages}")
    hint = "a container needs to be privileged for this; a host may need `modprobe loop`"
    for command, what in (
        ([*_NAMESPACES, "true"], "does not let root mount filesystems"),
        (["losetup", "--find"], "has no free loop device"),
    ):
        tried = programs.call(command, environment=_environment({}))
        if tried.returncode != 0:
            raise ConfigError(f"{where} cannot be made: this host {what}: {tried.stderr.strip()}", hint=hint)


def run(
    command: Sequence[str], *, environment: Mapping[str, str], work: Path, log: Path, where: str, task: Task
) -> None:
    """Run diskimage-builder to its end. When this fails or is interrupted, no process of it is left."""
    # setpriv: the kernel ends it all when this process is gone, however it went.
    full = ["setpriv", "--pdeathsig", "KILL", "--", *_NAMESPACES, *_TO_THE_LAST_WORD, *command]
    read_end, write_end = os.pipe()
    try:
        with (
            log.open("wb") as kept,
            open(read_end, "rb") as output,  # noqa: PTH123 - a descriptor has no path
        ):
            process = subprocess.Popen(
                full,
                cwd=work,
                env=_environment(environment),
                umask=0o022,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,  # Ctrl-C is for us
            )
            os.close(write_end)
            try:
                done = 0.0
                for line in output:
                    kept.write(line)
                    done = max([done, *(share for pattern, share in _MILESTONES if pattern.search(line))])
                    task.update(done)
            except BaseException:
                _kill_namespace(process)
                raise
            finally:
                process.wait()
    finally:
        detach_loop_devices(work)
    if process.returncode != 0:
        said = log.read_text("utf-8", errors="replace")
        for pattern, key in _USERS_MISTAKES:
            if found := pattern.search(said):
                raise ConfigError(
                    f"{where}: the archive has no {found['what']}",
                    hint=f"see the recipe's key {key} and the packages of its elements; the log is {log}",
                )
        raise command_failed(
            command, process.returncode, said, hint=f"{where}: all that was said is in {log}"
        )


def _kill_namespace(process: subprocess.Popen[bytes]) -> None:
    """Kill `unshare`'s child, the first process of the namespace: it is gone once all others are."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    except OSError:  # it has ended, or the kernel does not tell
        children = []
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)
    if not children:
        process.kill()


def detach_loop_devices(place: Path) -> None:
    """Detach the loop devices whose files are, or were, below a directory."""
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            file = backing.read_text("utf-8", errors="surrogateescape")
        except OSError:  # detached since we looked
            continue
        if file.startswith(f"{place.resolve()}/"):
            programs.call(["losetup", "--detach", f"/dev/{backing.parts[3]}"])


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Our own environment without settings for diskimage-builder, and with all programs that it needs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DIB_")}
    # Its own Python comes first: it has the packages that its elements import.
    path = f"{Path(sys.executable).parent}:{programs.search_path()}"
    # It gives what it made to the user of that name, and only root runs it.
    return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC", "USER": "root", "PATH": path, **more}
