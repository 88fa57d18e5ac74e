"""The checksum that POSIX promises on every system: what `cksum` prints."""

from __future__ import annotations

import zlib

# zlib's CRC-32 has the polynomial of POSIX's cksum, but takes bits from the other end.
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def posix_cksum(data: bytes) -> int:
    """Return the first number that `cksum` prints for `data` (POSIX.1-2017, XCU, cksum)."""
    length = len(data).to_bytes((len(data).bit_length() + 7) // 8, "little")
    # The initial value cancels zlib's own inversion before the first byte; POSIX inverts only at the end.
    crc = zlib.crc32((data + length).translate(_REVERSED_BITS), 0xFFFFFFFF)
    return int(f"{crc:032b}"[::-1], 2)
