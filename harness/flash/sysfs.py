"""Block devices as the kernel itself shows them in sysfs (Documentation/ABI/stable/sysfs-block).

All functions take the directory that sysfs is mounted on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import InfraError, explaining

if TYPE_CHECKING:
    from pathlib import Path

_SECTOR = 512  # sysfs counts sizes in these, on every disk


class Node(msgspec.Struct, frozen=True):
    """A disk, a partition, or what is made of them."""

    name: str  # the kernel's name, such as "sdb1"; "!" stands for "/" in it
    place: Path  # its directory
    number: tuple[int, int]  # major and minor number
    size: int  # in bytes
    read_only: bool  # whether the kernel refuses to write to it
    removable: bool  # whether the kernel takes its medium for removable
    sequence: int  # count of disks when it appeared; 0 where the kernel does not count
    parent: str  # name of the disk that a partition is on; "" for all else
    slaves: tuple[str, ...]  # names of what it is made of, such as the disks of a RAID

    @property
    def path(self) -> str:
        """The path of its node."""
        return "/dev/" + self.name.replace("!", "/")

    @property
    def kind(self) -> str:
        """Device.kind: "disk", "partition", or in words what else it is."""
        if self.parent:
            return "partition"
        for prefix, words in _OTHERS.items():
            if self.name.startswith(prefix) and self.name[len(prefix) :].isdigit():
                return words
        return "disk"


_OTHERS = {
    "dm-": "a volume of the device mapper",
    "md": "a RAID",
    "loop": "a loop device",
    "sr": "an optical drive",
    "fd": "a floppy drive",
    "zram": "compressed memory",
    "ram": "a RAM disk",
    "nbd": "a network block device",
    "bcache": "a cached disk",
    "drbd": "a replicated disk",
    "zd": "a ZFS volume",
}


class Hardware(msgspec.Struct, frozen=True):
    """What the disk says about itself, and how it is attached; "" for what it does not say."""

    vendor: str = ""
    model: str = ""
    serial: str = ""
    bus: str = "virtual"
    usb: bool = False


def nodes(sys: Path) -> dict[str, Node]:
    """All block devices, by name."""
    with explaining(InfraError, f"cannot look at block devices in {sys}"):
        found = sorted((sys / "class/block").iterdir())
    known = (_node(link) for link in found)
    return {node.name: node for node in known if node}


def _node(link: Path) -> Node | None:
    place = link.resolve()
    major, _, minor = text(place / "dev").partition(":")
    if not minor:  # gone between the listing and this look
        return None
    parent = place.parent.name if (place / "partition").exists() else ""
    return Node(
        name=link.name,
        place=place,
        number=(int(major), int(minor)),
        size=_number(place / "size") * _SECTOR,
        read_only=text(place / "ro") != "0",
        # The kernel does not say so of SD cards; built-in eMMC is of the type MMC.
        removable=text(place / "removable") == "1" or text(place / "device/type") == "SD",
        sequence=_number(place / "diskseq"),
        parent=parent,
        slaves=names(place / "slaves"),
    )


def hardware(sys: Path, node: Node) -> Hardware:
    """What a disk says about itself; partitions have the hardware of their disk."""
    place = node.place.parent if node.parent else node.place
    device = place / "device"
    vendor, model = text(device / "vendor"), text(device / "model") or text(device / "name")
    if vendor.startswith("0x"):  # virtio and NVMe have numbers there
        vendor = ""
    devices = (sys / "devices").resolve()
    for ancestor in place.parents:
        if ancestor == devices or devices not in ancestor.parents:
            break
        if (ancestor / "idVendor").exists():
            return Hardware(
                vendor or text(ancestor / "manufacturer"),
                model or text(ancestor / "product"),
                text(ancestor / "serial"),
                f"usb {ancestor.name}",
                usb=True,
            )
    serial = text(device / "serial") or text(place / "serial") or _vital_product_data(device / "vpd_pg80")
    return Hardware(vendor, model, serial, _bus(place, devices))


def _bus(place: Path, devices: Path) -> str:
    """Where a disk without USB is attached: at the nearest device of a bus with addresses."""
    for ancestor in place.parents:
        if ancestor == devices:
            break
        subsystem = (ancestor / "subsystem").resolve().name
        if subsystem in {"pci", "mmc", "platform"}:
            return f"{subsystem} {ancestor.name}"
    return f"virtual {place.name}"


def _vital_product_data(path: Path) -> str:
    """The unit serial number of a SCSI disk (SPC-4, 7.8.15): four bytes of header, then ASCII."""
    try:
        return path.read_bytes()[4:].decode("ascii", "replace").strip()
    except OSError:
        return ""


def discards(node: Node) -> bool:
    """Whether a disk can be told to forget blocks."""
    return _number(node.place / "queue/discard_max_bytes") > 0


def names(directory: Path) -> tuple[str, ...]:
    """What is in a directory; () if there is none."""
    try:
        return tuple(sorted(entry.name for entry in directory.iterdir()))
    except OSError:
        return ()


def text(path: Path) -> str:
    """A file's text without blanks around it; "" if there is none, or the device is gone."""
    try:
        return path.read_bytes().decode("utf-8", "replace").strip().strip("\0")
    except OSError:
        return ""


def _number(path: Path) -> int:
    found = text(path)
    return int(found) if found.isdecimal() else 0
