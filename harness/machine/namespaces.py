"""Program that sets up namespaces and mounts for chroot and bwrap.

Started as `python -I namespaces.py DESCRIPTION`; it imports nothing of the harness, and cannot undo what it
does to itself. It waits for a byte on its control socket, makes namespaces and mounts, and becomes the
payload. All mounts are in a mount namespace, all processes in a process namespace whose first process dies
with the harness, so nothing is left when the harness ends. namespaces(7), mount(2), pivot_root(2) and
prctl(2) describe the calls, netdevice(7) the loopback.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import socket
import stat
import struct
import sys
import termios
from typing import Any, NoReturn

_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_SIGNALLED = 128  # added to a signal's number, as shells do
# Name, major and minor number: those that every program may expect (Linux: devices.txt).
_DEVICES = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
)
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = [os.fsencode(word) for word in (source, target, kind)]
    try:
        _call("mount", *words, ctypes.c_ulong(flags), data.encode() if data else None)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} ({target})") from None


def _follow_parent(parent: int) -> None:
    """Die with the parent, which may be gone already."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _take_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))


def _mount_point(root: str, name: str) -> str:
    """A directory of the root, made if it is missing; never what a link of the payload's leads to."""
    path = f"{root}/{name}"
    if not os.path.lexists(path):
        os.mkdir(path, 0o755)
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise NotADirectoryError(20, f"/{name} of the payload is no directory")
    return path


def _enter_root(root: str) -> None:
    """Mount what a kernel would, and make the directory the root."""
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    _mount(root, root, "", _MS_BIND | _MS_REC)
    dev = _mount_point(root, "dev")
    _mount("tmpfs", dev, "tmpfs", _MS_NOSUID, "mode=755,size=1m")
    for name, major, minor in _DEVICES:
        os.mknod(f"{dev}/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
        os.chmod(f"{dev}/{name}", 0o666)
    for name, target in _LINKS.items():
        os.symlink(target, f"{dev}/{name}")
    for name in ("pts", "shm"):
        os.mkdir(f"{dev}/{name}")
    _mount("devpts", f"{dev}/pts", "devpts", _MS_NOSUID | _MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    _mount("tmpfs", f"{dev}/shm", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")
    proc = _mount_point(root, "proc")
    _mount("proc", proc, "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    if os.path.isdir(f"{root}/tmp") and not os.path.islink(f"{root}/tmp"):
        _mount("tmpfs", f"{root}/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")
    os.chdir(root)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", _MNT_DETACH)  # the host's tree, which now lies over ours
    os.chdir("/")


def _become_chroot(wanted: dict[str, Any]) -> NoReturn:
    _enter_root(wanted["root"])
    _raise_loopback()
    socket.sethostname("bootstrap")
    _limit(wanted["memory"])
    os.execve(wanted["program"][0], wanted["program"], wanted["environment"])


def _become_bwrap(wanted: dict[str, Any], words: list[str]) -> NoReturn:
    _limit(wanted["memory"])
    os.execv(words[0], words)


def _follow_on(wanted: dict[str, Any]) -> int:
    """Run one bwrap after the other on one terminal, as long as they end well; gives the last status."""
    code = 0
    for words in wanted["bwrap"]:
        us = os.getpid()
        child = os.fork()
        if child == 0:
            _follow_parent(us)
            os.setpgid(0, 0)
            _give_terminal(os.getpid())
            _become_bwrap(wanted, words)
        code = _ended(child)
        _give_terminal(os.getpid())
        if code != 0:
            break
    return code


def _give_terminal(group: int) -> None:
    """Make a group of processes the one that a person types to, without being stopped for it."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, group)
    signal.signal(signal.SIGTTOU, before)


def _ended(child: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else _SIGNALLED - code


def main() -> int:
    """Start the payload, wait for its end, and end as it did."""
    wanted = json.loads(sys.argv[1])
    _follow_parent(wanted["parent"])
    control = socket.socket(fileno=wanted["control"])
    os.set_inheritable(control.fileno(), False)
    if not control.recv(1):
        return 1
    chroot = wanted["kind"] == "chroot"
    try:
        if chroot:
            _call("unshare", _CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWPID | _CLONE_NEWNET)
        us = os.getpid()
        alive, held = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(held)
            # In a process namespace of its own the parent has no number: the pipe tells whether it lives.
            _follow_parent(0 if chroot else us)
            if select.select([alive], [], [], 0)[0]:
                os._exit(1)
            os.close(wanted["lock"])
            _take_terminal()
            if chroot:
                _become_chroot(wanted)
            if len(wanted["bwrap"]) == 1:
                _become_bwrap(wanted, wanted["bwrap"][0])
            control.close()  # what follows cannot be refused any more
            os._exit(_follow_on(wanted))
    except OSError as error:
        control.send((error.strerror or str(error)).encode())
        return 1
    control.close()
    for number in (0, 1, 2):
        os.close(number)  # the console ends with the payload
    return _ended(child)


if __name__ == "__main__":
    sys.exit(main())
