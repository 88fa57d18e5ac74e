"""What an x86 kernel file says about itself, from its own bytes.

The layout of a bzImage is the boot protocol of the kernel's Documentation/arch/x86/boot.rst: a real-mode part
of `setup_sects` + 1 sectors of 512 bytes that holds the setup header at byte 0x1f1, then the protected-mode
part with the compressed kernel, the payload. Of the header are read:

    0x1f1 setup_sects      0x1f4 syssize            0x1fe boot_flag    0x202 header ("HdrS")
    0x206 version          0x20e kernel_version     0x22c initrd_addr_max
    0x234 relocatable_kernel  0x236 xloadflags      0x238 cmdline_size
    0x248 payload_offset   0x24c payload_length     0x260 init_size

A bzImage with an EFI stub begins with "MZ" and has a PE header where byte 0x3c says. A kernel may also be an
ELF file (vmlinux). One with CONFIG_PVH has a note of the owner "Xen" and the type XEN_ELFNOTE_PHYS32_ENTRY
(include/xen/interface/elfnote.h) with the address of a 32-bit entry point; QEMU's -kernel enters it there.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from harness.core.architecture import DEFAULT
from harness.core.digest import sha256_of
from harness.core.errors import ConfigError, explaining
from harness.formats import compression
from harness.formats.elf import damage
from harness.formats.magic import kind_of
from harness.kernel import foreign

if TYPE_CHECKING:
    from io import BufferedReader
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
    # "bzImage", or "vmlinux" for the ELF file that is packed in a bzImage; "Image" or "zImage" of others
    kind: str = "bzImage"
    architecture: str = DEFAULT  # a name of `core.architecture`; also one that is only recognised
    efi: bool = False  # whether it is an EFI program too (EFI stub)
    # whether an ELF kernel can be entered by PVH, as QEMU's -kernel does; a bzImage does not say
    pvh: bool = False
    command_line_max: int = 255  # most bytes of a command line, without the NUL; 255 before protocol 2.06
    payload_at: int = 0  # where in the file the payload starts; 0 when it does not say
    payload_size: int = 0  # bytes of the payload; 0 when it does not say (before protocol 2.08)


_ELF_MAGIC = b"\x7fELF"
_X86 = {"EM_386": 32, "EM_X86_64": 64}
_PHYS32_ENTRY = 18
_BANNER = re.compile(rb"Linux version ([ -~]{1,1000})")


def _inspect_elf(path: Path, file: BufferedReader, size: int) -> KernelImage:
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
        message = f"{path} is no x86 kernel image but an ELF program or module"
        raise ConfigError(message, hint="give a bzImage (/boot/vmlinuz-*), or a vmlinux")
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
        message = f"{path} is no x86 kernel image but an ELF file for another architecture ({name})"
        raise ConfigError(message, hint="give a kernel for x86")
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


# setup_sects is one byte, so the real-mode part with its version string ends here at the latest.
_HEAD_SIZE = (255 + 1) * 512
_HEADER_END = 0x264
_XLF_KERNEL_64 = 1
_AGAIN = "fetch or build it again"


def inspect(path: Path) -> KernelImage:
    """Read a kernel's headers."""
    with explaining(ConfigError, f"cannot read kernel {path}"):
        if not path.is_file():
            what = "is no regular file" if path.exists() else "does not exist"
            raise ConfigError(f"kernel {path} {what}", hint="give a bzImage, such as /boot/vmlinuz-*")
        with path.open("rb") as file:
            head = file.read(_HEAD_SIZE)
            if head.startswith(_ELF_MAGIC):
                return _inspect_elf(path, file, file.seek(0, os.SEEK_END))
            if foreign.architecture(head):
                return _foreign(path, file, file.seek(0, os.SEEK_END))
            if sections(file):
                raise ConfigError(
                    f"{path} is a unified kernel image, which only UEFI starts",
                    hint=f"take the kernel out of it: objcopy -O binary --only-section=.linux {path} vmlinuz",
                )
            _check_magic(path, head)
            return _parse(path, head, file)


