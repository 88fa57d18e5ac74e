"""What watching a console costs: a long log through a pseudo terminal, against bare reading and pexpect.

    .venv/bin/python benchmarks/console.py [--rounds N] [--size MB] [--bulk]

Every contestant is a process of its own that reads what another process writes. "harness" is the path of a
run: transport, recorder, observer with watcher, and the run record as listener. Memory is the peak of the
process and, in brackets, how much of it came after its imports. `--bulk` boots a guest instead, and measures
how fast files leave it. Prints Markdown tables of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tty
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.console.transport import Transport
    from harness.stages.plan import Plan

MB = 1_000_000
BLOCK = 65536
RELAY = Path(__file__).resolve().parents[1] / "images/plans/relay.toml"
DONE = "watched to the end"

# What live-bootstrap and stage0 print when they move on or fail, over all their versions.
LIVE_BOOTSTRAP = r"""
Run /init as init process
^ \+> \./bootstrap-seeds/POSIX/(x86|AMD64)/kaem-optional-seed
^ \+> \./(x86|AMD64)/bin/kaem --verbose --strict --file
^(x86|AMD64)/bin/\S+: (OK|FAILED)$
^ \+> exec \./\S+/bin/kaem .*after\.kaem
^Wanted:   (?P<wanted>[0-9a-f]{64})$
^Received: (?P<received>[0-9a-f]{64})$
^(\S+): FAILED$
sha256sum: WARNING: \d+ (of \d+ )?computed checksums? did NOT match
^(/\S+): No such file or directory$
^(\S+) does not exist!$
^ \+> pkg=(\S+) $
^(\S+): beginning build using script (\S+)$
^(\S+): (getting sources|unpacking source|preparing source|configuring source|compiling source)\.$
^(\S+): (install to fakeroot|postprocess binaries|creating package|cleaning up|installing package)\.$
^(\S+): checksumming created package\.$
^(\S+): build successful$
^(\S+)_(\d+)\.tar\.bz2: (OK|FAILED)$
^(\S+): no checksum stored!$
^(\S+): installing prebuilt package\.$
^(\S+): uninstalling\.$
^Subprocess error( \d+)?$
^ABORTING HARD$
^Cannot cd into (\S+)!$
^Creating sysb (rootfs|initramfs)$
^Loading kernel \+ sysb initramfs using kexec$
^kexecing into sysb$
^Installing packages into sys[bc]$
^Mounting sysc$
^Copying data into sysc$
^Switching into sysc$
Creating partition table
What disk would you like
^Fiwix ext2 initrd created successfully\.$
^kexec-fiwix: jumping to trampoline\.\.
Fiwix v\S+ for i386
^kexec_linux:
Timeout reached for (internet|disk) to become accessible
^Bootstrapping completed\.$
\[TRAP\] .* #
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=100, help="MB of the long log")
    parser.add_argument("--bulk", action="store_true", help="files out of a guest instead")
    parser.add_argument("--watch", nargs=3, metavar=("NAME", "MB", "LOG"), help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=3, metavar=("HOW", "BYTES", "LOG"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bulk:
        measure_bulk(options.rounds)
    elif options.write:
        how, size, log = options.write
        WRITERS[how](sys.stdout.fileno(), int(size), Path(log).read_bytes())
    elif options.watch:
        name, size, log = options.watch
        print(json.dumps(CONTESTANTS[name](int(float(size) * MB), log)))
    else:
        with tempfile.TemporaryDirectory() as directory:
            log = Path(directory, "log")
            log.write_bytes(make_log(4 * MB))
            compare(options.rounds, options.size, log)


def compare(rounds: int, size: int, log: Path) -> None:
    plan: list[tuple[str, float]] = [
        ("read only", size),
        ("harness, relay", size),
        ("harness, live-bootstrap", size),
    ]
    plan += [("pexpect tuned", size), ("pexpect default", 0.125), ("pexpect default", 0.25)]
    plan += [("harness, relay", length) for length in (25, 50, 200) if length != size]
    plan += [("harness, serial port", 2)]
    results: dict[tuple[str, float], list[dict[str, Any]]] = {case: [] for case in plan}
    for _ in range(rounds):
        for case in plan:
            command = [sys.executable, __file__, "--watch", case[0], str(case[1]), str(log)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results[case].append(json.loads(answer))
    print(f"Medians of {rounds}.\n")
    print("| watcher | MB | MB/s | MB per CPU-second | memory, MB |\n|---|---|---|---|---|")
    for (name, length), taken in results.items():
        wall, cpu, peak, more = (median(taken, key) for key in ("wall", "cpu", "peak", "more"))
        print(f"| {name} | {length} | {length / wall:.3g} | {length / cpu:.3g} | {peak:.0f} (+{more:.0f}) |")
    print("\n| marker acted on after | median, ms | 99 %, ms | worst, ms |\n|---|---|---|---|")
    for name in ("latency, flood", "latency, quiet", "latency, serial port"):
        command = [sys.executable, __file__, "--watch", name, "20", str(log)]
        delays = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        middle, rare = statistics.median(delays), statistics.quantiles(delays, n=100)[98]
        print(f"| {name[9:]} ({len(delays)}) | {middle:.1f} | {rare:.1f} | {max(delays):.1f} |")


def median(taken: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(result[key] for result in taken))


# The log.


def make_log(size: int) -> bytes:
    """What a build prints: the same for the same size."""
    random = Random(20)  # noqa: S311 - the same every time
    out = bytearray()
    seconds = 1.0
    while len(out) < size:
        seconds += random.expovariate(100)
        name = f"{random.choice(('gcc', 'libgcc', 'mpfr', 'musl', 'perl', 'bash'))}-{random.randrange(12)}"
        word = f"{random.choice(WORDS)}_{random.choice(WORDS)}"
        kernel = f"[{seconds:12.6f}] {random.choice(KERNEL)}\r\n"
        line = random.choices(
            (
                f"gcc -DHAVE_CONFIG_H -I. -I../../{name} -O2 -g0 -Wall -c -o {word}.o ../{name}/{word}.c\r\n",
                f"checking for {word}... {random.choice(('yes', 'no', '(cached) yes', 'error: none'))}\r\n",
                f"../{name}/{word}.c:{random.randrange(999)}:7: warning: unused '{word}' [-Wunused]\r\n",
                f"make[2]: Entering directory '/tmp/{name}/build/{word}'\r\n",
                f"../{name}/{word}.c: In function \u2018{word}\u2019:\r\n",
                f"\x1b[01m\x1b[K{word}.c:\x1b[m\x1b[K \x1b[01;35m\x1b[Kwarning: \x1b[m\x1b[Kfailed\r\n",
                f"{word}: 10%\r{word}: 50%\r{word}: 100%\r\n",
                f"libtool: link: ar cru .libs/{word}.a {word}.o {word}_panic.o\r\r\n",
                f"{name}: compiling source.\r\n",
                kernel,
                f"PASS: tests/{kernel}{word}\r\n",
                "".join(random.choices("0123456789abcdef", k=600)) + "\r\n",
            ),
            (5000, 1500, 600, 500, 15, 40, 15, 100, 10, 200, 2, 10),
        )
        out += line[0].encode()
    return bytes(out)


WORDS = (
    "string",
    "memory",
    "kernel",
    "panic",
    "error",
    "table",
    "parse",
    "index",
    "reader",
    "socket",
    "regex",
)
KERNEL = (
    "random: crng init done",
    "EXT4-fs (sda): mounted filesystem with ordered data mode",
    "clocksource: Switched to clocksource tsc",
    "process '/usr/bin/conftest' started with executable stack",
)


# Who writes: the guest's side.


def flood(out: int, size: int, log: bytes) -> None:
    """Write as fast as the other side reads."""
    while size > 0:
        for start in range(0, min(len(log), size), BLOCK):
            write_all(out, log[start : start + BLOCK])
        size -= len(log)


def flood_with_marks(out: int, size: int, log: bytes) -> None:
    """A mark in each block of lines."""
    lines = log.splitlines(keepends=True)
    while size > 0:
        block = b"".join(lines[:2000])
        lines = lines[2000:] + lines[:2000]
        write_all(out, block)
        write_all(out, mark())
        size -= len(block)


def quiet_with_marks(out: int, size: int, log: bytes) -> None:
    """A mark now and then."""
    del size, log
    for number in range(200):
        time.sleep(0.005 + number % 10 / 200)
        write_all(out, mark())


def serial_port(out: int, size: int, log: bytes, *, marks: bool = False) -> None:
    """Single bytes at 0.4 MB/s, as an emulated serial port hands them over."""
    began, sent = time.monotonic(), 0
    for line in log.splitlines(keepends=True):
        for byte in mark() if marks and sent % 50 == 0 else line:
            os.write(out, bytes((byte,)))
            sent += 1
            while sent > (time.monotonic() - began) * 400_000:
                pass
        if sent > size:
            return


def write_all(out: int, data: bytes) -> None:
    while data:
        data = data[os.write(out, data) :]


def mark() -> bytes:
    return b"MARK %d\r\n" % time.monotonic_ns()


WRITERS: dict[str, Callable[[int, int, bytes], None]] = {
    "flood": flood,
    "flood with marks": flood_with_marks,
    "quiet with marks": quiet_with_marks,
    "serial port": serial_port,
    "serial port with marks": lambda out, size, log: serial_port(out, min(size, 2 * MB), log, marks=True),
}


def begin(how: str, size: int, log: str, terminal: int) -> subprocess.Popen[bytes]:
    """Start a process that writes to a terminal or socket."""
    command = [sys.executable, __file__, "--write", how, str(size), log]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=terminal)


def raw_terminal() -> tuple[int, int]:
    """Both ends of a pseudo terminal that changes nothing, like those that QEMU makes."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    return ours, theirs


# Who watches: each returns what it took.


class Measured:
    """Takes processor and wall seconds and peak memory of this process, from now to `result`."""

    def __init__(self) -> None:
        self._wall = time.monotonic()
        self._before = resource.getrusage(resource.RUSAGE_SELF)

    def result(self) -> dict[str, float]:
        after, before = resource.getrusage(resource.RUSAGE_SELF), self._before
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        peak, more = after.ru_maxrss / 1e3, (after.ru_maxrss - before.ru_maxrss) / 1e3
        return {"wall": time.monotonic() - self._wall, "cpu": cpu, "peak": peak, "more": more}


def read_only(size: int, log: str) -> dict[str, float]:
    ours, theirs = raw_terminal()
    measured = Measured()
    with begin("flood", size, log, theirs):
        os.close(theirs)
        try:
            while os.read(ours, BLOCK):
                pass
        except OSError:  # the end of a pseudo terminal
            return measured.result()
    return measured.result()


def pexpect_tuned(size: int, log: str) -> dict[str, float]:
    return with_pexpect(size, log, maxread=BLOCK, searchwindowsize=2000)


def pexpect_default(size: int, log: str) -> dict[str, float]:
    return with_pexpect(size, log)


def with_pexpect(size: int, log: str, **options: int) -> dict[str, float]:
    import pexpect

    # What its users write instead of ^ and $, which `re` searches slowly in long texts.
    patterns = [re.sub(r"\$$", r"\r", re.sub(r"^\^", r"\n", text)).encode() for text in markers(relay())]
    ours, theirs = raw_terminal()
    from pexpect.fdpexpect import fdspawn

    child = fdspawn(ours, timeout=600, **options)  # type: ignore[arg-type]
    measured = Measured()
    with begin("flood", size, log, theirs):
        os.close(theirs)
        expected = child.compile_pattern_list([*patterns, pexpect.EOF])
        while child.expect_list(expected) < len(patterns):
            pass
        return measured.result()


def relay() -> Plan:
    """The relay's plan as one stage that looks for everything in it at once."""
    import msgspec

    from harness.stages.plan_file import load_plan

    plan = load_plan(RELAY)
    patterns = [note for stage in plan.stages for note in (*stage.notes, stage.begins) if note]
    watched = msgspec.structs.replace(plan.stages[0], notes=tuple(patterns), budget=3600, silence=3600)
    failures = tuple(msgspec.structs.replace(failure, stages=()) for failure in plan.failures)
    return msgspec.structs.replace(plan, stages=(watched,), failures=failures)


def live_bootstrap() -> Plan:
    import msgspec

    plan = relay()
    watched = msgspec.structs.replace(plan.stages[0], notes=tuple(LIVE_BOOTSTRAP.strip("\n").splitlines()))
    return msgspec.structs.replace(plan, stages=(watched,))


def markers(plan: Plan) -> list[str]:
    return [*plan.stages[0].notes, *(failure.pattern for failure in plan.failures if not failure.screen)]


class Machine:
    """As much of a machine as an observer looks at: its end is that of the writing process."""

    def __init__(self, how: str, size: int, log: str, terminal: int) -> None:
        self._arguments = (how, size, log, terminal)

    def start(self) -> None:
        self._process = begin(*self._arguments)
        os.close(self._arguments[3])

    def poll(self) -> Any:
        from harness.machine.protocol import End, EndCause

        return None if self._process.poll() is None else End(EndCause.GUEST_SHUTDOWN)

    def usage(self) -> Any:
        from harness.machine.protocol import Usage

        return Usage(cpu=0.0, guest=time.monotonic())


def with_harness(plan: Plan, how: str, size: int, log: str, on_event: Any = None) -> dict[str, float]:
    """Follow a plan with all that a run has but QEMU."""
    from harness.console.recorder import Recorder
    from harness.console.transport import PtyTransport, pipes
    from harness.core.outcome import Outcome
    from harness.record.record import RunRecord
    from harness.stages.events import Audience
    from harness.stages.runner import Runner

    transport: Transport
    if how.startswith("serial"):
        transport, guest_says, _ = pipes()
        terminal = os.dup(guest_says.fileno())  # closed where the guest begins
        guest_says.close()
    else:
        ours, terminal = raw_terminal()
        transport = PtyTransport(ours)
    inputs = {"recipe": "", "plan": "", "recipe_sha256": "", "plan_sha256": ""}
    with tempfile.TemporaryDirectory() as directory, RunRecord(Path(directory), "run", **inputs) as record:
        measured = Measured()
        raw, index = record.directory / "console.raw", record.directory / "console.idx"
        with Recorder(transport, raw, index) as recorder:
            record.watch(recorder)
            machine: Any = Machine(how, size, log, terminal)
            listeners: list[Any] = [record, *([on_event] if on_event else [])]
            audience = Audience(listeners)
            runner = Runner(plan, machine, recorder, accelerator="tcg", facts={}, listener=audience)
            verdict = runner.follow().verdict
        assert verdict.outcome == Outcome.PASS, verdict
        assert raw.stat().st_size >= min(size, MB) or on_event
        return measured.result()


class Stopwatch:
    """Takes the time from a mark to its event."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    def event(self, event: Any) -> None:
        if getattr(event, "text", "").startswith("MARK "):
            self.delays.append((time.monotonic_ns() - int(event.text.split()[1])) / 1e6)

    def heard(self, block: Any) -> None:
        pass


def latency(how: str) -> Callable[[int, str], list[float]]:
    def measure(size: int, log: str) -> list[float]:
        import msgspec

        plan, watch = relay(), Stopwatch()
        stage = msgspec.structs.replace(plan.stages[0], notes=(*plan.stages[0].notes, r"^MARK \d+$"))
        with_harness(msgspec.structs.replace(plan, stages=(stage,)), how, size, log, watch)
        return watch.delays

    return measure


def measure_bulk(rounds: int) -> None:
    """Fetch files from a guest under TCG through its port and over its console."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import msgspec

    from harness.console import bulk
    from harness.core import paths
    from testcases.boot.bulk_guest import guest_with_port

    print("| way | MB | MB/s |\n|---|---|---|")
    with (
        tempfile.TemporaryDirectory() as directory,
        guest_with_port(paths.cache_root(), Path(directory)) as (shell, port),
        Path(directory, "file").open("wb") as out,
    ):
        for name, size in (("port alone", 128), ("port, with the guest's md5sum", 128), ("console", 1)):
            shell.run(f"head -c {size}000000 /dev/urandom >/root/file", timeout=600)
            rates = []
            for _ in range(rounds):
                began = time.monotonic()
                if name == "port alone":
                    described = bulk._described(shell, "/root/file", 600)[0]  # noqa: SLF001
                    expected = msgspec.structs.replace(described, checksum="", kind="")
                    began = time.monotonic()
                    bulk._through_port(shell, "/root/file", out, expected, 600, port=port)  # noqa: SLF001
                else:
                    fast = port if name.startswith("port") else None
                    bulk.fetch(shell, "/root/file", out, timeout=600, port=fast)
                rates.append(size / (time.monotonic() - began))
            print(f"| {name} | {size} | {statistics.median(rates):.2f} |")


CONTESTANTS: dict[str, Callable[[int, str], Any]] = {
    "read only": read_only,
    "harness, relay": lambda size, log: with_harness(relay(), "flood", size, log),
    "harness, live-bootstrap": lambda size, log: with_harness(live_bootstrap(), "flood", size, log),
    "harness, serial port": lambda size, log: with_harness(relay(), "serial port", size, log),
    "pexpect tuned": pexpect_tuned,
    "pexpect default": pexpect_default,
    "latency, flood": latency("flood with marks"),
    "latency, quiet": latency("quiet with marks"),
    "latency, serial port": latency("serial port with marks"),
}

if __name__ == "__main__":
    main()
