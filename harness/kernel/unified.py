r"""Reads the sections of unified kernel images.

Such an image is one EFI program with a kernel, its initramfs and its command line.

The layout is that of PE files (Microsoft's PE format): "MZ", at byte 0x3c the offset of "PE\\0\\0", behind it
the COFF header (20 bytes: machine, number of sections at 2, size of the optional header at 16), the optional
header, and section headers of 40 bytes (name, size in memory at 8, size and place in the file at 16 and 20).
What the sections are called is from the UAPI group's specification "Unified Kernel Image".
"""

from __future__ import annotations

import struct
from typing import BinaryIO

_SECTIONS_MAX = 96  # what Windows takes; the specification names a dozen
_HEADER = 40
_KERNEL = ".linux"


def is_pe(head: bytes) -> bool:
    """Whether a file that begins so is an EFI (PE) program."""
    if not head.startswith(b"MZ") or len(head) < 0x40:
        return False
    (offset,) = struct.unpack_from("<I", head, 0x3C)
    return head.startswith(b"PE\0\0", offset)


def signature_end(head: bytes) -> int:
    """The byte behind the signature of an EFI program that begins so; 0 for one that is not signed.

    It lies behind all sections, and the data directory of the optional header says where (entry 4).
    """
    if not is_pe(head):
        return 0
    optional = struct.unpack_from("<I", head, 0x3C)[0] + 24
    directories = optional + {0x10B: 92, 0x20B: 108}.get(
        int.from_bytes(head[optional : optional + 2], "little"), 0
    )
    if directories == optional or len(head) < directories + 44:
        return 0
    count, offset, size = struct.unpack_from("<I32xII", head, directories)
    return int(offset + size) if count > 4 and size else 0


def sections(file: BinaryIO) -> dict[str, tuple[int, int]]:
    """Offset and size of each section of a unified kernel image; empty for everything else.

    A bzImage with an EFI stub is a PE file as well, but has no section that is named `.linux`.

    Args:
        file: A seekable file; sections may claim to lie behind its end.
    """
    file.seek(0)
    head = file.read(0x40)
    if len(head) < 0x40 or not head.startswith(b"MZ"):
        return {}
    (offset,) = struct.unpack_from("<I", head, 0x3C)
    file.seek(offset)
    coff = file.read(24)
    if len(coff) < 24 or not coff.startswith(b"PE\0\0"):
        return {}
    count, optional = struct.unpack_from("<4x2xH12xH", coff)
    file.seek(offset + 24 + optional)
    headers = file.read(_HEADER * min(count, _SECTIONS_MAX))
    found: dict[str, tuple[int, int]] = {}
    for at in range(0, len(headers) - _HEADER + 1, _HEADER):
        name, memory, size, place = struct.unpack_from("<8sI4xII", headers, at)
        # The file is padded to whole blocks, memory is not.
        found.setdefault(name.rstrip(b"\0").decode("latin-1"), (place, min(memory, size) or size))
    return found if _KERNEL in found else {}
