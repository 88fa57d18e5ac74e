"""Kernel files that are built here, byte by byte: bzImage with a real payload, vmlinux, unified image."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
from typing import TYPE_CHECKING

import lz4.block
import zstandard

from harness.formats import compression
from testcases.unit.test_bzimage import SETUP_SIZE, kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONFIG = "CONFIG_BLK_DEV_INITRD=y\nCONFIG_RD_GZIP=y\n# CONFIG_KEXEC is not set\nCONFIG_ATA=m\nCONFIG_HZ=250\n"
BANNER = b"Linux version 6.1.0-50-own (somebody@somewhere) #1 SMP\n\0"


def _lz4(data: bytes) -> bytes:
    stream = struct.pack("<I", 0x184C2102)
    for at in range(0, len(data), 8 << 20):
        block = lz4.block.compress(data[at : at + (8 << 20)], mode="high_compression", store_size=False)
        stream += struct.pack("<I", len(block)) + block
    return stream


def _lzo(data: bytes) -> bytes:
    """What lzop writes, as test_compression.py asks it."""
    out = io.BytesIO()
    with compression.writer(out, "lzo") as stream:
        stream.write(data)
    return out.getvalue()


# How the kernel's build packs (scripts/Makefile.lib), without the size that it appends.
PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lambda data: lzma.compress(
        data,
        check=lzma.CHECK_CRC32,
        filters=[{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 6}],
    ),
    "zstd": lambda data: zstandard.compress(data, 3),
    "lz4": _lz4,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "lzo": _lzo,
}


def elf(
    *, bits: int = 64, machine: int | None = None, pvh: bool = True, config: str = CONFIG, kind: int = 2
) -> bytes:
    """A vmlinux: a loaded segment with banner and configuration, and a segment with notes."""
    wide = bits == 64
    note = struct.pack("<III4sQ", 4, 8, 18 if pvh else 17, b"Xen\0", 0x1000)
    embedded = b"IKCFG_ST" + gzip.compress(config.encode(), mtime=0) + b"IKCFG_ED" if config else b""
    load = bytes(64) + BANNER + embedded + bytes(512)
    header_size, entry = (64, 56) if wide else (52, 32)
    start = header_size + 2 * entry
    header = struct.pack(
        "<4sBBB9xHHI" + ("QQQ" if wide else "III") + "IHHHHHH",
        *(b"\x7fELF", 2 if wide else 1, 1, 1),
        *(kind, machine if machine is not None else (62 if wide else 3), 1),
        *(0x100000, header_size, 0),
        *(0, header_size, entry, 2, 0, 0, 0),
    )

    def segment(type_: int, offset: int, size: int) -> bytes:
        if wide:
            return struct.pack("<IIQQQQQQ", type_, 5, offset, 0, 0, size, size, 4)
        return struct.pack("<IIIIIIII", type_, offset, 0, 0, size, size, 5, 4)

    segments = segment(1, start, len(load)) + segment(4, start + len(load), len(note))
    return header + segments + load + note


def packed(inner: bytes, compression: str = "gzip") -> bytes:
    """A bzImage with something packed in it."""
    payload = PACKERS[compression](inner)
    if compression != "gzip":
        payload += struct.pack("<I", len(inner) & 0xFFFFFFFF)
    data = bytearray(kernel(payload=payload, paragraphs=0))
    data += bytes(-len(data) % 16)
    struct.pack_into("<I", data, 0x1F4, (len(data) - SETUP_SIZE) // 16)
    return bytes(data)


def unified(sections: Mapping[str, bytes]) -> bytes:
    """A PE file with sections."""
    head = bytearray(0x80)
    head[:2] = b"MZ"
    struct.pack_into("<I", head, 0x3C, 0x80)
    optional = bytes(0x70)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, len(sections), 0, 0, 0, len(optional), 0x22E)
    at = len(head) + len(coff) + len(optional) + 40 * len(sections)
    table, content = b"", b""
    for name, data in sections.items():
        padded = data + bytes(-len(data) % 512)
        table += struct.pack("<8sIIII16x", name.encode(), len(data), 0x1000, len(padded), at + len(content))
        content += padded
    return bytes(head) + coff + optional + table + content
