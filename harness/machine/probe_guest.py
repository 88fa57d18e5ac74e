"""The tiny guest that tests whether an accelerator works.

It does what every kernel does first: it enters protected mode, draws a random number where the processor has
RDRAND, switches paging on, and reports through a debug port. Broken accelerators fail on one of these steps:
on one nested host, KVM ran real mode and hung on RDRAND, as did every kernel that randomises its address.

Instruction encodings and the reset vector: Intel 64 and IA-32 Architectures Software Developer's Manual,
volumes 2 and 3.
"""

from __future__ import annotations

DEBUG_EXIT_PORT = 0xF4
REPORT = 0x2A
EXIT_STATUS = REPORT << 1 | 1  # how QEMU's isa-debug-exit device makes a status of the written byte

_ROM_SIZE = 0x10000  # mapped below 1 MiB, at 0xf0000, and again below 4 GiB, where the processor starts
_RESET_VECTOR = _ROM_SIZE - 16

_CODE = (
    # Real mode.
    b"\xfa"  # cli
    b"\x2e\x66\x0f\x01\x16\x80\x00"  # lgdt cs:[0x80]
    b"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0"  # cr0 |= 1: protected mode
    b"\x66\xea\x18\x00\x0f\x00\x08\x00"  # jmp 0x08:0xf0018
    # Protected mode, offset 0x18.
    b"\x66\xb8\x10\x00\x8e\xd8"  # ds = 0x10
    b"\xb8\x01\x00\x00\x00\x0f\xa2\x89\xce"  # esi = ecx of cpuid(1)
    b"\x0f\xba\xe6\x1e\x73\x03\x0f\xc7\xf0"  # if bit 30 of esi: rdrand eax
    b"\xc7\x05\x00\x10\x00\x00\x83\x00\x00\x00"  # page directory at 0x1000: the first 4 MiB map themselves
    b"\x0f\x20\xe0\x0c\x10\x0f\x22\xe0"  # cr4 |= 0x10: 4 MiB pages
    b"\xb8\x00\x10\x00\x00\x0f\x22\xd8"  # cr3 = 0x1000
    b"\x0f\x20\xc0\x0d\x00\x00\x00\x80\x0f\x22\xc0"  # cr0 |= 0x80000000: paging
    b"\x0f\xba\xe6\x1e\x73\x03\x0f\xc7\xf0"  # if bit 30 of esi: rdrand eax
    b"\xb0\x2a\xe6\xf4"  # write REPORT to DEBUG_EXIT_PORT
    b"\xf4\xeb\xfd"  # hlt, for ever
)
_TABLE_OFFSET = 0x68
_SEGMENTS = (
    b"\x00\x00\x00\x00\x00\x00\x00\x00"  # the null segment
    b"\xff\xff\x00\x00\x00\x9a\xcf\x00"  # 0x08: code, 4 GiB
    b"\xff\xff\x00\x00\x00\x92\xcf\x00"  # 0x10: data, 4 GiB
    b"\x17\x00\x68\x00\x0f\x00"  # 0x80: the table's limit, and its address 0xf0068
)


def rom() -> bytes:
    """The guest as a firmware image for QEMU's `-bios`."""
    image = bytearray(_ROM_SIZE)
    image[: len(_CODE)] = _CODE
    image[_TABLE_OFFSET : _TABLE_OFFSET + len(_SEGMENTS)] = _SEGMENTS
    # jmp to the start of the ROM; the displacement counts from the next instruction.
    image[_RESET_VECTOR : _RESET_VECTOR + 3] = b"\xe9" + (_ROM_SIZE - _RESET_VECTOR - 3).to_bytes(2, "little")
    return bytes(image)
