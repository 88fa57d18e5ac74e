"""Good logs stay good: whatever a healthy guest prints, every plan that comes with the project passes it."""

from __future__ import annotations

import re
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.outcome import Outcome
from harness.stages.plan_file import load_plan, plan_files
from harness.stages.replay import replay
from testcases.support.machines import recorded
from testcases.support.profiles import fewer
from testcases.unit.test_failures import BEGINS, ENDS
from testcases.unit.test_replay import interrupted

if TYPE_CHECKING:
    from pathlib import Path

    from harness.stages.verdict import RunResult

OFF = "[   19.005000] reboot: Power down\r\n"
PROMPT = "bash-5.2# "
BENCH = {
    "initrd": "bench: initrd: up under 6.1.0-50-amd64",
    "bench": "bench: initrd: switching to /dev/vda",
    "shell": PROMPT,
}


def compiler(random: Random) -> list[str]:
    words = ("error", "failed", "panic", "oops", "abort", "hang", "segfault", "timeout", "BUG", "FAILED")
    lines = []
    for number in range(60):
        word = random.choice(words)
        lines += [
            f"gcc -O2 -DHAVE_{word.upper()}=1 -c {word}_{number}.c -o {word}_{number}.o",
            f"{word}.c:{number}:7: warning: '{word}' may be used uninitialized [-Wmaybe-uninitialized]",
            f"{word}.c:{number}:9: error: unknown type name '{word}_t'",
            f"collect2: error: ld returned {number % 3} exit status",
        ]
    return [*lines, "xgcc: internal compiler error: Killed (program cc1)", "compilation terminated."]


def configure(random: Random) -> list[str]:
    tests = ("fatal errors", "memory that is out", "kernel panic on overflow", "init that failed to execute")
    answers = ("yes", "no", "failed", "error", "not found", "(cached) no")
    return [
        *(f"checking for {random.choice(tests)}... {random.choice(answers)}" for _ in range(40)),
        "checking whether /dev/full works... cat: write error: No space left on device",
        "./configure: line 2917: /lib/cpp: No such file or directory",
        "conftest.c:12: error: 'FAILED' undeclared (first use in this function)",
        "configure: error: in `/tmp/sub': cannot run C compiled programs.",
        "configure: WARNING: continuing without; see `config.log' for more details",
        "./configure: line 3001: 4242 Segmentation fault      ./conftest$ac_exeext",
    ]


def keep_going(_: Random) -> list[str]:
    return [
        "make[2]: *** [Makefile:12: failed.o] Error 1",
        "make[2]: Target 'all' not remade because of errors.",
        "make[1]: *** [Makefile:500: all-recursive] Error 2 (ignored)",
        "make: [Makefile:7: check] Error 1 (ignored)",
        "make: Leaving directory '/usr/src/x'",
    ]


def suites(random: Random) -> list[str]:
    names = ("panic", "oom", "init", "kexec", "reboot", "nospace")
    return [
        *(f"{random.choice(('PASS', 'FAIL', 'XFAIL', 'ERROR'))}: test_{name}" for name in names * 5),
        "FAILED: 3 of 120 tests (3 expected)",
        "tests/kernel-panic.test: FAILED",
        "x86/test/M2: FAILED as it should",
        "not ok 3 - Kernel panic - not syncing # TODO known failure",
        "FAILED (failures=2, errors=1)",
        "  Out of memory: 0 of 12",
    ]


def git_log(_: Random) -> list[str]:
    return [
        "commit 0123456789abcdef0123456789abcdef01234567",
        "    Fix: Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
        "    Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
        '    VFS: Cannot open root device "sda" or unknown-block(0,0): error -6',
        "    Out of memory: Killed process 117 (cc1) total-vm:93184kB",
        "    Subprocess error 1",
        " +> git log ",
        "    kaem: Subprocess error 1",
        "    ABORTING HARD",
        "-    Failed to execute /init (error -8)",
        '+Revert "Initramfs unpacking failed: write error"',
        "error: Your local changes to the following files would be overwritten by merge:",
        "fatal: not a git repository (or any of the parent directories): .git",
    ]


def sources(_: Random) -> list[str]:
    return [
        '	pr_emerg("Kernel panic - not syncing: %s\\n", buf);',
        " * Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000000",
        '	panic("VFS: Unable to mount root fs on %s", b);',
        '	fputs("Subprocess error ", stderr); fputs("ABORTING HARD\\n", stderr);',
        '	pr_err("Out of memory: Killed process %d (%s)", 1, "init");',
        "    echo 'Timeout reached for internet to become accessible'",
        "    PS1='[TRAP] \\w # '",
        '    echo "Bootstrapping completed."',
        "kernel/panic.c:Kernel panic - not syncing: %s",
        "/* BUG: unable to handle page fault for address: 0000 */",
        "/* Oops: 0000 [#1] SMP */",
    ]


