"""Swap space: a header in the first page (union swap_header)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

PAGE = 4096
LEAST = 10 * PAGE  # mkswap makes no smaller one
_MAGIC = b"SWAPSPACE2"


def header(size: int, label: bytes, uuid: UUID) -> bytes:
    """The first page of swap space of some bytes; its label has at most 16 bytes."""
    # The first 1024 bytes are a boot sector's. Then version, last page, number of bad pages, UUID, label.
    known = struct.pack("<III16s16s", 1, size // PAGE - 1, 0, uuid.bytes, label)
    return (bytes(1024) + known).ljust(PAGE - len(_MAGIC), b"\0") + _MAGIC
