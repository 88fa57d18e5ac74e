"""Machines without a guest: a script in a thread plays recorded consoles, and a real bash is the shell."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
from pathlib import Path
from random import Random
from threading import Thread
from typing import TYPE_CHECKING
from unittest.mock import patch

import msgspec

from harness.console.recorder import Recorder
from harness.console.transport import SocketTransport
from harness.machine.protocol import End, EndCause, Machine, MachineRecord, Usage
from harness.stages.plan_file import load_plan
from harness.stages.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from harness.console.lines import Block
    from harness.machine.protocol import ProcessorSample
    from harness.stages.events import Event, Operator
    from harness.stages.plan import Plan
    from harness.stages.verdict import RunResult

    Script = Callable[["Guest"], End | None]

POWERED_OFF = End(EndCause.GUEST_SHUTDOWN)
RESET = End(EndCause.GUEST_RESET)
KILLED = End(EndCause.DIED, "killed by signal 9")

PROMPT = "bash-5.2# "
IMAGES = Path(__file__).parents[2] / "images"
RELAY = load_plan(IMAGES / "plans/relay.toml")
# The line of `logs/good.raw` with which each stage of the relay begins.
BEGINS = {
    "sysa": b"Linux version 6.1",
    "kexec": b"relay: sysa: jumping",
    "sysb": b"Linux version 5.10",
    "switch_root": b"relay: sysb: switching",
    "sysc": b"relay: sysc: up",
    "shell": PROMPT.encode(),
}
_STOP_SECONDS = 100.0
_POLL = 0.02  # seconds between looks of the harness


class Clock:
    """The guest's time: it passes with each look of the harness, whatever the host does, and by hand."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._seconds = 0.0
        self.looks = 0  # how often the harness has looked at its machine

    def read(self) -> float:
        return self._seconds

    def look(self) -> None:
        """The harness looks: on a host that is not busy it does so every `_POLL` seconds."""
        self.looks += 1
        self._seconds += self._rate * _POLL

    def run(self, rate: float) -> None:
        """Go on at another rate; 0 is a guest that gets no processor."""
        self._rate = rate

    def advance(self, seconds: float) -> None:
        self._seconds += seconds


