"""The bench guest: a real udev, USB sticks that come and go by QMP, and this checkout's harness inside."""

from __future__ import annotations

import re
import shlex
import socket
import stat
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from importlib.metadata import distribution, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.console.recorder import Recorder
from harness.console.shell import Shell
from harness.console.transport import pipes
from harness.core.progress import Quiet
from harness.formats.tree import Entry
from harness.image import disk
from harness.image.build import BuildOptions, build
from harness.machine import snapshot
from harness.machine.command import qemu_program
from harness.machine.qmp import Monitor
from harness.recipe import Disk, load_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.console.shell import Reply

HERE = Path(__file__).parent / "bench"
ROOT = Path(__file__).parents[2]
NEEDED = ("msgspec", "platformdirs", "pycdlib", "pyserial", "pyudev", "rich", "typer")
GUEST_PYTHON = (3, 11)  # bookworm's
PROMPT = b"bash-5.2# "
_LIMIT = 400.0  # seconds that anything may take on a loaded host
_MIB = 1 << 20


class Stick(msgspec.Struct, frozen=True):
    """What is plugged in.

    Attributes:
        serial: Its serial number, which is QEMU's name for it too.
        backing: The host's file with its bytes.
        node: Its node in the guest.
    """

    serial: str
    backing: Path
    node: str


class Adapter(msgspec.Struct, frozen=True):
    """A USB serial adapter, which may be plugged in.

    Attributes:
        serial: Its serial number.
        far: The other end of its cable.
        node: Its name in the guest that survives re-plugging.
    """

    serial: str
    far: socket.socket
    node: str


class Bench:
    """The guest, booted and at its prompt, and what can be done to it."""

    def __init__(self, shell: Shell, monitor: Monitor, directory: Path) -> None:
        self._shell = shell
        self._monitor = monitor
        self._directory = directory

    def run(self, script: str) -> Reply:
        """Run a script in the guest."""
        return self._shell.run(script, timeout=_LIMIT)

    def ok(self, script: str) -> str:
        """Run a script that must succeed; what it says."""
        reply = self.run(f"set -e\n{script}")
        assert reply.status == 0, f"{script}: {reply.text}"
        return reply.text

    def settle(self) -> None:
        """Wait until udev has handled all events.

        `udevadm settle` first asks udevd through its control socket. A slow udevd drops such a connection now
        and then ("Failed to wait for daemon to reply: Broken pipe"), which says nothing about the events.
        """
        self.ok("until udevadm settle --timeout=300; do sleep 0.2; done")

    def flash(self, arguments: str) -> Reply:
        """Run `harness flash` in the guest, in a process that begins with all modules loaded."""
        ask = f"echo {shlex.quote(arguments)} >/run/flash.in; read -r status </run/flash.status"
        return self.run(f"{ask}; cat /run/flash.out; exit $status")

    @contextmanager
    def stick(
        self,
        serial: str,
        size: int = 64 * _MIB,
        *,
        removable: bool = True,
        read_only: bool = False,
        bytes_per_second: int = 0,
    ) -> Iterator[Stick]:
        """Plug a stick in, and out in the end, if nobody did that before."""
        backing = self._directory / f"{serial}.img"
        with backing.open("wb") as file:
            file.truncate(size)
        node = self.plug(
            serial, backing, removable=removable, read_only=read_only, bytes_per_second=bytes_per_second
        )
        try:
            yield Stick(serial, backing, node)
        finally:
            self.unplug(serial)

    def plug(
        self,
        serial: str,
        backing: Path,
        *,
        removable: bool = True,
        read_only: bool = False,
        bytes_per_second: int = 0,
    ) -> str:
        """Plug a stick in with a file of the host as its memory; its node in the guest."""
        file = {"driver": "file", "filename": str(backing), "locking": "off", "read-only": read_only}
        monitor = self._monitor
        if bytes_per_second:
            limits = {"bps-write": bytes_per_second}
            monitor.execute(
                "object-add", **{"qom-type": "throttle-group", "id": f"t-{serial}", "limits": limits}
            )
            file = {"driver": "throttle", "throttle-group": f"t-{serial}", "file": file}
        monitor.execute(
            "blockdev-add",
            **{"driver": "raw", "node-name": f"n-{serial}", "file": file, "read-only": read_only},
        )
        monitor.execute(
            "device_add",
            driver="usb-storage",
            id=f"d-{serial}",
            bus="usb.0",
            drive=f"n-{serial}",
            serial=serial,
            removable=removable,
        )
        link = f"/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_{serial}-0:0"
        return self.ok(f"udevadm wait --timeout=300 --settle {link}; readlink -f {link}").split()[-1]

    def unplug(self, serial: str) -> None:
        """Pull a stick out; harmless when it is out already."""
        if any(device["device"].startswith(f"d-{serial}") for device in self._usb()):
            self._monitor.execute("device_del", id=f"d-{serial}")
        deadline = time.monotonic() + _LIMIT
        while self._has_node(f"n-{serial}"):
            try:
                self._monitor.execute("blockdev-del", **{"node-name": f"n-{serial}"})
            except Exception:  # it is in use until QEMU has taken the stick away
                assert time.monotonic() < deadline
                time.sleep(0.1)

    @contextmanager
    def adapter(self, serial: str) -> Iterator[Adapter]:
        """A USB serial adapter, plugged in."""
        far, near = socket.socketpair()
        with far:
            with near:
                self._monitor.give(near.fileno(), f"f-{serial}")
            address = {"type": "fd", "data": {"str": f"f-{serial}"}}
            backend = {"type": "socket", "data": {"addr": address, "server": False}}
            self._monitor.execute("chardev-add", id=f"c-{serial}", backend=backend)
            link = f"/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_{serial}-if00-port0"
            adapter = Adapter(serial, far, link)
            self.plug_adapter(adapter)
            yield adapter
            self.unplug_adapter(adapter)

    def plug_adapter(self, adapter: Adapter) -> None:
        """Plug an adapter in, and wait until the guest has it."""
        words = {"id": f"d-{adapter.serial}", "chardev": f"c-{adapter.serial}", "serial": adapter.serial}
        self._monitor.execute("device_add", driver="usb-serial", bus="usb.0", **words)
        self.ok(f"udevadm wait --timeout=300 --settle {adapter.node}")

    def unplug_adapter(self, adapter: Adapter) -> None:
        """Pull an adapter out, and wait until the guest knows."""
        self._monitor.execute("device_del", id=f"d-{adapter.serial}")
        self.ok(f"udevadm wait --removed --timeout=300 --settle {adapter.node}")

    def _has_node(self, name: str) -> bool:
        return any(node["node-name"] == name for node in self._monitor.execute("query-named-block-nodes"))

    def _usb(self) -> list[dict[str, str]]:
        children = self._monitor.execute("qom-list", path="/machine/peripheral")
        return [{"device": child["name"]} for child in children]


