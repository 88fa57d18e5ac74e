"""A guest in a QEMU process, with its console and monitor."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from harness.console.transport import pipes
from harness.core.architecture import DEFAULT, load_architecture
from harness.core.errors import ConfigError, HarnessError, InfraError
from harness.machine import inspection, process, snapshot
from harness.machine.command import Ends, command_words, console_links, for_people, qemu_program
from harness.machine.network.qemu_args import ANSWERER
from harness.machine.protocol import End, EndCause, Machine, MachineKind, MachineRecord, Network
from harness.machine.spec import DirectBoot, MachineSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import FileIO
    from pathlib import Path

    from harness.machine.network.dns import Connection, Names, Question
    from harness.machine.protocol import ProcessorSample, Usage

MEMORY = "memory.zst"  # in a directory that holds a saved machine
DISK = "disk.qcow2"  # there, and in that of a run

_STOP_LIMIT = 10.0  # seconds between asking QEMU to end and killing it
_UNLIMITED = 1 << 40  # bytes per second: QEMU saves at 128 MiB/s unless it is told otherwise
_POLL = 0.01  # seconds between looks at how far QEMU is with saving or loading


class QemuMachine(Machine):
    """A guest in a QEMU process of its own.

    Monitor and bulk port are socket pairs that QEMU inherits, and the console two pipes: there is no path or
    port that two runs could share, and all end when QEMU ends.

    Args:
        spec: What the machine is made of.
        directory: Where QEMU's command and last words are written, and the disk's changes while it runs.
        saved: A directory that `save` has filled, to go on from; of a machine with the same spec.
        http: Where on the host's loopback a restricted network's HTTP is answered; 0 for nowhere.
        asked: Called with each name that a guest on a restricted network asks for, and each connection that
            it begins, in another thread.
    """

    def __init__(
        self,
        spec: MachineSpec,
        directory: Path,
        *,
        saved: Path | None = None,
        http: int = 0,
        asked: Callable[[Question | Connection], None] = lambda _: None,
    ) -> None:
        self._spec = spec
        self._http = http
        self._asked = asked
        self._names: Names | None = None
        self._directory = directory
        self._saved = saved
        self._loading: snapshot.Loading | None = None
        self._overlay = directory / DISK
        self._program = qemu_program(spec.architecture)
        self._exits = load_architecture(spec.architecture).qemu.exits
        self._end: End | None = None

    def __enter__(self) -> Self:
        """Start QEMU with its processor stopped, and attach console and monitor."""
        self._prepare_disk()
        self.transport, qemu_said, qemu_typed = pipes()
        monitor, qemu_monitor = socket.socketpair()
        self.bulk, qemu_bulk = socket.socketpair() if self._spec.bulk else (None, None)
        restricted = self._spec.network == Network.RESTRICTED
        names, qemu_names = socket.socketpair() if restricted else (None, None)
        theirs: list[FileIO | socket.socket] = [qemu_said, qemu_typed, qemu_monitor]
        theirs += [end for end in (qemu_bulk, qemu_names) if end is not None]
        ends = Ends(
            qemu_said.fileno(),
            qemu_typed.fileno(),
            qemu_monitor.fileno(),
            qemu_bulk.fileno() if qemu_bulk else None,
            qemu_names.fileno() if qemu_names else None,
        )
        self.command = command_words(
            self._program, self._spec, ends, self._directory, self._overlay, http=self._http
        )
        inherited = [end.fileno() for end in theirs]
        if self._saved is not None:
            self._loading = snapshot.Loading(self._saved / MEMORY)
            inherited.append(self._loading.pipe)
            self.command += ("-incoming", f"fd:{self._loading.pipe}")
        links = ExitStack()
        with ExitStack() as started:
            for end in theirs:
                started.enter_context(end)
            try:
                links.enter_context(console_links(self._directory, ends))
                self._process = self._start(inherited)
            except OSError as error:
                self._overlay.unlink(missing_ok=True)
                raise InfraError(
                    f"cannot start QEMU, whose files are in {self._directory}: {error.strerror}",
                    hint="look at the space on the disk, and whether setpriv (package util-linux) is there",
                ) from error
        if self._loading is not None:
            self._loading.close()
        from harness.machine.qmp import Monitor  # and asyncio, which takes some time, while QEMU starts

        if names is not None:
            from harness.machine.network.dns import Names  # few guests have a network

            self._names = Names(names, ANSWERER, self._asked).__enter__()
        try:
            self._monitor = Monitor(monitor)
            links.close()  # it has opened them
            thread = int(self._monitor.execute("query-cpus-fast")[0]["thread-id"])
            self._meter = process.Meter(self._process.pid, thread)
        except BaseException as error:
            links.close()
            self._kill()
            self._detach()
            if isinstance(error, InfraError):
                raise self._refusal(error) from error
            raise
        self._sampled = (time.monotonic(), self._meter.read().cpu)
        return self

    def _start(self, inherited: Sequence[int]) -> subprocess.Popen[bytes]:
        shown = for_people(self.command, self._spec.disk)
        (self._directory / "qemu.cmd").write_text(shown, encoding="utf-8")
        self._stderr = self._directory / "qemu.stderr"
        with self._stderr.open("wb") as stderr:
            return subprocess.Popen(
                # setpriv: the kernel kills QEMU when the thread that started it is gone, however it went.
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=inherited,
                start_new_session=True,  # Ctrl-C is for us; we end QEMU ourselves
            )

    def __exit__(self, *_: object) -> None:
        """End QEMU and close what was attached."""
        self._kill()
        self.poll()
        self._monitor.close()
        self._detach()

    def start(self) -> None:
        """Let the processor run, once QEMU has taken in what was saved, if anything was."""
        if self._loading is not None:
            self._await_loaded(self._loading)
            self._loading = None
        self._monitor.execute("cont")

    def pause(self) -> None:
        """Stop the processor; `start` lets it go on."""
        self._monitor.execute("stop")

    def save(self, directory: Path) -> None:
        """Save memory, devices and what was written to the disk, while paused: they belong together."""
        self._monitor.execute("migrate-set-parameters", **{"max-bandwidth": _UNLIMITED})
        with snapshot.saving(directory / MEMORY) as pipe:
            try:
                self._monitor.give(pipe, "memory")
                self._monitor.execute("migrate", uri="fd:memory")
                self._await_saved()
            except BaseException:  # Ctrl-C too: QEMU would hold the stream open for ever
                with suppress(InfraError):
                    self._monitor.execute("migrate_cancel")
                with suppress(InfraError):
                    self._monitor.execute("closefd", fdname="memory")
                raise
        if self._spec.disk is not None:
            snapshot.copy_overlay(self._overlay, directory / DISK)

    def _await_saved(self) -> None:
        while (state := self._monitor.execute("query-migrate"))["status"] != "completed":
            if state["status"] in {"failed", "cancelled"}:
                why = state.get("error-desc", state["status"])
                raise InfraError(f"QEMU did not save the machine: {why}", hint="look at qemu.stderr")
            time.sleep(_POLL)

    def poll(self) -> End | None:
        """How the machine ended, or None while it runs.

        Raises:
            InfraError: It stands still, because the host had no space for what its disk was to hold.
        """
        if self._end is None and self._process.poll() is not None:
            reason = self._monitor.shutdown_reason()
            if reason is None and self._process.returncode == 0 and self._exits:
                reason = EndCause.GUEST_SHUTDOWN
            if reason in set(EndCause):
                self._end = End(EndCause(reason))
            else:
                self._end = End(EndCause.DIED, self._death())
        elif self._end is None and (said := self._monitor.disk_failure()):
            hint = "free some space, or choose another directory with --runs DIR"
            raise InfraError(f"the machine's disk cannot be written to {self._overlay}: {said}", hint=hint)
        return self._end

    @property
    def snapshots(self) -> Self:
        """It saves itself."""
        return self

    def describe(self) -> MachineRecord:
        """What it is, for the record."""
        spec = self._spec
        return MachineRecord(
            kind=MachineKind.QEMU,
            accelerator=spec.accelerator,
            cpu=spec.cpu,
            memory=spec.memory,
            command_line=spec.boot.command_line,
            medium=spec.boot.medium,
            firmware=spec.firmware,
            network=spec.network,
            unpacked=isinstance(spec.boot, DirectBoot) and spec.boot.unpacked,
            qemu=self._monitor.qemu_version,
        )

    @property
    def pid(self) -> int:
        """Process number of QEMU."""
        return self._process.pid

    def usage(self) -> Usage:
        """What QEMU has consumed so far; the last known figures once it has ended."""
        return self._meter.read()

    def sample(self) -> ProcessorSample | None:
        """Registers of the boot processor, and what QEMU did since the last look."""
        before, cpu_before = self._sampled
        self._sampled = now, cpu = time.monotonic(), self._meter.read().cpu
        return inspection.sample(self._monitor, (cpu - cpu_before) / max(now - before, 1e-6))

    def screen(self) -> list[str]:
        """The lines of the VGA text screen that are not blank."""
        if self._spec.architecture != DEFAULT:
            return []  # only a PC has such a screen
        return inspection.screen(self._monitor, self._directory)

    def screenshot(self, path: Path) -> bool:
        """Save the screen as PNG; whether that worked."""
        try:
            self._monitor.execute("screendump", filename=str(path), format="png")
        except InfraError:
            return False
        return path.is_file()

    def _prepare_disk(self) -> None:
        disk = self._spec.disk
        if disk is not None and self._saved is not None:
            snapshot.adopt_overlay(self._saved / DISK, self._overlay, disk.absolute())
        elif disk is not None:
            snapshot.create_overlay(self._overlay, disk.absolute())

    def _await_loaded(self, loading: snapshot.Loading) -> None:
        try:
            while self._monitor.execute("query-status")["status"] == "inmigrate":
                time.sleep(_POLL)
        except InfraError as error:
            self._kill()
            raise self._not_loaded(loading, error) from error

    def _detach(self) -> None:
        self.transport.close()
        if self._names is not None:
            self._names.__exit__(None, None, None)
        if self.bulk is not None:
            self.bulk.close()

    def _kill(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._overlay.unlink(missing_ok=True)

    def _refusal(self, error: InfraError) -> HarnessError:
        """Why QEMU did not come up: status 1 is its word for a machine that it cannot make."""
        if self._loading is not None:
            return self._not_loaded(self._loading, error)
        reason = self._last_words() or error.message
        if self._process.returncode == 1 and "allocate memory" not in reason:
            hint = "check --cpu and --memory, and the recipe's table boot"
            return ConfigError(f"QEMU cannot make this machine: {reason}", hint=hint)
        return InfraError(f"QEMU did not start: {reason}", hint="see `harness doctor`")

    def _not_loaded(self, loading: snapshot.Loading, error: InfraError) -> InfraError:
        reason = loading.failure or self._last_words() or error.message
        hint = "remove the checkpoint with `harness checkpoint rm`, and save it anew"
        return InfraError(f"QEMU cannot go on from what was saved: {reason}", hint=hint)

    def _death(self) -> str:
        status = self._process.returncode
        how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        words = self._last_words()
        return f"{how}: {words}" if words else how

    def _last_words(self) -> str:
        lines = self._stderr.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "; ".join(line.removeprefix(f"{self._program.rpartition('/')[2]}: ") for line in lines[-3:])
