"""Opens the image that is written to a disk.

Its bytes tell its kind; it is unpacked where needed, and refused if no disk holds such an image.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.formats.opened import OpenedImage, open_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_SIGNATURE = b"\x55\xaa"  # at the end of a boot sector
_LINUX = b"HdrS"  # a kernel has the signature too
_ACCEPTED = "a disk takes hybrid ISO images and disk images, raw, compressed or qcow2"


class FlashSource(msgspec.Struct, frozen=True):
    """An image that can be written to a disk."""

    path: Path  # the file, as the user named it
    what: str  # what it is, in words
    descriptor: int  # open for reading, raw
    size: int  # in bytes


@contextmanager
def opened(path: Path) -> Iterator[FlashSource]:
    """Open an image that is to be written to a disk."""
    if path.is_block_device():
        raise ConfigError(f"{path} is a device and no image", hint="give the file of an image")
    with ExitStack() as stack:
        try:
            image = stack.enter_context(open_image(path))
        except ConfigError:
            # Boot sectors of their own kind, such as builder-hex0's, need no partition table.
            if not _has_boot_sector(path):
                raise
            raw, what = path, "disk image with a boot sector"
        else:
            _check_kind(image)
            raw, what = image.raw, image.format
        descriptor = os.open(raw, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, descriptor)
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise ConfigError(f"{path} is empty", hint=_ACCEPTED)
        yield FlashSource(path, what, descriptor, size)


def _check_kind(image: OpenedImage) -> None:
    """Refuse what is an image, but none of a disk."""
    match image.kind:
        case "cpio":
            raise ConfigError(
                f"{image.path} is a {image.format}: a kernel unpacks it, and no machine boots from it",
                hint=f"{_ACCEPTED}; `harness build --only usb` makes one with this initramfs in it",
            )
        case "tar":
            raise ConfigError(f"{image.path} is a {image.format} and no disk", hint=_ACCEPTED)
        case "iso" if not _has_boot_sector(image.raw):
            raise ConfigError(
                f"{image.path} is an ISO image for CDs only: it has no boot sector, and boots from no stick",
                hint="make a hybrid one, with `isohybrid` or `harness build --only usb`",
            )


def _has_boot_sector(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError:
        return False
    return head[510:512] == _SIGNATURE and not head.startswith(_LINUX, 0x202)
