"""A machine under QEMU: paused until console and monitor are attached, gone when we are gone."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from harness.console.transport import SocketTransport
from harness.errors import ConfigError, HarnessError, InfraError
from harness.machine import process
from harness.machine.boot_medium import boot_words, firmware_words
from harness.machine.protocol import End, EndCause, ProcessorSample, Usage
from harness.machine.qmp import Monitor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from harness.machine.protocol import MachineSpec

PROGRAM = "qemu-system-x86_64"

_STOP_LIMIT = 10.0  # seconds between asking QEMU to end and killing it
_TEXT_SCREEN = 0xB8000  # VGA text memory: 80x25 cells of character and attribute
_COLUMNS, _ROWS = 80, 25


def qemu_program() -> str:
    """The path of QEMU.

    Raises:
        ConfigError: It is not installed.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise ConfigError(
            f"{PROGRAM} is not installed",
            hint="install it (Debian: apt-get install qemu-system-x86), then see `harness doctor`",
        )
    return program


class QemuMachine:
    """A guest in a QEMU process of its own.

    Console and monitor are socket pairs that QEMU inherits: there is no path or port that two runs
    could share, and both end when QEMU ends.

    Args:
        spec: What the machine is made of.
        directory: Where QEMU's command and last words are written.

    Raises:
        ConfigError: QEMU is not installed.
        InfraError: QEMU does not start.
    """

    def __init__(self, spec: MachineSpec, directory: Path) -> None:
        self._spec = spec
        self._directory = directory
        self._program = qemu_program()
        self.command: tuple[str, ...] = ()
        self._end: End | None = None

    def __enter__(self) -> Self:
        """Start QEMU with its processor stopped, and attach console and monitor."""
        console, qemu_console = socket.socketpair()
        monitor, qemu_monitor = socket.socketpair()
        self.command = self._command(qemu_console.fileno(), qemu_monitor.fileno())
        (self._directory / "qemu.cmd").write_text(_for_people(self.command), encoding="utf-8")
        self._stderr = self._directory / "qemu.stderr"
        with qemu_console, qemu_monitor, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                # setpriv: the kernel kills QEMU when the thread that started it is gone, however it went.
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=[qemu_console.fileno(), qemu_monitor.fileno()],
                start_new_session=True,  # Ctrl-C is for us; we end QEMU ourselves
            )
        self.transport = SocketTransport(console)
        try:
            self._monitor = Monitor(monitor)
            self._meter = process.Meter(self._process.pid, self._processor_thread())
        except BaseException as error:
            self._kill()
            self.transport.close()
            if isinstance(error, InfraError):
                raise self._refusal(error) from error
            raise
        self._sampled = (time.monotonic(), self._meter.read().cpu)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End QEMU and close what was attached."""
        self._kill()
        self.poll()
        self._monitor.close()
        self.transport.close()

    def start(self) -> None:
        """Let the processor run."""
        self._monitor.execute("cont")

    def poll(self) -> End | None:
        """How the machine ended, or None while it runs."""
        if self._end is None and self._process.poll() is not None:
            reason = self._monitor.shutdown_reason()
            if reason in set(EndCause):
                self._end = End(EndCause(reason))
            else:
                self._end = End(EndCause.DIED, self._death())
        return self._end

    @property
    def version(self) -> str:
        """Version of QEMU."""
        return self._monitor.qemu_version

    @property
    def pid(self) -> int:
        """Process number of QEMU."""
        return self._process.pid

    def usage(self) -> Usage:
        """What QEMU has consumed so far; the last known figures once it has ended."""
        return self._meter.read()

    def sample(self) -> ProcessorSample | None:
        """Registers of the boot processor, and what QEMU did since the last look."""
        try:
            registers = self._monitor.human("info registers")
            disks = self._monitor.execute("query-blockstats")
        except InfraError:
            return None
        halted = re.search(r"HLT=(\d)", registers)
        flags = re.search(r"[ER]FL=([0-9a-f]+)", registers)
        privilege = re.search(r"CPL=(\d)", registers)
        if halted is None or flags is None or privilege is None:
            return None
        before, cpu_before = self._sampled
        self._sampled = now, cpu = time.monotonic(), self._meter.read().cpu
        return ProcessorSample(
            halted=halted[1] == "1",
            interrupts=bool(int(flags[1], 16) & 0x200),  # IF is bit 9 of EFLAGS
            privilege=int(privilege[1]),
            cpu_share=(cpu - cpu_before) / max(now - before, 1e-6),
            written=sum(disk["stats"]["wr_bytes"] for disk in disks),
        )

    def screen(self) -> list[str]:
        """The lines of the VGA text screen that are not blank."""
        dump = self._directory / "screen.bin"
        try:
            self._monitor.execute("pmemsave", val=_TEXT_SCREEN, size=_COLUMNS * _ROWS * 2, filename=str(dump))
            cells = dump.read_bytes()[::2]
        except (InfraError, OSError):
            return []
        finally:
            dump.unlink(missing_ok=True)
        text = cells.decode("cp437").replace("\0", " ")
        lines = (text[start : start + _COLUMNS].rstrip() for start in range(0, len(text), _COLUMNS))
        return [line for line in lines if line]

    def screenshot(self, path: Path) -> bool:
        """Save the screen as PNG; whether that worked."""
        try:
            self._monitor.execute("screendump", filename=str(path), format="png")
        except InfraError:
            return False
        return path.is_file()

    def _command(self, console: int, monitor: int) -> tuple[str, ...]:
        spec = self._spec
        command = [self._program, "-S", "-no-user-config", "-nodefaults", "-no-reboot"]
        command += ["-machine", "pc", "-accel", spec.accelerator, "-m", f"{spec.memory >> 20}M"]
        if spec.cpu:
            command += ["-cpu", spec.cpu]
        # The VGA device stays: it is the only witness of what decompressors and firmware say.
        command += ["-display", "none", "-vga", "std", "-nic", "none"]
        command += ["-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console"]
        command += ["-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"]
        command += [*firmware_words(spec.firmware, self._directory), *boot_words(spec.boot)]
        if spec.disk is not None:
            file = str(spec.disk).replace(",", ",,")
            command += ["-drive", f"file={file},format=raw,if=ide,snapshot=on"]
        return tuple(command)

    def _processor_thread(self) -> int:
        return int(self._monitor.execute("query-cpus-fast")[0]["thread-id"])

    def _kill(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def _refusal(self, error: InfraError) -> HarnessError:
        """Why QEMU did not come up: status 1 is its word for a machine that it cannot make."""
        reason = self._last_words() or error.message
        if self._process.returncode == 1 and "allocate memory" not in reason:
            hint = "check --cpu and --memory, and the recipe's table boot"
            return ConfigError(f"QEMU cannot make this machine: {reason}", hint=hint)
        return InfraError(f"QEMU did not start: {reason}", hint="see `harness doctor`")

    def _death(self) -> str:
        status = self._process.returncode
        how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        words = self._last_words()
        return f"{how}: {words}" if words else how

    def _last_words(self) -> str:
        lines = self._stderr.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "; ".join(line.removeprefix(f"{PROGRAM}: ") for line in lines[-3:])


def _for_people(command: Sequence[str]) -> str:
    """The command as it ran, and one to paste that does the same with the console on the terminal."""
    by_hand: list[str] = []
    words = iter(command)
    for word in words:
        if word in {"-chardev", "-mon"}:
            next(words)
        elif word == "-serial":
            by_hand += [word, "stdio"]
            next(words)
        elif word != "-S":
            by_hand.append(word)
    ran, pasted = shlex.join(command), shlex.join(by_hand)
    return f"# What ran; console and monitor are inherited sockets.\n{ran}\n\n# To paste:\n{pasted}\n"
