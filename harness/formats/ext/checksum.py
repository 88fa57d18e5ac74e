"""CRC-32C as the kernel's crc32c() computes it.

It lacks the inversions of the usual form at both ends.
"""

from __future__ import annotations

import struct

import google_crc32c

_ALL = 0xFFFFFFFF
START = _ALL  # what the checksum of something begins with


def crc32c(seed: int, data: bytes) -> int:
    """Continue a checksum over some bytes."""
    return int(google_crc32c.extend(seed ^ _ALL, data)) ^ _ALL


def seed_of(filesystem: int, number: int, generation: int = 0) -> int:
    """What the checksums of a file begin with, from those of the filesystem and its inode."""
    return crc32c(filesystem, struct.pack("<II", number, generation))
