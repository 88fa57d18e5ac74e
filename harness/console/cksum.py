"""The checksum that POSIX promises on every system: what `cksum` prints."""

from __future__ import annotations

import zlib

# zlib's CRC-32 has the polynomial of POSIX's cksum, but takes bits from the other end.
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Cksum:
    """Takes data piece by piece, as the classes of hashlib do."""

    def __init__(self) -> None:
        self.size = 0
        # The initial value cancels zlib's own inversion before the first byte; POSIX inverts only at the end.
        self._crc = 0xFFFFFFFF

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self.size += len(data)
        self._crc = zlib.crc32(data.translate(_REVERSED_BITS), self._crc)

    def hexdigest(self) -> str:
        """The first number that `cksum` prints for all data so far (POSIX.1-2017, XCU, cksum)."""
        length = self.size.to_bytes((self.size.bit_length() + 7) // 8, "little")
        return str(int(f"{zlib.crc32(length.translate(_REVERSED_BITS), self._crc):032b}"[::-1], 2))


def posix_cksum(data: bytes) -> str:
    """Return the first number that `cksum` prints for `data`."""
    whole = Cksum()
    whole.update(data)
    return whole.hexdigest()
