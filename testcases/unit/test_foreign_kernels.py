"""What `inspect` says of kernel files for ARM and RISC-V, made here field by field."""

from __future__ import annotations

import gzip
import struct
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.kernel.bzimage import inspect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BANNER = b"Linux version 6.1.0-50-arm64 (debian-kernel@lists.debian.org) #1 SMP Debian 6.1.176-1\n"
TEXT = b"some code " * 400


def efi(image: bytearray, machine: int) -> None:
    """Make it an EFI program with one section that goes to its end."""
    image[:2] = b"MZ"
    struct.pack_into("<I", image, 0x3C, 0x40)
    struct.pack_into("<4sHH12xHH", image, 0x40, b"PE\0\0", machine, 1, 0, 0)
    struct.pack_into("<8sIIII", image, 0x58, b".text", len(image), 0, len(image) - 0x100, 0x100)


def arm64() -> bytes:
    image = bytearray(0x100) + TEXT + BANNER + TEXT
    struct.pack_into("<QQQ", image, 8, 0, 0x2000000, 10)
    image[0x38:0x3C] = b"ARM\x64"
    efi(image, 0xAA64)
    return bytes(image)


def riscv64() -> bytes:
    image = bytearray(0x100) + TEXT + BANNER.replace(b"arm64", b"riscv64")
    struct.pack_into("<QQQI", image, 8, 0x200000, 0x1800000, 0, 2)
    image[0x30:0x3C] = b"RISCV\0\0\0RSC\x05"
    efi(image, 0x5064)
    return bytes(image)


def armhf() -> bytes:
    packed = gzip.compress(TEXT + BANNER.replace(b"arm64", b"armmp") + TEXT)
    image = bytearray(0x100) + packed + b"behind"
    struct.pack_into("<III", image, 0x24, 0x016F2818, 0, len(image))
    return bytes(image)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (arm64(), ("arm64", "Image", 64, "6.1.0-50-arm64", "none", 0x2000000)),
        (riscv64(), ("riscv64", "Image", 64, "6.1.0-50-riscv64", "none", 0x1800000)),
        (armhf(), ("armhf", "zImage", 32, "6.1.0-50-armmp", "gzip", len(armhf()))),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_a_kernel_says(tmp_path: Path, image: bytes, said: tuple[object, ...]) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(image)
    found = inspect(path)
    assert found.size == len(image)
    assert said == (
        *(found.architecture, found.kind, found.bits, found.version, found.payload, found.init_size),
    )


@pytest.mark.parametrize("make", [arm64, riscv64, armhf])
def test_a_kernel_that_is_cut_off(tmp_path: Path, make: Callable[[], bytes]) -> None:
    whole = make()
    path = tmp_path / "vmlinuz"
    for length in (len(whole) - 1, len(whole) // 2, 0x100):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError, match=f"is cut off: its header promises {len(whole)} bytes"):
            inspect(path)
    for length in range(0x80):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError):
            inspect(path)


def test_an_elf_kernel_of_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHI", 2, 21, 1) + bytes(100))
    with pytest.raises(ConfigError, match="another architecture"):
        inspect(path)