def dmesg(random: Random) -> list[str]:
    start = 3 + random.random()
    texts = (
        "EXT4-fs (sda): error count since last fsck: 3",
        "ata1.00: failed command: READ DMA",
        "systemd-fsck[1]: failed to connect, ignoring",
        "traps: conftest[42] trap invalid opcode ip:8048 sp:ff error:0 in conftest[8048000+1000]",
        "conftest[43]: segfault at 0 ip 08048 sp ff error 4 in conftest[8048000+1000]",
        "watchdog: BUG: soft lockup detection is off",
        "init: process 'oom-killer' is off",
        'Unknown kernel command line parameters "panic", will be passed to user space.',
        "Initramfs unpacking failed: junk at the end of compressed archive",
    )
    return [f"[{start + number / 7:12.6f}] {text}" for number, text in enumerate(texts)]


def manual(_: Random) -> list[str]:
    return [
        "NAME", "       errno - numbers of the last error", "ERRORS",
        "       ENOSPC No space left on device (POSIX.1-2001).",
        "       ENOMEM Out of memory: the process may be killed.",
        "       Out of memory and no killable processes: see oom(7).",
        "ENOSPC 28 No space left on device",
        "reboot: Restarting system is what the kernel says then.",
    ]  # fmt: skip


def checksums(_: Random) -> list[str]:
    return [
        *(f"package-{number}.tar.xz: OK" for number in range(20)),
        "mirror-1.tar.gz: FAILED",
        "sha256sum: WARNING: 1 computed checksum did NOT match",
        "trying the next mirror", "mirror-1.tar.gz: OK",
        "SHA256SUMS: no file was FAILED", "ERROR: no hda writes!",
    ]  # fmt: skip


def terminals(random: Random) -> list[str]:
    bars = "".join(f"\r{number:3}% error {'#' * (number // 4)}" for number in range(0, 101, 5))
    return [
        bars,
        "\x1b[1;31merror:\x1b[0m \x1b[Kfailed \x1b]0;panic\x07again",
        "Größe: 2 µs, «error» …",
        "\0" * 50 + "NUL bytes" + "\0",
        bytes(random.randrange(128, 256) for _ in range(400)).decode("latin-1"),
        "x" * 80,
        "y" * 160,
        "z" * 300_000,
    ]


def transcripts(_: Random) -> list[str]:
    return [
        "    / # ls", "$ bash-5.1# make", "> bash-5.2# exit", "Type `/ # ` to go on",
        "/usr/src # make", "bash-5.1# make -k check",
        "login: root", "Password: ", "(gdb) run", "%%% Linux version 2.4.37 (me@here) is not this one",
        "cat /proc/version", "and it printed Linux version 6.1.0-50-686",
    ]  # fmt: skip


NOISE = {
    maker.__name__: maker
    for maker in (
        compiler, configure, keep_going, suites, git_log, sources, dmesg, manual, checksums, terminals,
        transcripts,
    )
}  # fmt: skip
PLANS = {name: load_plan(path) for name, path in plan_files().items()}
# The lines with which the stages of each plan begin, and how it ends.
LOGS = {plan: ([*BEGINS[plan].values()], ENDS[plan]) for plan in ENDS}
FIRMWARE = [*LOGS["builder-hex0"][0][:2]]
FIWIX = "kexec-fiwix: jumping to trampoline.."
LINUX = BEGINS["live-bootstrap-steps"]["linux"]
LOGS |= {
    "live-bootstrap-sysa-builder-hex0": (
        [*FIRMWARE, " +> pkg=mes ", FIWIX],
        "Kernel bootstrapping successful.\r\n",
    ),
    "live-bootstrap-sysabc-builder-hex0": (
        [*FIRMWARE, " +> pkg=mes ", FIWIX, LINUX, "Switching into sysc"],
        ENDS["live-bootstrap-sysabc"],
    ),
    "live-bootstrap-steps-builder-hex0": (
        [*FIRMWARE, " +> ./script-generator /steps/manifest ", FIWIX, LINUX],
        ENDS["live-bootstrap-steps"],
    ),
    "live-bootstrap-steps-builder-hex0-instrumented": (
        [*FIRMWARE, " +> ./script-generator /steps/manifest ", FIWIX, LINUX, "instrumented# "],
        ENDS["live-bootstrap-steps"],
    ),
    "live-bootstrap-steps-instrumented": (
        [*BEGINS["live-bootstrap-steps"].values(), "instrumented# "],
        ENDS["live-bootstrap-steps"],
    ),
    "genesis": (
        [
            *BEGINS["genesis"].values(),
            *(f"= genesis: package {name}" for name in ("make-4.4.1", "bash-5.2.15", "coreutils-9.1")),
            "bash-5.2# ",
        ],
        OFF,
    ),
    "genesis-builder-hex0": (
        [
            FIRMWARE[0],
            "= genesis: the seed makes itself",
            "= genesis: mc makes the compiler of C0",
            "= genesis: c0 makes cc",
            "= genesis: cc makes the tools",
        ],
        "Build finished.\r\n",
    ),
}


