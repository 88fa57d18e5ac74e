"""Kernels that are ELF files: `vmlinux`, what a bzImage unpacks into memory and jumps to.

Headers are those of the System V ABI (elf.h: Elf32_Ehdr, Elf64_Ehdr, program headers). A kernel with
CONFIG_PVH has a note of the owner "Xen" and the type XEN_ELFNOTE_PHYS32_ENTRY
(include/xen/interface/elfnote.h) with the address of a 32-bit entry point; QEMU's -kernel enters it there.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import struct
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.kernel.image import KernelImage

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

MAGIC = b"\x7fELF"
_X86 = {3: 32, 62: 64}  # e_machine
_OTHERS = {
    8: "mips",
    20: "powerpc",
    21: "powerpc64",
    22: "s390x",
    40: "arm",
    183: "aarch64",
    243: "riscv",
    258: "loongarch",
}
# By EI_CLASS: e_phoff, e_shoff, then (after flags and size) the sizes and counts of both tables' entries.
_HEADERS = {1: struct.Struct("<28xII6x4H"), 2: struct.Struct("<32xQQ6x4H")}
# Of a program header: p_type, p_offset, p_filesz.
_SEGMENTS = {1: struct.Struct("<II8xI12x"), 2: struct.Struct("<I4xQ16xQ16x")}
_PT_NOTE = 4
_PHYS32_ENTRY = 18
_ET_EXEC, _ET_DYN = 2, 3
_BANNER = re.compile(rb"Linux version ([ -~]{1,1000})")
_AGAIN = "fetch or build it again"


def inspect(path: Path, file: BufferedReader, size: int) -> KernelImage:
    """Read an ELF kernel's headers.

    Args:
        path: How it is called in messages.
        file: The file, which begins with the magic of ELF.
        size: Its bytes.

    Raises:
        ConfigError: It is cut off, no kernel, or one for another architecture.
    """
    file.seek(0)
    head = file.read(64)
    kind = head[4] if len(head) > 5 else 0
    if kind not in _HEADERS or head[5] not in {1, 2}:
        raise ConfigError(f"kernel {path} is a damaged ELF file", hint=_AGAIN)
    if len(head) < _HEADERS[kind].size:
        raise ConfigError(f"kernel {path} is cut off in its ELF header", hint=_AGAIN)
    machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    if machine not in _X86 or head[5] != 1:
        name = _OTHERS.get(machine, f"machine {machine}")
        raise ConfigError(
            f"{path} is no x86 kernel image but an ELF file for another architecture ({name})",
            hint="give a kernel for x86",
        )
    segments = _segments(path, file, head, kind, size)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = _BANNER.search(data)
        if found is None or int.from_bytes(head[16:18], "little") not in {_ET_EXEC, _ET_DYN}:
            raise ConfigError(
                f"{path} is no x86 kernel image but an ELF program or module",
                hint="give a bzImage (/boot/vmlinuz-*), or a vmlinux",
            )
        banner = found[1].decode("ascii")
        pvh = any(
            _has_entry(data[offset : offset + length])
            for type_, offset, length in segments
            if type_ == _PT_NOTE
        )
    file.seek(0)
    return KernelImage(
        path=path,
        version=banner.partition(" ")[0],
        banner=banner,
        protocol=(0, 0),
        bits=_X86[machine],
        relocatable=False,
        payload="none",
        size=size,
        init_size=0,
        initrd_max=0x7FFFFFFF,
        sha256=hashlib.file_digest(file, "sha256").hexdigest(),
        kind="vmlinux",
        pvh=pvh,
        command_line_max=2047,
    )


def _segments(
    path: Path, file: BufferedReader, head: bytes, kind: int, size: int
) -> list[tuple[int, int, int]]:
    """Return type, offset and length of each segment; all that the headers promise must be there."""
    table, sections, entry_size, entries, section_size, section_count = _HEADERS[kind].unpack_from(head)
    promised = max(table + entry_size * entries, sections + section_size * section_count)
    if promised <= size:
        form = _SEGMENTS[kind]
        if entries and entry_size < form.size:
            raise ConfigError(
                f"kernel {path} is a damaged ELF file: its program headers are too small", hint=_AGAIN
            )
        file.seek(table)
        headers = file.read(entry_size * entries)
        segments: list[tuple[int, int, int]] = [
            form.unpack_from(headers, number * entry_size) for number in range(entries)
        ]
        promised = max([promised, *(offset + length for _, offset, length in segments)])
        if promised <= size:
            return segments
    raise ConfigError(
        f"kernel {path} is cut off: its headers promise {promised} bytes, it has {size}", hint=_AGAIN
    )


def _has_entry(notes: bytes) -> bool:
    """Whether notes (elf.h, Elf32_Nhdr: sizes of name and content, type) name an entry point for PVH."""
    at = 0
    while at + 12 <= len(notes):
        name_size, content_size, kind = struct.unpack_from("<III", notes, at)
        name = notes[at + 12 : at + 12 + name_size]
        if kind == _PHYS32_ENTRY and name == b"Xen\0":
            return True
        at += 12 + (name_size + 3) // 4 * 4 + (content_size + 3) // 4 * 4
    return False
