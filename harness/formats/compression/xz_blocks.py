"""What the blocks of an xz stream ask of the kernel's decoder.

Blocks are found by the index at the stream's end (tukaani.org/xz/xz-file-format.txt). The kernel undoes one
filter for machine code, without options, and LZMA2 with a dictionary of less than 4 GiB (lib/xz).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_LZMA2 = 0x21
_LARGEST = 39  # of LZMA2's sizes of dictionaries
_DELTA = 3
# Filters for machine code, by the symbols of the kernel's configuration (XZ_DEC_…).
MACHINES = {4: "X86", 5: "POWERPC", 6: "IA64", 7: "ARM", 8: "ARMTHUMB", 9: "SPARC", 10: "ARM64", 11: "RISCV"}


def filters(file: BinaryIO, offset: int, end: int) -> Iterator[list[tuple[int, bytes]]]:
    """The filters of each block of a sound stream, by their numbers, with their options.

    Args:
        file: A seekable file.
        offset: Where the stream starts in it.
        end: Where the stream ends.
    """
    file.seek(end - 8)
    index = end - 12 - (int.from_bytes(file.read(4), "little") + 1) * 4
    file.seek(index)
    numbers = _numbers(file.read(end - 12 - index)[1:])
    at = offset + 12
    for _ in range(next(numbers)):
        file.seek(at)
        size = file.read(1)
        yield _of_header(file.read(int.from_bytes(size, "little") * 4 + 3))
        at += next(numbers) + 3 & ~3
        next(numbers)


def _of_header(header: bytes) -> list[tuple[int, bytes]]:
    flags = header[0]
    rest = iter(header[1:])
    for _ in range((flags >> 6 & 1) + (flags >> 7)):  # sizes
        next(_numbers(rest))
    found = []
    for _ in range((flags & 3) + 1):
        number, size = next(_numbers(rest)), next(_numbers(rest))
        found.append((number, bytes(next(rest) for _ in range(size))))
    return found


def _numbers(data: bytes | Iterator[int]) -> Iterator[int]:
    """Numbers of seven bits a byte, the lowest first."""
    rest = iter(data)
    while True:
        number = shift = 0
        for byte in rest:
            number |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        yield number


def objection(chain: list[tuple[int, bytes]]) -> str:
    """What the kernel has against the filters of a block; or ""."""
    *before, (_, dictionary) = chain
    if any(number == _DELTA for number, _ in before):
        return "the kernel cannot undo the delta filter of this xz stream"
    if len(before) > 1 or any(number not in MACHINES or options for number, options in before):
        return "the kernel cannot undo the filters of this xz stream"
    if dictionary[0] > _LARGEST:
        return "the dictionary of this xz stream is too large for the kernel"
    return ""
