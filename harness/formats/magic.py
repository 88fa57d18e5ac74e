"""Names a file's kind by its bytes, for messages.

The magic numbers are those of the formats' own specifications, and of file(1).
"""

from __future__ import annotations

import re

import msgspec

HEAD = 0x10048  # bytes that recognising takes: btrfs has its magic furthest behind


class FileKind(msgspec.Struct, frozen=True):
    """What a file is: in words, and what to do with it."""

    words: str
    hint: str = ""


_UNPACK = "unpack it first"
_CONVERT = "make a raw image of it: qemu-img convert -O raw"
_KERNEL = "`harness kernel inspect` says more"
_LZ4 = "the kernel unpacks the old format only: pack it anew with lz4 -l"
_ZSTD = "the kernel takes frames of data only: pack it anew with zstd instead of pzstd"
_NEWC = "pack it anew with cpio -H newc"
_MOUNT = "mount it, and make an image of a kind that is read"
_SKIPPABLE = b"\x2a\x4d\x18"
# Offset, magic, words, hint. The first that matches counts.
_KINDS = (
    (0x38, b"ARMd", "a Linux kernel for arm64", _KERNEL),
    (0x38, b"RSC\x05", "a Linux kernel for riscv64", _KERNEL),
    (0x24, b"\x18\x28\x6f\x01", "a Linux kernel for armhf", _KERNEL),
    (4, b"zimg", "an EFI zboot kernel", "unpack what is in it: its header says where it is"),
    (0x202, b"HdrS", "a Linux kernel", _KERNEL),
    (0, b"\x7fELF", "an ELF program or kernel", "`harness kernel inspect` says more of kernels"),
    (0, b"MZ", "an EFI program without a Linux boot header", ""),
    (0, b"\x04\x22\x4d\x18", "an lz4 frame, which the kernel does not unpack", _LZ4),
    *((0, bytes([0x50 | low]) + _SKIPPABLE, "a skippable frame of zstd or lz4", _ZSTD) for low in range(16)),
    (0, b"LZIP", "an lzip file, which the kernel does not unpack", "pack it anew with xz --check=crc32"),
    (0, b"\x1f\x9d", "a file that compress (.Z) packed", _UNPACK),
    (0, b"\x1f\x8b", "a gzip file", _UNPACK),
    (0, b"\xfd7zXZ", "an xz file", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file", _UNPACK),
    (0, b"BZh", "a bzip2 file", _UNPACK),
    (0, b"\x02\x21\x4c\x18", "an lz4 file", _UNPACK),
    (0, b"\x89LZO", "an lzop file", _UNPACK),
    (0, b"070707", "a cpio archive of the old kind (odc), which the kernel does not unpack", _NEWC),
    (0, b"07070", "a cpio archive", "give it as initramfs"),
    (0, b"\xc7\x71", "a cpio archive of the binary kind, which the kernel does not unpack", _NEWC),
    (0, b"\x71\xc7", "a cpio archive of the binary kind, which the kernel does not unpack", _NEWC),
    (0, b"KDMV", "a VMDK disk", _CONVERT),
    (0, b"COWD", "a VMDK disk", _CONVERT),
    (0, b"# Disk DescriptorFile", "the description of a VMDK disk", _CONVERT),
    (0x40, b"\x7f\x10\xda\xbe", "a VDI disk", _CONVERT),
    (0, b"vhdxfile", "a VHDX disk", _CONVERT),
    (0, b"conectix", "a VHD disk", _CONVERT),
    (0, b"QED\0", "a QED disk", _CONVERT),
    (0, b"WithoutFreeSpace", "a Parallels disk", _CONVERT),
    (0, b"WithouFreSpacExt", "a Parallels disk", _CONVERT),
    (0, b"\x3a\xff\x26\xed", "an Android sparse image", "unpack it with simg2img"),
    (0, b"ANDROID!", "an Android boot image", "unpack it with unpack_bootimg"),
    (0, b"\x27\x05\x19\x56", "a U-Boot image (uImage)", "take out what is in it: dumpimage"),
    (0, b"\xd0\x0d\xfe\xed", "a device tree or a FIT image", "take out what is in it: dumpimage"),
    (0, b"MSWIM\0\0\0", "a WIM image", _UNPACK),
    (0, b"\0" + b"\xff" * 10 + b"\0", "a CD with raw sectors of 2352 bytes", "convert it with bchunk"),
    (0, b"!<arch>\n", "a Debian package or another ar archive", "unpack it: dpkg-deb -x"),
    (0, b"\xed\xab\xee\xdb", "an RPM package", "unpack it: rpm2cpio"),
    (0, b"PK\x03\x04", "a zip archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (0, b"hsqs", "a squashfs filesystem", "unpack it: unsquashfs"),
    (0x400, b"\xe2\xe1\xf5\xe0", "an EROFS filesystem", _MOUNT),
    (0x400, b"\x10\x20\xf5\xf2", "an F2FS filesystem", _MOUNT),
    (0, b"\x45\x3d\xcd\x28", "a cramfs filesystem", _MOUNT),
    (0, b"-rom1fs-", "a romfs filesystem", _MOUNT),
    (0, b"UBI#", "a UBI image", _MOUNT),
    (0, b"\x85\x19", "a JFFS2 filesystem", _MOUNT),
    (0, b"XFSB", "an XFS filesystem", _MOUNT),
    (0x10040, b"_BHRfS_M", "a btrfs filesystem", _MOUNT),
    (0x8001, b"BEA01", "a UDF filesystem", _MOUNT),
    (0, b"LUKS\xba\xbe", "an encrypted disk (LUKS)", "decrypt it first: cryptsetup open"),
    (0x218, b"LVM2 001", "a physical volume of LVM", "mount its volumes"),
    (3, b"NTFS    ", "an NTFS filesystem without a partition table", _MOUNT),
    (3, b"EXFAT   ", "an exFAT filesystem without a partition table", _MOUNT),
    (54, b"FAT1", "a FAT filesystem without a partition table", "mcopy of mtools takes files out of it"),
    (82, b"FAT32", "a FAT filesystem without a partition table", "mcopy of mtools takes files out of it"),
    (4086, b"SWAPSPACE2", "swap space", ""),
    (0, b"#!", "a script", ""),
    (0, b"%PDF", "a PDF document", ""),
    (0, b"\x89PNG", "a picture", ""),
    (0x1FE, b"\x55\xaa", "a boot sector without a partition table", ""),
)


UNKNOWN = FileKind("something unknown")
ZEROS = FileKind("nothing but zeros where one begins")
_NO_TEXT = re.compile(rb"[\0-\x06\x0e-\x1a\x1c-\x1f\xff]")


def kind_of(head: bytes) -> FileKind:
    """What a file is, by its first `HEAD` bytes."""
    if not head:
        return FileKind("empty")
    for offset, magic, words, hint in _KINDS:
        if head.startswith(magic, offset):
            return FileKind(words, hint)
    if not head.strip(b"\0"):
        return ZEROS
    return UNKNOWN if _NO_TEXT.search(head, 0, 512) else FileKind("a text")
