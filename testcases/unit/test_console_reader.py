"""A prompt is what a console pauses behind, and not what goes on at once; a flood is taken in mouthfuls."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from harness.console.watcher import Marker
from harness.stages import console_reader
from harness.stages.console_reader import ConsoleReader
from testcases.support.machines import Audience

if TYPE_CHECKING:
    from collections.abc import Callable

PROMPT = Marker("prompt", re.compile(r"^bash-[\d.]+# $"), prompt=True)
MESSAGE = b"[%12.6f] random: crng init done\r\n"


class Tape:
    """A console that has said so much and no more."""

    raw = Path("console.raw")
    failure = None

    def __init__(self) -> None:
        self.said = b""
        self.ended = False

    @property
    def size(self) -> int:
        return len(self.said)

    def read(self, offset: int, limit: int = 65536, timeout: float = 0.0) -> bytes:  # noqa: ARG002
        return self.said[offset : offset + limit]


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes, float], bool]:
    """Let the console say something and be silent for so long; whether a prompt stands there then."""
    clock, tape = Clock(), Tape()
    monkeypatch.setattr(console_reader, "time", clock)
    ear = ConsoleReader(tape, Audience())

    def hear(words: bytes, silence: float) -> bool:
        tape.said += words
        while ear.hear(0.0):
            while ear.watcher.pending:
                ear.watcher.look((PROMPT,))
        ear.has_paused(0.02)
        clock.seconds += silence
        return ear.has_paused(0.02) and ear.watcher.match_tail((PROMPT,)) is not None

    return hear


def test_prompt_is_one_when_the_console_pauses(listen: Callable[[bytes, float], bool]) -> None:
    assert not listen(b"hello\r\nbash-5.2# ", 0.01)
    assert listen(b"", 0.01)


def test_what_goes_on_at_once_is_no_prompt(listen: Callable[[bytes, float], bool]) -> None:
    assert not listen(b"bash-5.2# ", 0.01)
    assert not listen(b"make", 1.0)
    assert not listen(b"\r\nbash-5.2# " + MESSAGE % 1.0, 0.01)
    assert not listen(b"make", 1.0)
    assert not listen(MESSAGE % 1.1, 1.0)
    assert listen(b"\r\nbash-5.2# ", 1.0)


def test_kernel_does_not_end_the_pause(listen: Callable[[bytes, float], bool]) -> None:
    assert not listen(b"bash-5.2# ", 0.008)
    assert not listen(MESSAGE % 1.0, 0.008)
    assert listen(MESSAGE % 1.1, 0.008)


def test_prompt_in_the_middle_of_the_kernels_words(listen: Callable[[bytes, float], bool]) -> None:
    assert not listen(b"bash-5.2# " + (MESSAGE % 1.0)[:25], 0.01)
    assert listen(b"", 0.01)


def test_at_the_end_of_the_console_nothing_is_waited_for() -> None:
    tape = Tape()
    tape.said = b"x\r\nbash-5.2# "
    ear = ConsoleReader(tape, Audience())
    ear.hear(0.0)
    ear.watcher.look((PROMPT,))
    assert not ear.has_paused(1000)
    tape.ended = True
    assert ear.has_paused(1000)
    tape.said += b"exit"
    assert not ear.has_paused(1000)
    assert not ear.is_over


@pytest.mark.parametrize(("more", "together"), [(3, 4), (100, 14)])
def test_what_comes_within_a_moment_is_looked_at_together(
    monkeypatch: pytest.MonkeyPatch, more: int, together: int
) -> None:
    line = b"x" * 8999 + b"\n"
    clock, tape, audience = Clock(), Tape(), Audience()

    def go_on(seconds: float) -> None:
        clock.seconds += seconds
        tape.said += more * line

    monkeypatch.setattr(console_reader, "time", SimpleNamespace(sleep=go_on))
    ear = ConsoleReader(tape, audience)
    tape.said = line
    ear.hear(0.2)
    assert len(audience.lines) == together
    assert clock.seconds < 100.05
    ear.watcher.look(())
    took = clock.seconds
    ear.hear(0.0)
    assert clock.seconds == took
