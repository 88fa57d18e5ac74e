"""What kernel files for ARM and RISC-V say about themselves.

Layouts are those of the kernel's Documentation/arch/arm64/booting.rst and Documentation/arch/riscv/
boot-image-header.rst; an ARM zImage has its header at 0x24 (arch/arm/boot/compressed/head.S).
"""

from __future__ import annotations

import mmap
import re
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.formats import compression

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

HEADER = 0x40
_BANNER = re.compile(rb"Linux version (\d[\x20-\x7e]*)")
_COMMAND_LINE_MAX = {"arm64": 2047, "riscv64": 1023, "armhf": 1023}
_PACKED = re.compile(rb"\x1f\x8b\x08\0|\xfd7zXZ\0|\x28\xb5\x2f\xfd|\x5d\0\0\0\x04|\x02\x21\x4c\x18|\x89LZO")
_UNPACKED_MAX = 256 << 20


def architecture(head: bytes) -> str:
    """For which architecture a kernel is that begins so; "" for none of these."""
    if head.startswith(b"ARM\x64", 0x38):
        return "arm64"
    if head.startswith(b"RSC\x05", 0x38):
        return "riscv64"
    return "armhf" if head.startswith(b"\x18\x28\x6f\x01", 0x24) else ""


class Header(msgspec.Struct, frozen=True):
    """What such a kernel says about itself; fields as of `bzimage.KernelImage`."""

    architecture: str
    kind: str
    bits: int
    banner: str
    payload: str
    init_size: int
    efi: bool
    command_line_max: int


def read(path: Path, file: BufferedReader, size: int) -> Header:
    """Read the header of such a kernel."""
    file.seek(0)
    head = file.read(HEADER)
    kind = architecture(head)
    promised, needed = HEADER, 0
    if size >= HEADER and kind == "armhf":
        start, end = struct.unpack_from("<II", head, 0x28)
        promised = needed = end - start
    elif size >= HEADER:
        (needed,) = struct.unpack_from("<Q", head, 0x10)
        # What is in memory behind the end of the file is zeros; a PE header says how much is in the file.
        promised = _sections_end(file) if head.startswith(b"MZ") else HEADER
    if promised > size:
        raise ConfigError(
            f"kernel {path} is cut off: its header promises {promised} bytes, it has {size}",
            hint="fetch or build it again",
        )
    payload, banner = _banner(file, kind)
    return Header(
        architecture=kind,
        kind="zImage" if kind == "armhf" else "Image",
        bits=32 if kind == "armhf" else 64,
        banner=banner,
        payload=payload,
        init_size=needed,
        efi=head.startswith(b"MZ"),
        command_line_max=_COMMAND_LINE_MAX[kind],
    )


def _sections_end(file: BufferedReader) -> int:
    """The byte behind the last section of a PE file."""
    file.seek(0x3C)
    offset = int.from_bytes(file.read(4), "little")
    file.seek(offset)
    coff = file.read(24)
    if len(coff) < 24:
        return offset + 24
    count, optional = struct.unpack_from("<4x2xH12xH", coff)
    file.seek(offset + 24 + optional)
    sections = file.read(40 * count)
    if len(sections) < 40 * count:
        return int(offset + 24 + optional + 40 * count)
    sizes = (struct.unpack_from("<II", sections, at + 16) for at in range(0, len(sections) - 39, 40))
    return int(max((place + length for length, place in sizes if length), default=0))


def _banner(file: BufferedReader, kind: str) -> tuple[str, str]:
    """How the kernel is packed in its file, and its version string; "" where it cannot be read."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if kind != "armhf":
            found = _BANNER.search(data)
            return "none", found[1].decode("ascii") if found else ""
        for start in _PACKED.finditer(data):
            unpacked = _Start()
            with suppress(compression.StreamError):  # it ends with bytes that are not its own
                compression.unpack(file, start.start(), unpacked, limit=_UNPACKED_MAX)
            if found := _BANNER.search(unpacked.data):
                return compression.detect(start[0]), found[1].decode("ascii")
    return "unknown", ""


class _Start:
    """Keeps what is unpacked."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes | memoryview, /) -> None:
        self.data += data
