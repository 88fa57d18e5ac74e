"""`harness run --attach`, `--takeover` and `--on-failure shell` at a real terminal, with real guests."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pexpect
import pytest

from harness.core.outcome import Outcome
from harness.record.reading import RunState, read_run
from harness.record.record import RunDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.image.factory import Build

    Start = Callable[..., pexpect.spawn[str]]

_LIMIT = 300  # seconds for the whole way to the prompt on a loaded host
_PROMPT = r"bash-[0-9.]+# "


@pytest.fixture
def harness(relay: Build, harness_cache: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts `harness run` at a terminal."""
    del relay  # built before the clock runs
    children: list[pexpect.spawn[str]] = []

    def start(*arguments: str) -> pexpect.spawn[str]:
        command = ["-m", "harness", "run", "--runs", str(tmp_path), "--cache", str(harness_cache), *arguments]
        child = pexpect.spawn(
            sys.executable, command, encoding="utf-8", dimensions=(40, 100), timeout=_LIMIT, maxread=65536
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)


def ended(child: pexpect.spawn[str]) -> int | None:
    child.expect(pexpect.EOF)
    child.wait()
    status: int | None = child.exitstatus
    return status


def document_of(runs: Path) -> RunDocument:
    return msgspec.json.decode(next(runs.glob("*/run.json")).read_bytes(), type=RunDocument)


def by_hand(runs: Path) -> str:
    """What a person typed."""
    reading = read_run(next(runs.glob("*/run.json")).parent)
    return "".join(mark.text for mark in reading.typed() if mark.by_hand)


def test_attached_from_the_first_byte_to_the_shell(harness: Start, tmp_path: Path) -> None:
    terminal = harness("--attach")
    terminal.expect_exact("── stage sysa")
    terminal.expect("Linux version 6")
    terminal.send("a")
    terminal.expect_exact("the plan only watches now")
    terminal.expect_exact("── stage kexec")
    terminal.expect_exact("check nonce")
    terminal.send("b")
    terminal.expect_exact("the harness is asking the shell")
    terminal.expect_exact("The guest's bash is yours. Leave it with Ctrl-].")
    terminal.expect(_PROMPT)
    terminal.sendline("stty size; echo $((6 * 7))")
    terminal.expect_exact("40 100\r\n42\r\n")
    terminal.expect(_PROMPT)
    terminal.setwinsize(30, 90)
    terminal.expect_exact("stty rows 30 cols 90")
    terminal.expect(_PROMPT)
    terminal.sendline("stty size; sleep 1000")
    terminal.expect_exact("30 90\r\n")
    terminal.send("\x03")
    terminal.expect(_PROMPT)
    terminal.sendline("sleep 1000")
    terminal.send("\x1d")
    terminal.expect("verdict.*PASS")
    assert ended(terminal) == 0
    document = document_of(tmp_path)
    assert document.taken_over is None, "typing where the plan allows it takes nothing over"
    assert by_hand(tmp_path) == "stty size; echo $((6 * 7))\rstty size; sleep 1000\r\x03sleep 1000\r".replace(
        "\r", "\n"
    )


def test_taking_over_is_said_everywhere_and_a_failed_guest_is_kept(harness: Start, tmp_path: Path) -> None:
    """One guest: its init is a shell, so that the plan fails, and a person works in it before and after."""
    terminal = harness(
        "--takeover", "--on-failure", "shell", "--append", "rdinit=/bin/sh", "--force", "--patience", "0.3"
    )
    terminal.expect(r"\r\n(/ )?# ")
    terminal.send("echo by $((40 + 2)) hand\r")
    terminal.expect_exact("by 42 hand")
    terminal.expect(
        "verdict.*(FAIL|HANG|TIMEOUT).* in stage sysa: taken over by hand in stage sysa at [0-9.]+ s"
    )
    terminal.expect_exact("The guest is as it failed")
    running = document_of(tmp_path)
    assert running.verdict is not None, "the record has the verdict while a person is at the guest"
    assert not running.ended
    terminal.send("\recho still $((1 + 1)) here\r")
    terminal.expect_exact("still 2 here")
    terminal.send("\x1d")
    terminal.expect("by hand  taken over in stage sysa")
    assert ended(terminal) == running.verdict.outcome.exit_code
    document = document_of(tmp_path)
    assert document.verdict == running.verdict
    assert document.taken_over is not None
    assert document.taken_over.stage == "sysa"
    assert "still $((1 + 1)) here" in by_hand(tmp_path)


def test_machine_that_is_gone_is_not_attached_to(harness: Start, tmp_path: Path) -> None:
    terminal = harness("--on-failure", "shell", "--append", "rdinit=/missing", "--force")
    terminal.expect("verdict.*PANIC")
    terminal.expect_exact("nothing left to attach to")
    assert ended(terminal) == Outcome.PANIC.exit_code
    assert document_of(tmp_path).ended


def test_leaving_early_interrupting_and_being_killed(harness: Start, tmp_path: Path) -> None:
    terminal = harness("--attach")
    terminal.expect("Linux version 6")
    terminal.send("\x1d")
    terminal.expect_exact("you have left the console, and the run goes on")
    terminal.send("\x03")
    assert ended(terminal) == Outcome.INTERRUPTED.exit_code
    verdict = document_of(tmp_path).verdict
    assert verdict is not None
    assert verdict.outcome == Outcome.INTERRUPTED


def test_killed_while_attached_leaves_what_was_said_and_typed(harness: Start, tmp_path: Path) -> None:
    terminal = harness("--takeover")
    terminal.expect("Linux version 6")
    terminal.send("a secret")
    deadline = time.monotonic() + 10
    while not by_hand(tmp_path).endswith("secret"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    terminal.kill(signal.SIGKILL)
    terminal.wait()
    reading = read_run(next(tmp_path.glob("*/run.json")).parent)
    assert reading.state == RunState.KILLED
    assert by_hand(tmp_path) == "a secret"
    assert reading.document.taken_over is not None
    assert reading.summary().by_hand
    assert re.search(rb"Linux version 6", reading.raw.read_bytes())


@pytest.mark.parametrize("option", [["--attach"], ["--takeover"], ["--on-failure", "shell"]])
def test_without_a_terminal_nothing_is_built(tmp_path: Path, option: list[str]) -> None:
    command = [sys.executable, "-m", "harness", "run", *option, "--cache", str(tmp_path / "cache")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == Outcome.CONFIG.exit_code
    assert f"{' '.join(option)} needs a terminal, and stdin is none" in done.stderr
    assert not (tmp_path / "cache").exists()