@contextmanager
def bench(cache: Path, directory: Path, files: dict[str, Path]) -> Iterator[Bench]:
    """Boot the guest, and end it in the end.

    Args:
        cache: The cache directory.
        directory: An empty one, for disks and the console's record.
        files: What else it finds in /opt, by name.
    """
    built = build(load_recipe(str(HERE / "recipes/flash.toml")), BuildOptions(cache=cache), Quiet())
    kernel, initramfs = built.kernels["seed"].image.path, built.images["initrd"].path
    root, tools, internal = (directory / name for name in ("root.qcow2", "tools.img", "internal.img"))
    snapshot.create_overlay(root, built.images["disk"].path)
    _write_tools(tools, directory, files)
    with internal.open("wb") as file:
        file.truncate(32 * _MIB)
    with ExitStack() as cleanup:
        console, guest_says, guest_hears = pipes()
        qmp, guests_qmp = socket.socketpair()
        command = [qemu_program(), "-accel", "tcg", "-M", "pc", "-m", "768M", "-smp", "1", "-display", "none"]
        command += ["-nodefaults", "-no-user-config", "-no-reboot", "-nic", "none"]
        command += ["-kernel", str(kernel), "-initrd", str(initramfs)]
        command += ["-append", built.recipe.boot.command_line]
        command += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
        command += ["-chardev", f"socket,id=qmp,fd={guests_qmp.fileno()}", "-mon", "chardev=qmp,mode=control"]
        for number, (name, image, kind) in enumerate(
            (("root", root, "qcow2"), ("tools", tools, "raw"), ("internal", internal, "raw"))
        ):
            place = str(image).replace(",", ",,")
            command += ["-drive", f"file={place},format={kind},if=none,id={name},cache=unsafe"]
            command += [
                "-device",
                f"ide-hd,drive={name},serial=IDE-{name},bus=ide.{number // 2},unit={number % 2}",
            ]
        command += ["-device", "qemu-xhci,id=usb,p2=8,p3=8"]
        with (directory / "qemu.stderr").open("wb") as stderr:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                pass_fds=[guests_qmp.fileno()],
                stdin=guest_hears,
                stdout=guest_says,
                stderr=stderr,
            )
        cleanup.callback(process.wait)
        cleanup.callback(process.kill)
        for end in (guest_says, guest_hears, guests_qmp):
            end.close()
        monitor = Monitor(qmp)
        cleanup.callback(monitor.close)
        recorder = Recorder(console, directory / "console.raw", directory / "console.idx")
        cleanup.enter_context(recorder)
        shell = Shell(recorder, _await_prompt(recorder))
        shell.enter(timeout=_LIMIT)
        guest = Bench(shell, monitor, directory)
        label = "/dev/disk/by-label/tools"
        guest.ok(f"udevadm wait --timeout=300 --settle {label}; mount {label} /opt; ldconfig")
        guest.ok("mkdir -p /dev/pts; mount -t devpts devpts /dev/pts")
        guest.ok("ln -s /opt/harness /usr/bin; mkfifo /run/flash.in /run/flash.status")
        guest.ok("PYTHONPATH=/opt/python python3 /opt/serve.py </dev/null >/run/serve.log 2>&1 &")
        yield guest


