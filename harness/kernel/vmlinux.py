"""Kernels that are ELF files (vmlinux).

A kernel with CONFIG_PVH has a note of the owner "Xen" and the type XEN_ELFNOTE_PHYS32_ENTRY
(include/xen/interface/elfnote.h) with the address of a 32-bit entry point; QEMU's -kernel enters it there.
"""

from __future__ import annotations

import mmap
import re
from typing import TYPE_CHECKING, Any

from harness.core.digest import sha256_of
from harness.core.errors import ConfigError
from harness.formats.elf import damage
from harness.kernel.image import KernelImage

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

MAGIC = b"\x7fELF"
_X86 = {"EM_386": 32, "EM_X86_64": 64}
_PHYS32_ENTRY = 18
_BANNER = re.compile(rb"Linux version ([ -~]{1,1000})")
_AGAIN = "fetch or build it again"


def inspect(path: Path, file: BufferedReader, size: int) -> KernelImage:
    """Read an ELF kernel's headers."""
    from elftools.elf.elffile import ELFFile

    try:
        file.seek(0)
        elf: Any = ELFFile(file)
        _check(path, elf, size)
        pvh = any(
            (note["n_name"], note["n_type"]) == ("Xen", _PHYS32_ENTRY)
            for segment in elf.iter_segments("PT_NOTE")
            for note in segment.iter_notes()
        )
    except damage() as error:
        raise ConfigError(f"kernel {path} is a damaged ELF file: {error}", hint=_AGAIN) from error
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        banner = found[1].decode("ascii") if (found := _BANNER.search(data)) else ""
    if not banner or elf["e_type"] not in {"ET_EXEC", "ET_DYN"}:
        raise ConfigError(
            f"{path} is no x86 kernel image but an ELF program or module",
            hint="give a bzImage (/boot/vmlinuz-*), or a vmlinux",
        )
    return KernelImage(
        path=path,
        version=banner.partition(" ")[0],
        banner=banner,
        protocol=(0, 0),
        bits=_X86[elf["e_machine"]],
        relocatable=False,
        payload="none",
        size=size,
        init_size=0,
        initrd_max=0x7FFFFFFF,
        sha256=sha256_of(path),
        kind="vmlinux",
        pvh=pvh,
        command_line_max=2047,
    )


def _check(path: Path, elf: Any, size: int) -> None:
    """Make sure that it is for x86, and that all that the headers promise is there."""
    machine = elf["e_machine"]
    if machine not in _X86 or not elf.little_endian:
        name = str(machine).removeprefix("EM_").lower()
        raise ConfigError(
            f"{path} is no x86 kernel image but an ELF file for another architecture ({name})",
            hint="give a kernel for x86",
        )
    segments = elf["e_phoff"] + elf["e_phentsize"] * elf["e_phnum"]
    sections = elf["e_shoff"] + elf["e_shentsize"] * elf["e_shnum"]
    promised = max(segments, sections)
    if promised <= size:
        ends = (segment["p_offset"] + segment["p_filesz"] for segment in elf.iter_segments())
        promised = max(promised, *ends, 0)
    if promised > size:
        raise ConfigError(
            f"kernel {path} is cut off: its headers promise {promised} bytes, it has {size}", hint=_AGAIN
        )