def noisy(plan: str, noise: bytes, wrapped: bytes | None = None) -> bytes:
    """A good log of a plan, with noise in each of its stages.

    Args:
        plan: Its name.
        noise: Whole lines.
        wrapped: The same where a firmware wraps lines, if that is another: there is no kernel that speaks.
    """
    if plan == "relay":
        good = recorded("good").removesuffix(PROMPT.encode())
        for line in re.findall(rb"(?m)^relay: .*\r\n|^\[    0\.000000\] Linux version .*\r\n", good):
            good = good.replace(line, line + noise)
        return good + PROMPT.encode() + b"\r\n" + noise + OFF.encode()
    if plan == "bench":
        lines = [f"{line}\r\n".encode() for line in BENCH.values()]
        return b"".join(line + noise for line in lines) + OFF.encode()
    begins, end = LOGS[plan]
    firmware = noise if wrapped is None else wrapped
    assert len(begins) <= len(PLANS[plan].stages)
    stages = zip(begins, PLANS[plan].stages, strict=False)  # those that a log cannot show come last
    log = (f"{line}\r\n".encode() + (firmware if stage.wraps else noise) for line, stage in stages)
    return b"".join(log) + end.encode()


def made(name: str, seed: int = 0) -> bytes:
    lines = NOISE[name](Random(seed))  # noqa: S311 - tests must be repeatable
    return "".join(f"{line}\r\n" for line in lines).encode()


def check(plan: str, log: bytes, directory: Path) -> RunResult:
    path = directory / "console.log"
    path.write_bytes(log)
    result = replay(PLANS[plan], path).result
    assert result.verdict.outcome == Outcome.PASS, result.verdict.reason
    assert {stage.status for stage in result.stages} == {"passed"}
    return result


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", NOISE)
def test_good_log_stays_good(tmp_path: Path, plan: str, name: str) -> None:
    quiet = check(plan, noisy(plan, b""), tmp_path)
    result = check(plan, noisy(plan, made(name), b"" if name == "dmesg" else None), tmp_path)
    assert result.facts == quiet.facts


@fewer(5)
@given(
    # builder-hex0 runs before any kernel that could interrupt it
    st.sampled_from([plan for plan in PLANS if "builder-hex0" not in plan]),
    st.sampled_from(sorted(NOISE)),
    st.integers(0, 2**32),
)
def test_kernel_in_the_middle_of_the_lines_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, plan: str, name: str, seed: int
) -> None:
    log = interrupted(noisy(plan, made(name, seed)), seed, 60)
    check(plan, log, tmp_path_factory.mktemp("log"))


CUT = (
    "it said: {}Kernel panic - not syncing: a quoted one",
    "it said: {}Kernel panic{} - not syncing: a quoted one",
    "and it printed {}Linux version 6.1.0-50-686",
    "the script says {}ABORTING HARD",
    "bash-5.2# {}make -k check",
    "bash-5.2# {}{}make -k check",
    "/usr/src # {}make",
    "Type {}bash-5.2# ",
    "Type {}/ # ",
    "echo {}relay: sysb: failed: nothing",
)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("line", CUT)
def test_kernel_before_words_that_would_be_a_marker_or_a_prompt(tmp_path: Path, plan: str, line: str) -> None:
    log = noisy(plan, line.replace("{}", "{MESSAGE}").encode() + b"\r\ngoes on\r\n")
    messages = (b"[%12.6f] random: crng init done\r\n" % (900 + number) for number in count())
    check(plan, re.sub(rb"{MESSAGE}", lambda _: next(messages), log), tmp_path)


def test_failure_behind_a_line_without_an_end_explains_what_follows(tmp_path: Path) -> None:
    """The program was killed in the middle of its line: that the kernel says so looks like a cut."""
    path = tmp_path / "console.log"
    noise = b"loading... [  900.000001] insmod[7]: segfault at 0\r\nrelay: sysc: failed: no root\r\n"
    path.write_bytes(noisy("relay", b"").removesuffix(OFF.encode()) + noise)
    verdict = replay(PLANS["relay"], path).result.verdict
    assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, "/init of sysc gave up: no root")


@pytest.mark.parametrize("size", [300_000, pytest.param(5_000_000, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("plan", PLANS)
def test_long_log_stays_good(tmp_path: Path, plan: str, size: int) -> None:
    names = [name for name in NOISE if name != "terminals"]
    noise, wrapped = (
        b"".join(made(name, seed) for seed in range(2) for name in names if name != unheard)
        for unheard in ("", "dmesg")
    )
    times = size // len(noise) // 3 + 1
    log = noisy(plan, noise * times, wrapped * times)
    assert len(log) > size
    check(plan, log, tmp_path)


def test_noise_would_fail_a_plan_that_looks_at_words(tmp_path: Path) -> None:
    """The corpus is worth something only if careless patterns fall for it."""
    for words in (
        "Kernel panic - not syncing",
        "Subprocess error",
        "Out of memory",
        "No space left",
        "FAILED$",
    ):
        hits = [
            name
            for name in NOISE
            if re.search(words.encode(), made(name), re.MULTILINE)
            or re.search(words.replace("$", "\r").encode(), made(name))
        ]
        assert hits, words
    assert len(NOISE) >= 10
    path = tmp_path / "console.log"
    path.write_bytes(noisy("relay", b"Kernel panic - not syncing: a real one\r\n"))
    assert replay(PLANS["relay"], path).result.verdict.outcome == Outcome.PANIC
