"""The facts about a kernel file, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


class KernelImage(msgspec.Struct, frozen=True):
    """A kernel file.

    Attributes:
        path: Where it is.
        version: Release, the first word of the banner, such as "6.1.0-50-686"; "" when it says none.
        banner: The whole version string: release, builder, compiler, build date.
        protocol: Version of the boot protocol, major and minor; (0, 0) for an ELF kernel, which has none.
        bits: 64 when it has a 64-bit entry point (XLF_KERNEL_64, protocol 2.12, Linux 3.8), else 32.
        relocatable: Whether it runs at an address that the loader chooses.
        payload: Compression of the kernel in it: "gzip", "xz", "zstd", "lz4", "lzma", "bzip2", "lzo", "none"
            or "unknown".
        size: Bytes of the file.
        init_size: Bytes of memory that it needs until it reads the memory map; 0 before protocol 2.10.
        initrd_max: Highest address that a byte of the initramfs may have.
        sha256: Of the whole file, in hex.
        kind: "bzImage", or "vmlinux" for the ELF file that is packed in a bzImage.
        efi: Whether it is an EFI program too (EFI stub).
        pvh: Whether an ELF kernel can be entered by PVH, as QEMU's -kernel does; a bzImage does not say.
        command_line_max: Most bytes of a command line, without the NUL; 255 before protocol 2.06.
        payload_at: Where in the file the payload starts; 0 when it does not say.
        payload_size: Bytes of the payload; 0 when it does not say (before protocol 2.08).
    """

    path: Path
    version: str
    banner: str
    protocol: tuple[int, int]
    bits: int
    relocatable: bool
    payload: str
    size: int
    init_size: int
    initrd_max: int
    sha256: str
    kind: str = "bzImage"
    efi: bool = False
    pvh: bool = False
    command_line_max: int = 255
    payload_at: int = 0
    payload_size: int = 0