def _await_prompt(recorder: Recorder) -> int:
    data = b""
    while PROMPT not in data:
        more = recorder.read(len(data), timeout=_LIMIT)
        assert more, data[-2000:].decode(errors="replace")
        data += more
    return len(data)


def _write_tools(path: Path, directory: Path, files: dict[str, Path]) -> None:
    """A disk with the harness, what it needs, and what the tests need."""
    program = b'#!/bin/sh\nPYTHONPATH=/opt/python exec python3 -m harness "$@"\n'
    entries = [Entry("harness", stat.S_IFREG | 0o755, program)]
    sources = [*(ROOT / "harness").rglob("*.py"), *(ROOT / "ci").glob("*.rules"), *(HERE / "guest").iterdir()]
    for file in sources:
        place = file.relative_to(ROOT)
        name = f"python/{place}" if place.parts[0] == "harness" else file.name
        if file.is_file():
            entries.append(Entry(name, stat.S_IFREG | 0o644, file))
    for name, file in _libraries(directory).items():
        entries.append(Entry(f"python/{name}", stat.S_IFREG | 0o644, file))
    entries += [Entry(name, stat.S_IFREG | 0o644, file) for name, file in files.items()]
    parents = {str(parent) for entry in entries for parent in Path(entry.path).parents} - {"."}
    entries += [Entry(parent, stat.S_IFDIR | 0o755) for parent in sorted(parents)]
    size = sum(entry.content.stat().st_size for entry in entries if isinstance(entry.content, Path))
    work = directory / "work"
    work.mkdir()
    wanted = Disk(name="tools", size=f"{(size * 3 // 2 >> 20) + 32}M", label="tools")
    disk.write(wanted, [entries], path, work=work)


def _libraries(directory: Path) -> dict[str, Path]:
    """The files of the Python packages that the harness needs, for the guest's Python."""
    names = _closure(NEEDED)
    if sys.version_info[:2] == GUEST_PYTHON:
        found = {}
        for name in names:
            for file in distribution(name).files or ():
                place = Path(str(file.locate()))
                if ".." not in file.parts and place.is_file() and place.suffix != ".pyc":
                    found[str(file)] = place
        return found
    target = directory / "libraries"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary", ":all:"]
    command += ["--no-deps", "--implementation", "cp", "--python-version", "{}.{}".format(*GUEST_PYTHON)]
    command += ["--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64"]
    subprocess.run(
        [*command, "--target", target, *(f"{name}=={version(name)}" for name in names)], check=True
    )
    return {str(file.relative_to(target)): file for file in target.rglob("*") if file.is_file()}


def _closure(names: tuple[str, ...]) -> list[str]:
    """Distributions, and all that they require without extras."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = None
        for line in requires(name) or ():
            wanted, _, marker = line.partition(";")
            if not marker:
                waiting.append(re.split(r"[^A-Za-z0-9._-]", wanted.strip())[0])
    return list(found)
