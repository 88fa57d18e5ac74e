"""What a receiver at another speed makes of text, bit by bit, is known as garbage; real consoles are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.machine.board.port import ENOUGH, WINDOW, is_garbled, strange

LOGS = sorted(Path(__file__).parents[1].glob("logs/*.raw"))
TEXT = (
    b"\r\n[    0.000000] Linux version 6.1.0-50-686 (debian-kernel@lists.debian.org) #1 SMP\r\n"
    b"[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x000000003ffdffff] usable\r\n"
    b"[    0.012345] Console: colour VGA+ 80x25\r\n"
) * 8
SPEEDS = (9600, 19200, 38400, 57600, 115200)


def at_another_speed(text: bytes, spoken: int, heard: int) -> tuple[bytes, int]:
    """What an 8N1 receiver makes of bytes sent back to back, and how many framing errors it counts."""
    bits = [bit for byte in text for bit in (0, *((byte >> place) & 1 for place in range(8)), 1)]
    level = [1, *bits, *[1] * 40]
    step = spoken / heard  # sender's bits per receiver's bit
    found, errors, at = bytearray(), 0, 0.0
    while at < len(bits):
        if level[int(at)]:  # idle: the receiver looks for the falling edge 16 times a bit
            at += step / 16
            continue
        samples = [level[min(len(level) - 1, int(at + step * (place + 0.5)))] for place in range(10)]
        found.append(sum(bit << place for place, bit in enumerate(samples[1:9])))
        errors += not samples[9]
        at += step * 9.5
    return bytes(found), errors


def test_the_simulated_line_carries_text_at_the_same_speed() -> None:
    assert at_another_speed(TEXT, 9600, 9600) == (TEXT, 0)


@pytest.mark.parametrize("spoken", SPEEDS)
@pytest.mark.parametrize("heard", SPEEDS)
def test_every_pair_of_common_speeds_is_told_apart(spoken: int, heard: int) -> None:
    data, _ = at_another_speed(TEXT, spoken, heard)
    # The pattern alone must do: USB adapters and pseudo terminals count no framing errors.
    assert is_garbled(data[-WINDOW:]) == (spoken != heard), (strange(data[-WINDOW:]), len(data))


def test_framing_errors_that_the_port_counted_are_enough() -> None:
    data, errors = at_another_speed(TEXT, 9600, 115200)
    assert errors > len(data) // 10
    assert is_garbled(b"plain text " * 20, 20)
    assert not is_garbled(b"plain text " * 20, 1)  # a plug that was moved


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_no_part_of_a_real_console_is_garbage(log: Path) -> None:
    data = log.read_bytes()
    windows = [data[at : at + WINDOW] for at in range(0, len(data), WINDOW // 2)]
    assert not any(map(is_garbled, windows))


@given(st.binary(max_size=ENOUGH - 1))
def test_little_proves_nothing(data: bytes) -> None:
    assert not is_garbled(data, framing_errors=1000)


@given(
    st.text(
        st.characters(min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\x7f"), min_size=60
    )
)
def test_text_in_any_language_is_none(text: str) -> None:
    assert not is_garbled(text.encode())
