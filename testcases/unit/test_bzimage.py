"""What `inspect` says about kernels, and about everything that people give instead of one.

The kernels are built here, field by field; Debian's real ones need the network and are tried in boot tests.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.kernel.bzimage import KernelImage, inspect

BANNER = b"6.1.0-50-686 (debian-kernel@lists.debian.org) #1 SMP Debian 6.1.176-1 (2026-07-02)"
SETUP_SECTS = 3
SETUP_SIZE = (SETUP_SECTS + 1) * 512


def kernel(
    *,
    protocol: int = 0x020F,
    banner: bytes = BANNER,
    xloadflags: int = 0,
    relocatable: int = 1,
    payload: bytes = b"\xfd7zXZ",
    setup_sects: int = SETUP_SECTS,
    paragraphs: int = 32,
) -> bytes:
    image = bytearray(SETUP_SIZE + max(512, 0x100 + len(payload)))
    struct.pack_into("<B", image, 0x1F1, setup_sects)
    struct.pack_into("<I", image, 0x1F4, paragraphs)
    struct.pack_into("<H", image, 0x1FE, 0xAA55)
    image[0x200:0x202] = b"\xebj"  # a jump over the header
    struct.pack_into("<4sH", image, 0x202, b"HdrS", protocol)
    struct.pack_into("<H", image, 0x20E, 0x300)  # the banner is at 0x300 + 0x200
    struct.pack_into("<I", image, 0x22C, 0x7FFFFFFF)
    struct.pack_into("<BBH", image, 0x234, relocatable, 21, xloadflags)
    struct.pack_into("<I", image, 0x238, 2047)
    struct.pack_into("<II", image, 0x248, 0x100, len(payload))
    struct.pack_into("<I", image, 0x260, 0x100C000)
    image[0x500 : 0x500 + len(banner) + 1] = banner + b"\0"
    image[SETUP_SIZE + 0x100 : SETUP_SIZE + 0x100 + len(payload)] = payload
    return bytes(image)


def inspect_bytes(tmp_path: Path, data: bytes) -> KernelImage:
    path = tmp_path / "vmlinuz"
    path.write_bytes(data)
    return inspect(path)


def test_every_field(tmp_path: Path) -> None:
    assert inspect_bytes(tmp_path, kernel()) == KernelImage(
        path=tmp_path / "vmlinuz",
        version="6.1.0-50-686",
        banner=BANNER.decode(),
        protocol=(2, 15),
        bits=32,
        relocatable=True,
        payload="xz",
        size=SETUP_SIZE + 512,
        init_size=0x100C000,
        initrd_max=0x7FFFFFFF,
        command_line_max=2047,
        payload_at=SETUP_SIZE + 0x100,
        payload_size=len(b"\xfd7zXZ"),
        sha256=hashlib.sha256(kernel()).hexdigest(),
    )


@pytest.mark.parametrize(("xloadflags", "bits"), [(0, 32), (1, 64), (0x7F, 64), (0x7E, 32)])
def test_bits(tmp_path: Path, xloadflags: int, bits: int) -> None:
    assert inspect_bytes(tmp_path, kernel(xloadflags=xloadflags)).bits == bits


@pytest.mark.parametrize(
    ("magic", "name"),
    [
        (b"\x1f\x8b\x08", "gzip"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x02\x21\x4c\x18", "lz4"),
        (b"\x5d\0\0", "lzma"),
        (b"BZh9", "bzip2"),
        (b"\x89LZO", "lzo"),
        (b"\x7fELF", "unknown"),
    ],
)
def test_payload(tmp_path: Path, magic: bytes, name: str) -> None:
    assert inspect_bytes(tmp_path, kernel(payload=magic)).payload == name


def test_fields_that_an_old_protocol_lacks(tmp_path: Path) -> None:
    image = inspect_bytes(tmp_path, kernel(protocol=0x0202, xloadflags=1, paragraphs=0xFFFF0020))
    assert image.protocol == (2, 2)
    assert (image.bits, image.relocatable, image.payload) == (32, False, "unknown")
    assert (image.init_size, image.initrd_max) == (0, 0x37FFFFFF)


def test_setup_sects_of_0_means_4(tmp_path: Path) -> None:
    whole = kernel(setup_sects=0, paragraphs=0, payload=b"")
    assert inspect_bytes(tmp_path, whole).size == 5 * 512
    with pytest.raises(ConfigError, match="promises 2576 bytes, it has 2560"):
        inspect_bytes(tmp_path, kernel(setup_sects=0, paragraphs=1, payload=b""))


def test_kernel_without_a_banner(tmp_path: Path) -> None:
    image = bytearray(kernel())
    struct.pack_into("<H", image, 0x20E, 0)
    assert inspect_bytes(tmp_path, bytes(image)).version == ""


def test_signature_after_the_kernel(tmp_path: Path) -> None:
    assert inspect_bytes(tmp_path, kernel() + b"signature").size == SETUP_SIZE + 512 + 9


@pytest.mark.parametrize("length", [SETUP_SIZE, SETUP_SIZE + 511])
def test_cut_off(tmp_path: Path, length: int) -> None:
    with pytest.raises(
        ConfigError, match=rf"vmlinuz is cut off: .* {SETUP_SIZE + 512} bytes, it has {length}"
    ):
        inspect_bytes(tmp_path, kernel()[:length])


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (b"", "is empty", "again"),
        (b"random" * 5000, "is no x86 kernel image", "bzImage"),
        (b"x", "is no x86 kernel image", "bzImage"),
        (
            b"\x7fELF\x01\x01\x01".ljust(18, b"\0") + b"\x03" + bytes(9999),
            "an ELF program or module",
            "bzImage",
        ),
        (gzip.compress(kernel()), "gzip", "unpack"),
        (b"\xfd7zXZ\0", "xz", "unpack"),
        (b"\x28\xb5\x2f\xfd", "zstd", "unpack"),
        (b"MZ\0\0zimg" + bytes(4096), "zboot", "unpack"),
        (b"MZ".ljust(0x80, b"\0") + b"PE\0\0" + bytes(4096), "an EFI program", "bzImage"),
        (b"070701" + b"0" * 600, "a cpio archive", "as initramfs"),
        (bytes(510) + b"\x55\xaa" + bytes(512), "a boot sector", "bzImage"),
        (kernel()[:0x210], "cut off in its boot header", "again"),
    ],
)
def test_what_is_no_kernel(tmp_path: Path, data: bytes, message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        inspect_bytes(tmp_path, data)
    assert str(tmp_path / "vmlinuz") in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(("name", "message"), [("nothing", "does not exist"), (".", "no regular file")])
def test_no_file(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        inspect(tmp_path / name)
    assert str(tmp_path / name) in caught.value.message


def test_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="no regular file"):
        inspect(tmp_path / "fifo")


def test_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.touch(mode=0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(ConfigError, match=r"cannot read kernel .*vmlinuz: Permission denied"):
        inspect(path)


def inspect_temporary(data: bytes) -> KernelImage:
    with tempfile.TemporaryDirectory() as directory:
        return inspect_bytes(Path(directory), data)


@given(st.integers(0, len(kernel()) - 1))
def test_truncated_anywhere(length: int) -> None:
    with pytest.raises(ConfigError):
        inspect_temporary(kernel()[:length])


@given(st.lists(st.tuples(st.integers(0x1F0, 0x264), st.integers(0, 255)), min_size=1, max_size=6))
def test_flipped_bytes(flips: list[tuple[int, int]]) -> None:
    image = bytearray(kernel())
    for offset, value in flips:
        image[offset] = value
    with contextlib.suppress(ConfigError):
        assert inspect_temporary(bytes(image)).size == len(image)


@given(st.binary(max_size=1024))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(ConfigError, match="vmlinuz"):
        inspect_temporary(data)
