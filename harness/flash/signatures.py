"""Signatures on disks and partitions, by udev and by wipefs.

Both take types from libblkid. wipefs names every signature, where udev has the one that it decided for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core import programs
from harness.flash.device import Content

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Types of what is a part of something bigger, or hides data, and our words for it.
_MEMBERS = {
    "LVM1_member": "LVM",
    "LVM2_member": "LVM",
    "linux_raid_member": "RAID",
    "crypto_LUKS": "LUKS",
    "zfs_member": "ZFS",
    "bcache": "bcache",
    "BitLocker": "BitLocker",
    "VMFS_volume_member": "VMFS",
    "drbd": "DRBD",
    "ceph_bluestore": "Ceph",
    "stratis": "Stratis",
}
_TABLES = {"gpt": "GPT", "dos": "MBR"}


class _Signature(msgspec.Struct, frozen=True):
    type: str
    label: str | None = None


class _Signatures(msgspec.Struct, frozen=True):
    signatures: tuple[_Signature, ...] = ()


def known_to_udev(name: str, properties: Mapping[str, str]) -> Iterator[Content]:
    """What udev found on a disk or partition."""
    if table := properties.get("ID_PART_TABLE_TYPE"):
        yield _content(name, table)
    if kind := properties.get("ID_FS_TYPE"):
        yield _content(name, kind, properties.get("ID_FS_LABEL", ""))


def on_disk(name: str, path: str) -> list[Content]:
    """What its own bytes say, each kind once; nothing for a device that we may not read."""
    found = programs.call(["wipefs", "--no-act", "--json", path], package="util-linux")
    if found.returncode != 0 or not found.stdout:
        return []
    rows = msgspec.json.decode(found.stdout, type=_Signatures).signatures
    contents = {row.type: _content(name, row.type, row.label or "") for row in rows}
    if "gpt" in contents:  # an MBR stands in front of it, for programs that know no GPT
        contents.pop("PMBR", None)
    return list(contents.values())


def _content(name: str, kind: str, label: str = "") -> Content:
    member = kind in _MEMBERS or kind.endswith("_raid_member")
    words = _TABLES.get(kind) or _MEMBERS.get(kind) or ("RAID" if member else kind)
    return Content(name, words, label, member)
