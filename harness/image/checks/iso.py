"""What keeps an ISO image from booting, in sentences: most of it would be a silent hang."""

from __future__ import annotations

import re
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.formats.iso import isohybrid
from harness.formats.iso.boot import IsoBoot, describe
from harness.formats.iso.reader import members
from harness.formats.lookup import MemberTree
from harness.kernel.bzimage import inspect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.formats.member import Member

_MENUS = ("isolinux.cfg", "syslinux.cfg", "grub.cfg")
_MENU_MAX = 1 << 16  # bytes of a menu that are read
# A line that names a file by its whole path, in ISOLINUX's menus and in GRUB's.
_NAMED = re.compile(
    r"^\s*(?P<what>linux|kernel|initrd)\s+(?P<path>/[^\s$,()]+)(?=\s|$)", re.IGNORECASE | re.MULTILINE
)
_ISOLINUX_RECORD = b"isolinux.bin missing or corrupt"  # words of its boot record
_PLACE = 432  # where that boot record has the place of isolinux.bin, in sectors of 512 bytes
_PLATFORMS = ("BIOS", "UEFI")


def problems(path: Path) -> Iterator[str]:
    """Yield what keeps an image from booting from CD or USB, by BIOS or UEFI.

    Raises:
        ConfigError: It cannot be read.
    """
    boot = describe(path)
    if boot.size < boot.volume:
        yield f"it is cut off: it has {boot.size} bytes, and its volume descriptor says {boot.volume}"
    yield from _catalog(path, boot)
    yield from _record(boot)
    try:
        yield from _menus(path)
    except ConfigError as error:
        yield error.message


def _catalog(path: Path, boot: IsoBoot) -> Iterator[str]:
    """What keeps it from booting as a CD."""
    if boot.catalog is None:
        yield "it has no El Torito boot catalog, so that it does not boot from CD"
        return
    if boot.catalog >= boot.size:
        yield f"its boot catalog is said to be at byte {boot.catalog}, which is outside of the image"
        return
    if not boot.sound:
        yield f"its boot catalog at byte {boot.catalog} is damaged: no firmware takes it"
        return
    for platform in _PLATFORMS:
        entries = [entry for entry in boot.entries if entry.platform == platform and entry.bootable]
        if not entries:
            yield f"its boot catalog has nothing for {platform}, which does not boot it from CD"
        for entry in entries:
            if not entry.offset or entry.offset + entry.size > boot.size:
                yield f"its boot loader for {platform} at byte {entry.offset} lies outside of the image"
            elif problem := _loader(path, platform, entry.offset):
                yield problem


def _loader(path: Path, platform: str, offset: int) -> str:
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(isohybrid.SECTOR)
    if platform == "UEFI" and not _is_fat(head):
        return f"its boot catalog has something for UEFI at byte {offset} that is no FAT filesystem"
    if not head.strip(b"\0"):
        return f"its boot loader for {platform} at byte {offset} is nothing but zeros"
    return ""


def _is_fat(sector: bytes) -> bool:
    """Whether a sector begins a FAT filesystem: its signature, and a jump over the table behind it."""
    return sector.endswith(isohybrid.SIGNATURE) and sector[:1] in {b"\xeb", b"\xe9"}


def _record(boot: IsoBoot) -> Iterator[str]:
    """What keeps it from booting as a USB stick."""
    if not boot.record.endswith(isohybrid.SIGNATURE):
        yield "it has no boot record (isohybrid), so that it does not boot from a USB stick"
        return
    if not boot.slices and not boot.gpt:
        yield "its boot record has no partition, and many firmwares do not boot such a USB stick"
        return
    end = max((each.offset + each.size for each in boot.slices), default=boot.volume)
    if end < boot.volume:
        yield f"the partitions in its boot record end at byte {end}, before the volume's end at {boot.volume}"
    for number, each in enumerate(boot.slices, start=1):
        if each.type == isohybrid.EFI_SYSTEM_TYPE and each.offset + each.size > boot.size:
            yield f"partition {number} of its boot record, for UEFI, goes on after the image's end"
    if not boot.gpt and all(each.type != isohybrid.EFI_SYSTEM_TYPE for each in boot.slices):
        yield "its boot record has no EFI system partition, so that UEFI does not boot it from a USB stick"
    bios = [entry.offset for entry in boot.entries if entry.platform == "BIOS"]
    if bios and _ISOLINUX_RECORD in boot.record:
        (sector,) = struct.unpack_from("<I", boot.record, _PLACE)
        if sector * isohybrid.SECTOR != bios[0]:
            looks = sector * isohybrid.SECTOR
            yield f"its boot record looks for isolinux.bin at byte {looks}, and it is at {bios[0]}"


def _menus(path: Path) -> Iterator[str]:
    """What its menus name and does not work."""
    tree = MemberTree(members(path))
    named: dict[str, set[str]] = {}
    for place, member in tree.members.items():
        if member.is_file and place.rpartition("/")[2].lower() in _MENUS and member.size <= _MENU_MAX:
            text = b"".join(member.blocks()).decode("utf-8", "replace")
            for match in _NAMED.finditer(text):
                named.setdefault(match["path"], set()).add(match["what"].lower())
    for place, kinds in sorted(named.items()):
        found = tree.find(place.strip("/")) or tree.find(place.strip("/").lower())
        if found is None or not found.is_file:
            yield f"its boot menu starts {place}, which is not in the image"
        elif "initrd" not in kinds and not place.lower().endswith((".c32", ".bin")):
            yield from _kernel(place, found)


def _kernel(place: str, member: Member) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory, "kernel")
        try:
            with copy.open("wb") as file:
                file.writelines(member.blocks())
            inspect(copy)
        except ConfigError as error:
            yield f"its boot menu starts {place}: {error.message.replace(str(copy), place)}"
