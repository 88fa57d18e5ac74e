"""`harness shell`: the run, and then the guest's bash on the user's own terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pexpect
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.image.factory import Build

_LIMIT = 300  # seconds for the whole way to the prompt on a loaded host


@pytest.fixture
def terminal(relay: Build, harness_cache: Path, tmp_path: Path) -> Iterator[pexpect.spawn[str]]:
    """A terminal in which `harness shell` has come to the guest's prompt."""
    del relay  # built before the clock runs
    arguments = ["-m", "harness", "shell", "--runs", str(tmp_path), "--cache", str(harness_cache)]
    child = pexpect.spawn(sys.executable, arguments, encoding="utf-8", dimensions=(50, 120), timeout=_LIMIT)
    child.expect_exact("Leave it with Ctrl-].")
    child.expect(r"bash-[0-9.]+# ")
    yield child
    child.close(force=True)


def test_guest_answers_until_it_is_left(terminal: pexpect.spawn[str], relay: Build, tmp_path: Path) -> None:
    terminal.sendline("echo $((6 * 7)); uname -r")
    terminal.expect(r"\r\n42\r\n")
    terminal.expect_exact(relay.kernels["second"].image.version)
    terminal.sendline("sleep 1000")
    terminal.send("\x1d")
    terminal.expect("verdict.*PASS")
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 0
    typed = next(tmp_path.glob("*/events.jsonl")).read_text()
    assert "6 * 7" in typed or "* 7" in typed


@pytest.mark.thorough
def test_guest_may_be_powered_off_by_hand(terminal: pexpect.spawn[str]) -> None:
    terminal.sendline("echo o > /proc/sysrq-trigger")
    terminal.expect("verdict.*PASS")
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 0
