"""Builds hybrid images: ISO images that boot from stick too.

They boot by BIOS and by UEFI, with a menu. They are an ISO 9660 filesystem (`formats.iso.filesystem`) with
boot loaders and their menu (`boot_loaders`). Firmware finds them through El Torito on a CD, and through the
boot record in front (`formats.iso.boot`) on a stick or disk.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

import msgspec

from harness.formats.iso import boot as iso_boot
from harness.formats.order import merge
from harness.formats.tree import Entry, Written
from harness.image import boot_loaders

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.image.ingredients import Ingredients
    from harness.recipe import Iso

_CATALOG = "isolinux/boot.cat"
_LABEL_MAX = 32


def describe(iso: Iso, given: Ingredients) -> dict[str, object]:
    """All that determines the image beside its own keys, as JSON values."""
    starts = [(given.kernel(entry.kernel).image, given.image(entry.initramfs)) for entry in iso.menu]
    return {
        "menu": [[kernel.sha256, kernel.version, initramfs.digest] for kernel, initramfs in starts],
        "disk": given.image(iso.disk).digest if iso.disk else "",
        "loaders": [package.sha256 for package in boot_loaders.packages(given).values()],
    }


def write(iso: Iso, given: Ingredients, tree: Sequence[Entry], path: Path, *, work: Path) -> list[Written]:
    """Write a hybrid image: what the recipe adds, what its menu starts, the boot loaders; sorted by path."""
    from harness.formats.iso.filesystem import Filesystem, still_clock

    loaders = boot_loaders.unpack(given)
    number = int.from_bytes(hashlib.sha256(iso.name.encode()).digest()[:4], "big")
    efi_system = loaders.efi_system(work, serial=number)
    with still_clock(given.context.mtime):
        filesystem = Filesystem(iso.label or _label(iso.name))
        filesystem.add(merge([*tree, *files(iso, given, loaders), efi_system]))
        filesystem.boot_from(boot_loaders.ISOLINUX, boot_loaders.EFI_SYSTEM, catalog=_CATALOG)
        filesystem.write(path)
    with path.open("r+b") as image:
        size = -(-image.seek(0, os.SEEK_END) // iso_boot.CYLINDER) * iso_boot.CYLINDER
        image.truncate(size)
        isolinux, length = filesystem.extent(boot_loaders.ISOLINUX)
        record = iso_boot.boot_record(
            loaders.mbr_code_file.read_bytes(),
            isolinux=isolinux,
            number=number,
            size=size,
            efi=filesystem.extent(boot_loaders.EFI_SYSTEM),
        )
        image.seek(0)
        image.write(record)
        # Where it lies was written into it, so what is in the image is not what was read.
        image.seek(isolinux)
        sha256 = hashlib.sha256(image.read(length)).hexdigest()
        return [
            msgspec.structs.replace(each, sha256=sha256) if each.path == boot_loaders.ISOLINUX else each
            for each in filesystem.written()
        ]


def files(iso: Iso, given: Ingredients, loaders: boot_loaders.Loaders) -> list[Entry]:
    """What the image has beside the recipe's contents: what its menu starts, loaders, menu and disk."""
    added = [*boot_loaders.menu(iso, given), *loaders.bios()]
    if iso.disk:
        disk = given.image(iso.disk)
        added.append(
            Entry(disk.path.name, stat.S_IFREG | 0o644, content=disk.path, source=f"image {disk.name}")
        )
    return added


def _label(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name.upper())[:_LABEL_MAX]