def _foreign(path: Path, file: BufferedReader, size: int) -> KernelImage:
    """A kernel for another architecture."""
    header = foreign.read(path, file, size)
    return KernelImage(
        path=path,
        version=header.banner.partition(" ")[0],
        protocol=(0, 0),
        relocatable=True,
        size=size,
        initrd_max=0,
        sha256=sha256_of(path),
        **{name: getattr(header, name) for name in header.__struct_fields__},
    )


def _check_magic(path: Path, head: bytes) -> None:
    if head.startswith(b"\x55\xaa", 0x1FE) and head.startswith(b"HdrS", 0x202):
        if len(head) < _HEADER_END:
            raise ConfigError(f"kernel {path} is cut off in its boot header", hint=_AGAIN)
        return
    if not head:
        raise ConfigError(f"kernel {path} is empty", hint=_AGAIN)
    kind = kind_of(head)
    message = f"{path} is no x86 kernel image but {kind.words}"
    raise ConfigError(message, hint=kind.hint or "give a bzImage, such as /boot/vmlinuz-*")


def _parse(path: Path, head: bytes, file: BufferedReader) -> KernelImage:
    """Take the header apart; a field that an old protocol lacks gets the value that boot.rst gives it."""
    protocol = (head[0x207], head[0x206])
    setup_size = ((head[0x1F1] or 4) + 1) * 512
    (paragraphs,) = struct.unpack_from("<I" if protocol >= (2, 4) else "<H", head, 0x1F4)
    promised = setup_size + paragraphs * 16
    size = file.seek(0, os.SEEK_END)
    (initrd_max,) = struct.unpack_from("<I", head, 0x22C)
    (xloadflags,) = struct.unpack_from("<H", head, 0x236)
    payload_offset, payload_size = struct.unpack_from("<II", head, 0x248)
    (command_line_max,) = struct.unpack_from("<I", head, 0x238)
    (init_size,) = struct.unpack_from("<I", head, 0x260)
    payload_at = setup_size + payload_offset
    if (protocol < (2, 8) or not payload_size) and size % 16:
        # The header counts in units of 16 bytes, and only the build of Linux fills up the last one.
        promised -= 16 - size % 16
    promised = max(promised, signature_end(head))
    if promised > size:
        message = f"kernel {path} is cut off: its header promises {promised} bytes, it has {size}"
        raise ConfigError(message, hint=_AGAIN)
    if protocol >= (2, 8) and payload_size and payload_at + payload_size > size:
        message = f"kernel {path} is cut off: its payload ends at byte {payload_at + payload_size} of {size}"
        raise ConfigError(message, hint=_AGAIN)
    file.seek(payload_at)
    payload = compression.MAGICS.get(file.read(2), "unknown")
    banner = _banner(head[:setup_size])
    return KernelImage(
        path=path,
        version=banner.partition(" ")[0],
        banner=banner,
        protocol=protocol,
        bits=64 if protocol >= (2, 12) and xloadflags & _XLF_KERNEL_64 else 32,
        relocatable=protocol >= (2, 5) and head[0x234] != 0,
        payload=payload if protocol >= (2, 8) else "unknown",
        size=size,
        init_size=init_size if protocol >= (2, 10) else 0,
        initrd_max=initrd_max if protocol >= (2, 3) else 0x37FFFFFF,
        sha256=sha256_of(path),
        efi=is_pe(head),
        command_line_max=command_line_max if protocol >= (2, 6) else 255,
        payload_at=payload_at if protocol >= (2, 8) else 0,
        payload_size=payload_size if protocol >= (2, 8) else 0,
    )


def _banner(setup: bytes) -> str:
    """Return the version string of the real-mode part, "" when it points to none."""
    (pointer,) = struct.unpack_from("<H", setup, 0x20E)
    if not pointer:
        return ""
    return setup[0x200 + pointer :].partition(b"\0")[0].decode("ascii", "replace")


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

    A bzImage with an EFI stub is a PE file as well, but has no section that is named `.linux`. Sections may
    claim to lie behind the end of the file.
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
