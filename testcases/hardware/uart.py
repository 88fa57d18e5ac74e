"""An emulated board: QEMU, a serial port that is as slow and as noisy as a bad cable, and a power switch.

The port is a pseudo terminal, as a USB adapter's would be a character device; what passes it is limited to a
speed and loses or doubles bytes, by a seed. The switch is a program that speaks QMP.
"""

from __future__ import annotations

import os
import pty
import select
import socket
import stat
import subprocess
import sys
import time
import tty
from contextlib import ExitStack, contextmanager, suppress
from random import Random
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

import msgspec

from harness.machine.command import firmware_words, qemu_program
from harness.machine.protocol import Firmware

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Asks QEMU over its monitor's socket; as small a program as a lab's own would be.
_SWITCH = """#!{python}
import json, socket, sys
monitor = socket.socket(socket.AF_UNIX)
monitor.connect({path!r})
answers = monitor.makefile("rw")
answers.readline()
WORDS = {{"on": ["cont"], "off": ["stop"], "cycle": ["stop", "system_reset", "cont"]}}
for word in ["qmp_capabilities", *WORDS[sys.argv[1]]]:
    answers.write(json.dumps({{"execute": word}}) + "\\n")
    answers.flush()
    while "event" in (answer := json.loads(answers.readline())):
        pass
    if "error" in answer:
        sys.exit(answer["error"]["desc"])
"""


class Damage:
    """Loses and doubles bytes, one in so many on average, by a seed; only while it is switched on."""

    def __init__(self, seed: int, one_in: float) -> None:
        self._random = Random(seed)  # noqa: S311 - noise must be repeatable
        self._one_in = one_in
        self._next = self._draw()
        self.count = 0

    def _draw(self) -> int:
        return int(self._random.expovariate(1 / self._one_in)) + 1 if self._one_in else sys.maxsize

    def pass_on(self, data: bytes) -> bytes:
        while self._next <= len(data):
            place = self._next - 1
            twice = data[place : place + 1] * self._random.choice((0, 2))
            data = data[:place] + twice + data[place + 1 :]
            self._next += self._draw()
            self.count += 1
        self._next -= len(data)
        return data


class Uart:
    """A serial line between a connected socket and a pseudo terminal.

    Args:
        inner: The machine's end.
        speed: Baud of the line; bytes take their time, in both directions.
        output: One byte in so many of what the machine says is lost or doubled; 0: none.
        typed: The same for what is typed to it.
        unharmed: What the machine says passes unharmed until it has said this.
    """

    def __init__(
        self, inner: socket.socket, speed: int, *, output: float = 0, typed: float = 0, unharmed: bytes = b""
    ) -> None:
        self._inner = inner
        self._speed = speed / 10
        self._awaited = unharmed
        self._said = b""
        self.output, self.typed = Damage(1, output), Damage(2, typed)
        self._stop = Event()
        self._swapping = Lock()
        self._master = -1
        self.plug()
        self._threads = [
            Thread(target=self._say, daemon=True),
            Thread(target=self._hear, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def plug(self) -> None:
        """Plug the adapter in, under whatever name is free."""
        master, slave = pty.openpty()
        tty.setraw(slave)
        self.name = os.ttyname(slave)
        os.close(slave)
        self._master = master

    def unplug(self) -> None:
        """Pull the adapter out: whoever has it open gets an error."""
        with self._swapping:
            master, self._master = self._master, -1
            os.close(master)

    def close(self) -> None:
        self._stop.set()
        self._inner.close()
        for thread in self._threads:
            thread.join()
        if self._master >= 0:
            os.close(self._master)

    def _say(self) -> None:
        """From the machine to the port; as a real line does, it does not wait for who does not listen."""
        began, sent = time.monotonic(), 0
        with suppress(OSError):
            while not self._stop.is_set():
                if not select.select([self._inner], [], [], 0.2)[0]:
                    continue
                data = self._inner.recv(64)
                if not data:
                    return
                now = time.monotonic()
                if began + sent / self._speed < now:
                    began, sent = now, 0
                sent += len(data)
                time.sleep(max(0.0, began + sent / self._speed - now))
                if self._awaited not in self._said:
                    self._said = (self._said + data)[-128:]
                else:
                    data = self.output.pass_on(data)
                with self._swapping, suppress(OSError):
                    if data and self._master >= 0:
                        os.write(self._master, data)

    def _hear(self) -> None:
        """From the port to the machine."""
        while not self._stop.is_set():
            master = self._master
            try:
                if master < 0 or not select.select([master], [], [], 0.05)[0]:
                    continue
                data = os.read(master, 16)
            except (OSError, ValueError):  # nobody has the port open, or the adapter is gone
                time.sleep(0.05)
                continue
            time.sleep(len(data) / self._speed)
            with suppress(OSError):
                self._inner.sendall(self.typed.pass_on(data))


class EmulatedBoard(msgspec.Struct, frozen=True):
    """What a lab knows of it.

    Attributes:
        uart: Its serial line.
        switch: The program that is its power switch.
    """

    uart: Uart
    switch: Path


@contextmanager
def emulated_board(
    directory: Path,
    stick: Path,
    disk: Path | None,
    *,
    firmware: Firmware = Firmware.BIOS,
    speed: int = 115200,
) -> Iterator[EmulatedBoard]:
    """A board without power, whose stick and internal disk have these files' bytes.

    Args:
        directory: An empty one.
        stick: Raw image on the USB stick; written to by nobody.
        disk: Raw image on the internal disk, if there is one; what the board writes is lost.
        firmware: What it starts with.
        speed: Baud of the serial line.
    """
    monitor = directory / "qmp"
    with ExitStack() as cleanup:
        ours, theirs = socket.socketpair()
        command = [qemu_program(), "-S", "-no-shutdown", "-accel", "tcg", "-M", "pc", "-m", "1G"]
        command += ["-nodefaults", "-no-user-config", "-display", "none", "-vga", "std", "-nic", "none"]
        command += ["-chardev", f"socket,id=uart,fd={theirs.fileno()}", "-serial", "chardev:uart"]
        command += ["-qmp", f"unix:{monitor},server=on,wait=off"]
        command += ["-drive", f"file={stick},format=raw,if=none,id=stick,readonly=on"]
        command += ["-device", "qemu-xhci,id=usb", "-device", "usb-storage,bus=usb.0,drive=stick,bootindex=0"]
        if disk is not None:
            drive, device = f"file={disk},format=raw,snapshot=on", list[str]()
            if firmware == Firmware.UEFI:  # leaves IDE off that it does not boot from
                device = ["-device", "ich9-ahci,id=sata", "-device", "ide-hd,bus=sata.0,drive=disk"]
            command += ["-drive", drive + (",if=none,id=disk" if device else ",if=ide"), *device]
        command += firmware_words(firmware, directory)
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=directory,
        )
        cleanup.callback(process.wait)
        cleanup.callback(process.kill)
        theirs.close()
        # Markers are seen or not: what is lost before the shell is there fails a run, and rightly so.
        uart = Uart(ours, speed, output=4000, typed=1000, unharmed=b"bash-5.2# ")
        cleanup.callback(uart.close)
        switch = directory / "switch"
        switch.write_text(_SWITCH.format(python=sys.executable, path=str(monitor)))
        switch.chmod(switch.stat().st_mode | stat.S_IXUSR)
        deadline = time.monotonic() + 60
        while not monitor.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield EmulatedBoard(uart, switch)