class Guest:
    """What a script is given: the guest's end of the console, and its clock.

    Args:
        console: Connected to the harness.
        clock: The guest's time.
        seed: How output is cut into pieces.
    """

    def __init__(self, console: socket.socket, clock: Clock, seed: int) -> None:
        self.clock = clock
        self.heard: Callable[[], int] | None = None  # the raw offset up to which lines were heard, if known
        self._console = console
        self._said = 0  # bytes up to the end of the last whole line
        self._open = 0  # bytes behind that
        self._random = Random(seed)  # noqa: S311 - tests must be repeatable
        self._stopped, self._stop = os.pipe()

    def say(self, *lines: str) -> None:
        """Print lines as a tty does."""
        self.play("".join(f"{line}\r\n" for line in lines).encode())

    def play(self, data: bytes) -> None:
        """Print bytes, in pieces of all sizes."""
        while data:
            size = self._random.choice((1, 7, 80, 4096, 65536))
            self._send(data[:size])
            data = data[size:]

    def _send(self, data: bytes) -> None:
        self._console.sendall(data)
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            self._said, self._open = self._said + self._open + len(whole) + 1, 0
        self._open += len(rest)

    def wait(self, seconds: float | None = None) -> bool:
        """Do nothing for so long, or for ever; whether the machine was stopped meanwhile."""
        return bool(select.select([self._stopped], [], [], seconds)[0])

    def hear(self) -> bytes:
        """Wait for something typed; b"" when the machine is stopped."""
        ready, _, _ = select.select([self._console.fileno(), self._stopped], [], [])
        return b"" if self._stopped in ready else self._console.recv(65536)

    def settle(self) -> None:
        """Wait until the harness has taken in all that was said, and has looked at the clock after that."""
        while self._is_behind() and not self.wait(0.005):
            pass
        looks = self.clock.looks
        while self.clock.looks < looks + 2 and not self.wait(0.005):
            pass

    def _is_behind(self) -> bool:
        return self._unread() > 0 or (self.heard is not None and self.heard() < self._said)

    def _unread(self) -> int:
        return int.from_bytes(fcntl.ioctl(self._console, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def hurry(self, rate: float = 1000.0) -> None:
        """Let the guest's time fly from now on."""
        self.settle()
        self.clock.run(rate)

    def bash(self, wrappers: Path, *, until: bytes = b"sysrq") -> None:
        """Be a bash, with the programs of a directory first, until a line with `until` is typed.

        That line is not for the bash: it would switch this very host off.
        """
        typed = b""
        with _Bash(wrappers) as bash:
            while True:
                ready, _, _ = select.select([self._console.fileno(), self._stopped, bash.fd], [], [])
                if self._stopped in ready:
                    return
                if bash.fd in ready and not self._pass_on(bash):
                    return
                if self._console.fileno() in ready:
                    typed += self._console.recv(65536)
                    whole, newline, typed = typed.rpartition(b"\n")
                    if until in whole:
                        return
                    bash.write(whole + newline)

    def _pass_on(self, bash: _Bash) -> bool:
        try:
            data = os.read(bash.fd, 65536)
        except OSError:  # Linux reports the end of a pseudo terminal as an I/O error
            return False
        self._send(data)
        return True

    def stop(self) -> None:
        os.write(self._stop, b"x")

    def close(self) -> None:
        os.close(self._stopped)
        os.close(self._stop)


class _Bash:
    """An interactive bash on a pseudo terminal, with the prompt that a root has."""

    def __init__(self, wrappers: Path) -> None:
        self.fd, terminal = pty.openpty()
        environment = {
            "PATH": f"{wrappers}:{os.environ['PATH']}",
            "PS1": PROMPT,
            "TERM": "dumb",
            "LC_ALL": "C",
        }
        self._process = subprocess.Popen(
            ["setsid", "--ctty", "bash", "--norc", "--noprofile", "-i"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment,
            cwd=wrappers,
        )
        os.close(terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)  # hangs up what runs on it
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.fd, data) :]


class Looks(msgspec.Struct):
    """What a machine answers when it is looked at.

    Attributes:
        samples: One after the other, and the last again and again; none: it cannot tell.
        screen: The lines of its text screen.
    """

    samples: Sequence[ProcessorSample] = ()
    screen: Sequence[str] = ()


class FakeMachine(Machine):
    """A machine whose guest is a function in a thread.

    Args:
        script: The guest. What it returns is how the machine ends; None: it runs on in silence.
        rate: Seconds of guest time per second in which the harness looks as often as it means to.
        looks: What the machine shows when it is looked at.
        seed: How the guest's output is cut into pieces.
    """

    command: tuple[str, ...] = ("fake-machine",)

    def __init__(
        self, script: Script, *, rate: float = 1.0, looks: Looks | None = None, seed: int = 0
    ) -> None:
        self._script = script
        self._looks = looks or Looks()
        self._sampled = 0
        self._end: End | None = None
        self._ours, self._theirs = socket.socketpair()
        self.transport = SocketTransport(self._ours)
        self.clock = Clock(rate)
        self.guest = Guest(self._theirs, self.clock, seed)
        self._thread = Thread(target=self._live, name="fake-guest", daemon=True)
        self._started = False
        self.errors: list[BaseException] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.guest.stop()
        self._ours.close()
        if self._started:
            self._thread.join(_STOP_SECONDS)
            assert not self._thread.is_alive(), "the guest's script does not end"
        self._theirs.close()
        self.guest.close()
        if kind is None and self.errors:
            raise self.errors[0]

    def describe(self) -> MachineRecord:
        return MachineRecord("fake", "native", "", 0, "", "")

    def start(self) -> None:
        self._started = True
        self._thread.start()

    def poll(self) -> End | None:
        self.clock.look()
        return self._end

    def usage(self) -> Usage:
        seconds = self.clock.read()
        return Usage(cpu=seconds, guest=seconds)

    def sample(self) -> ProcessorSample | None:
        if not self._looks.samples:
            return None
        self._sampled += 1
        return self._looks.samples[min(self._sampled, len(self._looks.samples)) - 1]

    def screen(self) -> list[str]:
        return list(self._looks.screen)

    def screenshot(self, path: Path) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def _live(self) -> None:
        try:
            end = self._script(self.guest)
        except (BrokenPipeError, ConnectionResetError):
            end = None  # stopped in the middle of a word
        except BaseException as error:  # raised again where the test sees it
            self.errors.append(error)
            end = KILLED
        if end is None:
            self.guest.wait()
        else:
            self._end = end
            self._theirs.shutdown(socket.SHUT_RDWR)


class Audience(msgspec.Struct):
    """A listener that remembers.

    Attributes:
        events: All events so far.
        lines: All lines so far, with their offsets.
        end: Raw offset of the end of the last line.
        on_event: Called with each event.
    """

    events: list[Event] = msgspec.field(default_factory=list)
    lines: list[tuple[str, int]] = msgspec.field(default_factory=list)
    on_event: Callable[[Event], None] | None = None
    end: int = 0

    def event(self, event: Event) -> None:
        self.events.append(event)
        if self.on_event is not None:
            self.on_event(event)

    def heard(self, block: Block) -> None:
        self.lines += [(line.text, line.start) for line in block]
        self.end = block.end


def follow(
    plan: Plan,
    machine: FakeMachine,
    directory: Path,
    *,
    accelerator: str = "tcg",
    facts: Mapping[str, str] | None = None,
    listener: Audience | None = None,
    person: Operator | None = None,
    patience: float = 1.0,
) -> RunResult:
    """Follow one run, looking more often than usual; the console is recorded in `directory`/console.raw."""
    audience = listener or Audience()
    machine.guest.heard = lambda: audience.end
    with (
        patch("harness.stages.observer._POLL", _POLL),
        patch("harness.stages.diagnosis._INTERVAL", 0.01),
        machine,
        Recorder(machine.transport, directory / "console.raw", directory / "console.idx") as recorder,
    ):
        return Runner(
            plan,
            machine,
            recorder,
            accelerator=accelerator,
            facts=facts or {},
            listener=audience,
            person=person,
            patience=patience,
        ).follow()


def recorded(name: str) -> bytes:
    """A console log of a real run of the relay under QEMU; those of failures are shortened."""
    return (Path(__file__).parents[1] / "logs" / f"{name}.raw").read_bytes()


def recorded_until(stage: str) -> bytes:
    """The good run's log up to the line with which a stage begins, that line included."""
    log = recorded("good")
    end = log.find(b"\r\n", log.index(BEGINS[stage]))
    return log[: end + 2] if end >= 0 else log


def relay_without_checks() -> Plan:
    """The relay's plan as far as it is watched only; it ends with the prompt."""
    watched = [
        msgspec.structs.replace(stage, checks=(), produced=(), fetches=())
        for stage in RELAY.stages
        if stage.name in BEGINS
    ]
    return msgspec.structs.replace(RELAY, stages=tuple(watched))


def relay_on_this_host(directory: Path) -> Plan:
    """The relay's plan with checks that work in a directory of this host."""

    def moved(run: str) -> str:
        return run.replace("/tmp/", f"{directory}/").replace("/root/", f"{IMAGES}/relay/")

    stages = [
        msgspec.structs.replace(
            stage,
            checks=tuple(msgspec.structs.replace(check, run=moved(check.run)) for check in stage.checks),
            produced=tuple(map(moved, stage.produced)),
            fetches=tuple(map(moved, stage.fetches)),
        )
        for stage in RELAY.stages
    ]
    return msgspec.structs.replace(RELAY, stages=tuple(stages))


_PROGRAMS = {
    "dmesg": "exit 0",
    "cat": """
if test "$*" = /proc/mounts; then
    echo "proc /proc proc rw 0 0"; echo "/dev/sda / ext4 rw,relatime 0 0"; echo "sysfs /sys sysfs rw 0 0"
else
    exec /bin/cat "$@"
fi""",
    "gcc": r"""
case $* in
--version) printf 'gcc (Debian 12.2.0-14+deb12u1) 12.2.0
Copyright (C) 2022
'; exit;;
-dumpmachine) echo i686-linux-gnu; exit;;
esac
compiler=`command -v cc` && exec "$compiler" "$@"
while test $# -gt 0; do
    case $1 in -o) program=$2; shift;; -DSEED=*) seed=${1#-DSEED=};; esac
    shift
done
if test "$seed"; then word="echo $((seed + 1)).643934567"; else word="exit 42"; fi
printf '#!/bin/sh
%s
' "$word" >"$program"; chmod +x "$program"
""",
}


def programs(directory: Path, **others: str) -> Path:
    """Programs that the shell finds before this host's own, such as a GCC for i686; `others` are added."""
    directory.mkdir(exist_ok=True)
    for name, script in {**_PROGRAMS, **others}.items():
        program = directory / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return directory


def host_facts() -> dict[str, str]:
    """What a recipe would know about the kernel under which the shell runs."""
    return {"expected_second_kernel": os.uname().release, "expected_target": "i686"}
