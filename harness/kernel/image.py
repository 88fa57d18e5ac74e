"""The facts about a kernel file, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


class KernelImage(msgspec.Struct, frozen=True):
    """A kernel file."""

    path: Path  # where it is
    version: str  # release, the first word of the banner, such as "6.1.0-50-686"; "" when it says none
    banner: str  # the whole version string: release, builder, compiler, build date
    # version of the boot protocol, major and minor; (0, 0) for an ELF kernel, which has none
    protocol: tuple[int, int]
    bits: int  # 64 when it has a 64-bit entry point (XLF_KERNEL_64, protocol 2.12, Linux 3.8), else 32
    relocatable: bool  # whether it runs at an address that the loader chooses
    # compression of the kernel in it: "gzip", "xz", "zstd", "lz4", "lzma", "bzip2", "lzo", "none" or
    # "unknown"
    payload: str
    size: int  # bytes of the file
    init_size: int  # bytes of memory that it needs until it reads the memory map; 0 before protocol 2.10
    initrd_max: int  # highest address that a byte of the initramfs may have
    sha256: str  # of the whole file, in hex
    kind: str = "bzImage"  # "bzImage", or "vmlinux" for the ELF file that is packed in a bzImage
    efi: bool = False  # whether it is an EFI program too (EFI stub)
    # whether an ELF kernel can be entered by PVH, as QEMU's -kernel does; a bzImage does not say
    pvh: bool = False
    command_line_max: int = 255  # most bytes of a command line, without the NUL; 255 before protocol 2.06
    payload_at: int = 0  # where in the file the payload starts; 0 when it does not say
    payload_size: int = 0  # bytes of the payload; 0 when it does not say (before protocol 2.08)
