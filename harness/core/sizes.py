"""Sizes as people write them, in binary units."""

from __future__ import annotations

import re

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """Read "640M", "1G" or "4096" as bytes (binary units).

    Raises:
        ValueError: The text is no size.
    """
    match = re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; write a number with K, M, G or T, such as 640M")
    return int(match[1]) * _UNITS[match[2]]


def format_size(size: float) -> str:
    """Write bytes for people: three digits at the most, binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
