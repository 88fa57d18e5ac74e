from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.sizes import format_size, parse_size

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("640M", 640 << 20),
        ("1G", 1 << 30),
        ("1GB", 1 << 30),
        ("1GiB", 1 << 30),
        (" 2T ", 2 << 40),
        ("0", 0),
        ("12B", 12),
    ],
)
def test_sizes_are_read_in_binary_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "banana", "-1M", "1.5G", "1 G", "M", "1m", "1P", "0x10", "1e9", "1G\n1"]
)
def test_what_is_no_size_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(repr(text))} is no size; .*640M"):
        parse_size(text)


@given(st.integers(0, 10**12), st.sampled_from(sorted(UNITS)), st.sampled_from(["", "B", "iB"]))
def test_every_number_with_a_unit_is_a_size(count: int, unit: str, suffix: str) -> None:
    assert parse_size(f"{count}{unit}{suffix}") == count * UNITS[unit]


@given(st.text())
def test_any_other_text_is_only_a_value_error(text: str) -> None:
    try:
        size = parse_size(text)
    except ValueError as error:
        assert "is no size" in str(error)  # noqa: PT017 - either is right
    else:
        assert size >= 0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (102_380, "100 KiB"),
        (1_023_590, "1.0 MiB"),
        (1536, "1.5 KiB"),
        (640 << 20, "640 MiB"),
        (1 << 30, "1.0 GiB"),
        (1023 << 30, "1.0 TiB"),
        (5 << 40, "5.0 TiB"),
    ],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 99 << 40))
def test_what_is_written_is_short_and_close(size: int) -> None:
    text = format_size(size)
    number, unit = text.split()
    assert len(number.replace(".", "")) <= 3
    factor = 1 if unit == "B" else UNITS[unit[0]]
    assert float(number) * factor == pytest.approx(size, rel=0.06)
