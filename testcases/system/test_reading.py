"""Records of killed runs, logs through pipes, and replays on a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING

import pytest

from harness.record.reading import RunState, read_run
from testcases.support.typed import typed
from testcases.unit.test_reading import RAW, SYSB, ended, log_of, write_console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


HARNESS = """
import os, sys, time
from pathlib import Path
from testcases.unit.test_reading import *
with RunRecord(Path(sys.argv[1]), "relay", **INPUTS) as record:
    record.event(StageBegan("sysb", 0))
    write_console(record.directory)
    print(record.directory, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_harness(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A run in another process, in stage sysb."""
    command = [sys.executable, "-c", HARNESS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_killed_harness_is_noticed_and_named(other_harness: tuple[subprocess.Popen[str], Path]) -> None:
    process, directory = other_harness
    assert read_run(directory).state == RunState.RUNNING
    process.send_signal(signal.SIGKILL)
    process.wait()
    reading = read_run(directory)
    assert reading.state == RunState.KILLED
    assert reading.ending().startswith("the harness was killed in stage sysb")
    assert "     3.000  sysb up" in log_of(directory)
    assert (reading.summary().state, reading.summary().outcome, reading.summary().stage) == (
        "killed",
        "",
        "sysb",
    )


def test_watch_of_a_killed_run_says_so(other_harness: tuple[subprocess.Popen[str], Path]) -> None:
    process, directory = other_harness
    Timer(1.0, process.kill).start()
    result = typed("watch", str(directory))
    assert result.returncode == 6
    assert "the harness was killed in stage sysb" in result.stderr


def test_log_ends_quietly_when_nobody_listens(tmp_path: Path) -> None:
    directory = ended(tmp_path)
    write_console(directory, b"many lines\r\n" * 100_000)
    for mode in ([], ["--raw"]):
        command = [sys.executable, "-m", "harness", "log", str(directory), *mode]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(100)
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 0


def test_raw_log_has_exactly_the_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "log", str(ended(tmp_path)), "--raw"]
    for arguments, wanted in {
        (): RAW,
        ("--since", "sysb"): RAW[SYSB:],
        ("--until", "sysa"): RAW[:SYSB],
    }.items():
        assert subprocess.run([*command, *arguments], capture_output=True, check=True).stdout == wanted


class Terminal:
    """`harness replay` in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        command = [sys.executable, "-m", "harness", "replay", *arguments]
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.shown = b""

    def see(self, words: bytes, seconds: float = 30.0) -> bool:
        """Whether the words come within so many seconds."""
        deadline = time.monotonic() + seconds
        while words not in self.shown and (left := deadline - time.monotonic()) > 0:
            if select.select([self._master], [], [], left)[0]:
                try:
                    self.shown += os.read(self._master, 4096)
                except OSError:  # the other side is closed
                    break
        return words in self.shown

    def press(self, key: bytes) -> None:
        os.write(self._master, key)


@pytest.fixture
def replay(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []
    directory = ended(tmp_path)

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(str(directory), *arguments))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal._master)


def test_replay_plays_to_the_end_in_its_time(replay: Callable[..., Terminal]) -> None:
    terminal = replay("--speed", "5")
    assert terminal.see(b"boot one")
    began = time.monotonic()
    assert terminal.see(b"gcc says \xc3\xa4")
    assert time.monotonic() - began >= 3.25 / 5 - 0.2
    assert terminal.see(b"PASS in stage sysb: all is well")
    assert terminal.process.wait(10) == 0


def test_replay_cuts_silences_and_begins_where_asked(replay: Callable[..., Terminal]) -> None:
    terminal = replay("--idle-limit", "0", "--since", "sysb")
    assert terminal.see(b"PASS in stage sysb", 20)
    assert b"boot" not in terminal.shown


def test_replay_pauses_and_leaves(replay: Callable[..., Terminal]) -> None:
    terminal = replay("--speed", "0.5")
    assert terminal.see(b"boot one")
    terminal.press(b" ")
    assert not terminal.see(b"boot two", 4.0)  # due after 3 s
    terminal.press(b" ")
    assert terminal.see(b"boot two")
    terminal.press(b"q")
    assert terminal.process.wait(10) == 0
    assert not terminal.see(b"gcc", 0.5)
