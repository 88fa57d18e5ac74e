"""Machines without a kernel of their own: chroot and bubblewrap."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from harness.console.transport import PtyTransport
from harness.core.errors import ConfigError, InfraError
from harness.machine import namespaces
from harness.machine.process import TreeMeter
from harness.machine.protocol import (
    End,
    EndCause,
    Machine,
    MachineKind,
    MachineRecord,
    ProcessorSample,
    Usage,
)

if TYPE_CHECKING:
    from harness.machine.spec import NativeCall, NativeSpec

_SIGNALLED = 128  # exit statuses above it stand for signals
_STOP_LIMIT = 10.0  # seconds that the kernel may take to end all processes
# Where user namespaces are switched off, by kernel, distribution and security module.
_SWITCHES = {
    "kernel.unprivileged_userns_clone": "0",
    "user.max_user_namespaces": "0",
    "kernel.apparmor_restrict_unprivileged_userns": "1",
}


def check_host(kind: MachineKind, sysctl: Path = Path("/proc/sys")) -> None:
    """Find out whether this host and user can have such a machine.

    Raises:
        ConfigError: chroot is asked for without root, or by a root that may not make namespaces; bwrap is not
            installed, or user namespaces are switched off; the message names the switch.
    """
    if kind == MachineKind.CHROOT:
        _check_chroot()
    else:
        _check_bwrap(sysctl)


def _check_chroot() -> None:
    if os.geteuid() != 0:
        hint = "run the harness as root, or take --machine bwrap, which needs no root"
        raise ConfigError("the machine chroot needs root: mounts and device nodes are made for it", hint=hint)
    trial = [_program("unshare", "util-linux"), "--mount", "--uts", "--ipc", "--net", "--pid", "--fork"]
    if said := _refused([*trial, "--mount-proc", "/bin/true"]):
        hint = "a container may forbid it: start that with --privileged, or take --machine qemu"
        raise ConfigError(f"the machine chroot cannot make namespaces here: {said}", hint=hint)


def _check_bwrap(sysctl: Path) -> None:
    trial = [_program("bwrap", "bubblewrap"), "--unshare-all", "--unshare-user", "--uid", "0", "--gid", "0"]
    trial += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--", "/bin/true"]
    said = _refused(trial).removeprefix("bwrap: ")
    if not said:
        return
    for name, off in _SWITCHES.items():
        switch = sysctl / name.replace(".", "/")
        if switch.is_file() and switch.read_text().strip() == off:
            on = "1" if off == "0" else "0"
            if name == "user.max_user_namespaces":
                on = "15000"
            raise ConfigError(
                f"user namespaces are switched off here (sysctl {name} = {off}), and bwrap needs them",
                hint=f"sysctl -w {name}={on} as root, or take --machine chroot as root ({said})",
            )
    hint = "a container may forbid it; take --machine chroot as root, or --machine qemu"
    raise ConfigError(f"bwrap cannot make namespaces here: {said}", hint=hint)


def _refused(trial: list[str]) -> str:
    """What a trial says that does not end well; "" for one that does."""
    answer = subprocess.run(trial, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return (answer.stderr.strip() or f"exit status {answer.returncode}") if answer.returncode else ""


def _program(name: str, package: str) -> str:
    program = shutil.which(name)
    if program is None:
        hint = f"install it (Debian: apt-get install {package}), or take another machine"
        raise ConfigError(f"{name} is not installed", hint=hint)
    return program


class NativeMachine(Machine):
    """A payload that runs on the host's kernel, in namespaces of its own, with a terminal as its console.

    It changes the directory that is its root; `lock` is a file descriptor that stays open until it is gone.
    """

    def __init__(self, spec: NativeSpec, root: Path, lock: int, directory: Path) -> None:
        self._spec = spec
        self._root = root
        self._lock = lock
        self._directory = directory
        self._end: End | None = None

    def __enter__(self) -> Self:
        """Make the terminal, and the process that waits to become the payload."""
        console, terminal = pty.openpty()
        self._control, theirs = socket.socketpair()
        words = {
            "kind": self._spec.kind,
            "root": str(self._root),
            "program": self._spec.calls[0].program,
            "environment": dict(self._spec.calls[0].environment),
            "memory": self._spec.memory,
            "bwrap": self._bwraps() if self._spec.kind == MachineKind.BWRAP else [],
            "parent": os.getpid(),
            "control": theirs.fileno(),
            "lock": self._lock,
        }
        self.command = (sys.executable, "-I", str(Path(namespaces.__file__)), json.dumps(words))
        (self._directory / "native.cmd").write_text(f"{shlex.join(self.command)}\n", encoding="utf-8")
        try:
            self._process = subprocess.Popen(
                self.command,
                stdin=terminal,
                stdout=terminal,
                stderr=terminal,
                pass_fds=[theirs.fileno(), self._lock],
                env={"PATH": os.defpath, "LC_ALL": "C"},
                cwd="/",
                start_new_session=True,  # Ctrl-C is for us; we end the payload ourselves
            )
        finally:
            os.close(terminal)
            theirs.close()
        self.transport = PtyTransport(console)
        self._meter = TreeMeter(self._process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes and close the terminal."""
        if self._process.poll() is None:
            self._process.kill()  # the payload's first process dies with it, and all others with that
        self._process.wait(_STOP_LIMIT)
        self.poll()
        self._control.close()
        self.transport.close()

    def start(self) -> None:
        """Let the payload begin."""
        try:
            self._control.send(b"g")
            refusal = self._control.recv(4096)  # the end, as soon as the payload has begun
        except OSError as error:
            refusal = str(error).encode()
        if refusal:
            why = refusal.decode("utf-8", "replace")
            program = self._spec.calls[0].program[0]
            raise InfraError(
                f"the machine {self._spec.kind} cannot start {program}: {why}",
                hint="the program may be missing in the image (recipe key native.program), be for another "
                "processor, or want an interpreter that is not there",
            )

    def poll(self) -> End | None:
        """How it ended, or None while it runs."""
        if self._end is None and (status := self._process.poll()) is not None:
            if status == 0:
                self._end = End(EndCause.EXITED, "exit status 0")
            elif status < 0:
                self._end = End(EndCause.DIED, f"killed by signal {-status}")
            elif status > _SIGNALLED:
                self._end = End(EndCause.GAVE_UP, f"killed by signal {status - _SIGNALLED}")
            else:
                self._end = End(EndCause.GAVE_UP, f"exit status {status}")
        return self._end

    def describe(self) -> MachineRecord:
        """What it is, for the record."""
        spec = self._spec
        return MachineRecord(
            kind=spec.kind,
            accelerator=spec.accelerator,
            cpu="",
            memory=spec.memory,
            command_line="; ".join(shlex.join(call.program) for call in spec.calls),
            medium="none",
            firmware="none",
            qemu="",
        )

    def usage(self) -> Usage:
        """What all its processes have consumed."""
        return self._meter.read()

    def sample(self) -> ProcessorSample | None:
        """Whether its processes run."""
        return self._meter.sample()

    def _bwraps(self) -> list[list[str]]:
        """What bwrap is called with, for each call."""
        first, *others = self._spec.calls
        inner = self._spec.inner
        allowed = ["--cap-add", "CAP_SYS_CHROOT"] if inner else []
        return [
            [*self._bwrap_words(first), *allowed, *_surroundings(inner, made=True), "--", *first.program],
            *([*self._bwrap_words(call), "--", *call.program] for call in others),
        ]

    def _bwrap_words(self, call: NativeCall) -> list[str]:
        words = [_program("bwrap", "bubblewrap"), "--unshare-user", "--uid", "0", "--gid", "0"]
        words += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
        words += ["--unshare-cgroup-try", "--hostname", "bootstrap"]
        words += ["--die-with-parent", "--clearenv"]
        for name, value in call.environment.items():
            words += ["--setenv", name, value]
        root = self._root / call.root
        # Of a root that is yet to be made it is not known whether it has the directory.
        tmp = bool(call.root) or ((root / "tmp").is_dir() and not (root / "tmp").is_symlink())
        return [*words, "--bind", str(root), "/", *_surroundings("/", made=tmp), "--chdir", "/"]


def _surroundings(root: str, *, made: bool) -> list[str]:
    """What bwrap mounts in a root, if there is one; `made`: also a directory for temporary files."""
    if not root:
        return []
    place = "" if root == "/" else f"/{root}"
    # A payload that finds nothing mounted at /sys mounts it, which it may not do here.
    words = ["--dev", f"{place}/dev", "--proc", f"{place}/proc", "--tmpfs", f"{place}/sys"]
    return [*words, "--tmpfs", f"{place}/tmp"] if made else words  # noqa: S108 - the payload's
