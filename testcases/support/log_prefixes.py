"""What programs put before the lines of a log that they pass on, as functions of a line and its number."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LEVELS = ("INFO", "DEBUG", "WARNING", "ERROR")


def _level(number: int) -> str:
    return _LEVELS[number % len(_LEVELS)]


def _clock(number: int) -> str:
    return f"{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}"


def _escaped(line: str) -> str:
    return json.dumps(line)[1:-1]


def _short(number: int) -> str:
    return f"{number // 60}m{number % 60}s" if number >= 60 else f"{number}s"


PREFIXES: dict[str, Callable[[int, str], str]] = {
    "GitHub": lambda n, line: f"2026-02-14T{_clock(n)}.1234567Z {line}",
    "GitHub's program": lambda n, line: f"build (x86, musl)\tRun make\t2026-02-14T{_clock(n)}.12Z {line}",
    "GitLab": lambda n, line: f"2024-05-22T{_clock(n)}.962646Z 0{n % 3}{'OE'[n % 2]} {line}",
    "Jenkins": lambda n, line: f"[2024-01-01T{_clock(n)}.123Z] {line}",
    "Jenkins, two spaces": lambda n, line: f"{_clock(n)}  {line}",
    "LAVA": lambda n, line: (
        f'- {{"dt": "2021-05-21T{_clock(n)}.1", "lvl": "target", "msg": "{_escaped(line)}"}}'
    ),
    "ts": lambda n, line: f"Feb {n % 28 + 1:2} {_clock(n)} {line}",
    "ts -s": lambda n, line: f"{_clock(n)} {line}",
    "ts -i %.s": lambda n, line: f"{n / 1000:.6f} {line}",
    "dmesg -T": lambda n, line: f"[Mon Nov 30 {_clock(n)} 2026] {line}",
    "grabserial": lambda n, line: f"[{n / 10:.6f} 0.100000] {line}",
    "grabserial, like a kernel": lambda n, line: f"[{n / 10:12.6f}] {line}",
    "hours and minutes": lambda n, line: f"{n // 60:02}h{n % 60:02}m00s | {line}",
    "elapsed": lambda n, line: f"{_short(n)} {line}",
    "elapsed, with hours later": lambda n, line: f"[{'1:' if n > 300 else ''}{_clock(n)[3:]}] {line}",
    "since the start": lambda n, line: f"+{n / 10:.1f}s {line}",
    "seconds since 1970": lambda n, line: f"{1700000000 + n}.{n:06} {line}",
    "of another country": lambda n, line: f"11/30/2026 {_clock(n)} PM {line}",
    "glog": lambda n, line: f"{_level(n)[0]}1130 {_clock(n)}.9 {n:7} init_comm.go:{n}] [console] {line}",
    "logging": lambda n, line: f"2026-11-30 {_clock(n)},{n % 1000:03} {_level(n):<8} console:{n}: {line}",
    "Avocado": lambda n, line: f"2020-01-01 {_clock(n)},123 __init__         L{n:04} DEBUG| {line}",
    "op-test": lambda n, line: (
        f"2021-06-27 {_clock(n)},{n % 1000:03}:op-test.common.OpTestHMC:write:DEBUG:{line}"
    ),
    "hypervisor": lambda _, line: f"[guest0/uart0] {line}",
    "Go test": lambda n, line: f"    qemu.go:{n}: {_clock(n)} serial: {line}",
    "journald, with programs": lambda n, line: (
        f"Nov 30 {_clock(n)} host {'kernel' if '] ' in line else 'relay[7]'}: {line}"
    ),
    "code of Markdown": lambda _, line: f"`{line}`",
    "syslog of RFC 5424": lambda n, line: f"<13>1 2026-11-30T{_clock(n)}.003Z host app {n} ID47 - {line}",
    "logcat": lambda n, line: f"11-30 {_clock(n)}.123  1234  5678 I console : {line}",
    "functions": lambda n, line: f"{('read', 'write', 'poll', 'select', 'loop', 'main')[n % 6]}(): {line}",
    "columns": lambda n, line: f'{_clock(n)},"{_escaped(line)}"',
    "level": lambda n, line: f"{_level(n)}: {line}",
    "level in brackets": lambda n, line: f"[{_level(n)}] {line}",
    "syslog": lambda n, line: f"Nov 30 {_clock(n)} host qemu[{n % 9 + 1234}]: {line}",
    "journald": lambda n, line: f"Nov 30 {_clock(n)} my-host.lan kernel: {line}",
    "container": lambda _, line: f"linux_1  | {line}",
    "container in colours": lambda _, line: f"\x1b[36mlinux_1  | \x1b[0m{line}",
    "container's log": lambda n, line: (
        f'{{"log":"{_escaped(line)}\\r\\n","stream":"stdout","time":"2024-01-01T{_clock(n)}.{n}Z"}}'
    ),
    "containers of a pod": lambda n, line: f"[pod/vm-{n % 3}/serial] {line}",
    "foreman": lambda n, line: f"{_clock(n)} web.1  | {line}",
    "BuildKit": lambda n, line: f"#12 {n / 1000:.3f} {line}",
    "bar": lambda _, line: f"│ {line}",
    "YAML": lambda _, line: f'  - "{_escaped(line)}"',
    "YAML, not escaped": lambda _, line: f"- '{line}'",
    "bytes of Python": lambda _, line: f"console: b'{line}\\r\\n'",
    "mail": lambda _, line: f"> {line}".rstrip(),
    "mail of mail": lambda _, line: f">> {line}",
    "code": lambda _, line: f"    {line}",
    "tab": lambda _, line: f"\t{line}",
    "diff": lambda _, line: f"+{line}",
    "cat -n": lambda n, line: f"{n:6}\t{line}",
    "grep -n": lambda n, line: f"{n}:{line}",
    "grep -n, with the file": lambda n, line: f"console.log:{n}:{line}",
    "hash": lambda n, line: f"{Random(n).randbytes(4).hex()} {line}",  # noqa: S311 - must be repeatable
    "GitHub, container, grabserial": lambda n, line: (
        f"2026-02-14T{_clock(n)}.1Z linux_1  | [{n / 10:.6f} 0.1] {line}"
    ),
    "mail, time, level": lambda n, line: f"> 2026-02-14T{_clock(n)}Z [{_level(n)}] {line}",
}


def prefixed(kind: str, log: bytes) -> bytes:
    """The log with a prefix before each of its lines."""
    lines = log.decode("utf-8", "surrogateescape").split("\n")
    end = lines[-1:] if lines[-1] == "" else []  # nothing stands behind the last newline
    ends = ["\r" * (len(line) - len(line.rstrip("\r"))) for line in lines]
    passed_on = [
        PREFIXES[kind](number, line.rstrip("\r")) + returns
        for number, (line, returns) in enumerate(zip(lines[: len(lines) - len(end)], ends, strict=False))
    ]
    return "\n".join([*passed_on, *end]).encode("utf-8", "surrogateescape")
