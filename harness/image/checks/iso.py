"""Checks whether an ISO image boots, and from what."""

from __future__ import annotations

import re
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.formats.iso.boot import CODE_SIZE, DISK_SECTOR, EFI_SYSTEM_TYPE, SIGNATURE, IsoBoot, describe
from harness.formats.iso.reader import members
from harness.formats.tree import Member, MemberTree
from harness.image.checks.kernel_checks import Finding
from harness.kernel.bzimage import inspect

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


_MENUS = ("isolinux.cfg", "syslinux.cfg", "grub.cfg")
_MENU_MAX = 1 << 16  # bytes of a menu that are read
# A line that names a file by its whole path, in ISOLINUX's menus and in GRUB's.
_NAMED = re.compile(
    r"^\s*(?P<what>linux|kernel|initrd)\s+(?P<path>/[^\s$,()]+)(?=\s|$)", re.IGNORECASE | re.MULTILINE
)
_ISOLINUX_RECORD = b"isolinux.bin missing or corrupt"  # words of its boot record
_PLACE = 432  # where that boot record has the place of isolinux.bin, in sectors of 512 bytes
_OTHER_ROOT = re.compile(r"^\s*(set\s+root=|search\b|root\s)", re.MULTILINE)  # GRUB looks at another disk
_AGAIN = "build it or fetch it again"
_OTHER = "boot it in another way, or take another image"
WAYS = ("from CD by BIOS", "from CD by UEFI", "from USB by BIOS", "from USB by UEFI")


def check_iso(path: Path, ways: Collection[str] = ()) -> Iterator[Finding]:
    """Find what keeps an image from booting in those of `WAYS` in which it must.

    An image is not worse for what it was not made for: without a boot loader for UEFI, say, a remark is made.
    """
    boot = describe(path)
    if boot.size < boot.volume:
        yield _bad(f"it is cut off: it has {boot.size} bytes, and its volume descriptor says {boot.volume}")
    if boot.record.endswith(SIGNATURE):
        yield from _record(boot)
    lacking = _lacking(boot)
    for way, what in lacking.items():
        yield Finding(False if way in ways else None, f"{what}, so that it does not boot {way}", _OTHER)
    if boot.catalog is not None:
        yield from _catalog(path, boot)
    try:
        yield from _menus(path)
    except ConfigError as error:
        yield _bad(error.message)
    if able := [way for way in WAYS if way not in lacking]:
        yield Finding(True, f"it is made to boot {', '.join(able)}")


def _bad(what: str) -> Finding:
    return Finding(False, what, _AGAIN)


def _lacking(boot: IsoBoot) -> dict[str, str]:
    """The ways in which an image does not boot, and what it has not."""
    lacking = {}
    started = {entry.platform for entry in boot.entries if entry.bootable}
    for platform in ("BIOS", "UEFI"):
        if boot.catalog is None:
            lacking[f"from CD by {platform}"] = "it has no El Torito boot catalog"
        elif boot.sound and platform not in started:
            lacking[f"from CD by {platform}"] = f"its boot catalog has nothing for {platform}"
    if not boot.record.endswith(SIGNATURE):
        what = "it has no boot record (isohybrid)"
        return lacking | {way: what for way in WAYS if "USB" in way}
    if not boot.record[:CODE_SIZE].strip(b"\0"):
        lacking[WAYS[2]] = "its boot record has no program"
    elif not boot.slices and not boot.gpt:
        lacking[WAYS[2]] = "its boot record has no partition"
    if not boot.gpt and all(each.type != EFI_SYSTEM_TYPE for each in boot.slices):
        lacking[WAYS[3]] = "its boot record has no EFI system partition"
    return lacking


def _catalog(path: Path, boot: IsoBoot) -> Iterator[Finding]:
    """What is wrong with how it boots as a CD."""
    if boot.catalog is not None and boot.catalog >= boot.size:
        yield _bad(f"its boot catalog is said to be at byte {boot.catalog}, which is outside of the image")
    elif not boot.sound:
        yield _bad(f"its boot catalog at byte {boot.catalog} is damaged: no firmware takes it")
    for entry in boot.entries:
        if not entry.bootable or entry.platform not in {"BIOS", "UEFI"}:
            continue
        if not entry.offset or entry.offset + entry.size > boot.size:
            yield _bad(
                f"its boot loader for {entry.platform} at byte {entry.offset} lies outside of the image"
            )
        elif problem := _loader(path, entry.platform, entry.offset):
            yield _bad(problem)


def _loader(path: Path, platform: str, offset: int) -> str:
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(DISK_SECTOR)
    # A FAT filesystem begins with a jump over the table behind it, and its sector ends with a signature.
    if platform == "UEFI" and not (head.endswith(SIGNATURE) and head[:1] in {b"\xeb", b"\xe9"}):
        return f"its boot catalog has something for UEFI at byte {offset} that is no FAT filesystem"
    if not head.strip(b"\0"):
        return f"its boot loader for {platform} at byte {offset} is nothing but zeros"
    return ""


def _record(boot: IsoBoot) -> Iterator[Finding]:
    """What is wrong with how it boots as a USB stick."""
    end = max((each.offset + each.size for each in boot.slices), default=boot.volume)
    if end < boot.volume:
        what = (
            f"the partitions in its boot record end at byte {end}, before the volume's end at {boot.volume}"
        )
        yield Finding(None, what, _OTHER)
    for number, each in enumerate(boot.slices, start=1):
        if each.type == EFI_SYSTEM_TYPE and each.offset + each.size > boot.size:
            yield _bad(f"partition {number} of its boot record, for UEFI, goes on after the image's end")
    bios = [entry.offset for entry in boot.entries if entry.platform == "BIOS"]
    if bios and _ISOLINUX_RECORD in boot.record:
        (sector,) = struct.unpack_from("<I", boot.record, _PLACE)
        if sector * DISK_SECTOR != bios[0]:
            looks = sector * DISK_SECTOR
            yield _bad(f"its boot record looks for isolinux.bin at byte {looks}, and it is at {bios[0]}")


def _menus(path: Path) -> Iterator[Finding]:
    """What its menus name and does not work."""
    tree = MemberTree(members(path))
    named: dict[str, set[str]] = {}
    elsewhere: set[str] = set()  # what a menu may take from another disk
    for place, member in tree.members.items():
        if member.is_file and place.rpartition("/")[2].lower() in _MENUS and member.size <= _MENU_MAX:
            text = b"".join(member.blocks()).decode("utf-8", "replace")
            for match in _NAMED.finditer(text):
                named.setdefault(match["path"], set()).add(match["what"].lower())
                if _OTHER_ROOT.search(text):
                    elsewhere.add(match["path"])
    for place, kinds in sorted(named.items()):
        found = tree.find(place.strip("/")) or tree.find(place.strip("/").lower())
        if found is None or not found.is_file:
            what = f"its boot menu starts {place}, which is not in the image"
            if place in elsewhere:
                yield Finding(None, f"{what}; it may be on another disk", _OTHER)
            else:
                yield _bad(what)
        elif "initrd" not in kinds and not place.lower().endswith((".c32", ".bin")):
            yield from _kernel(place, found)


def _kernel(place: str, member: Member) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory, "kernel")
        try:
            with copy.open("wb") as file:
                file.writelines(member.blocks())
            inspect(copy)
        except ConfigError as error:
            yield _bad(f"its boot menu starts {place}: {error.message.replace(str(copy), place)}")
