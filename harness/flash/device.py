"""A block device as a value: identity, contents, and uses."""

from __future__ import annotations

import msgspec


class Use(msgspec.Struct, frozen=True):
    """A use of a disk, or of a part of it, right now."""

    # "mounted", "swap", "lvm", "dm-crypt", "device-mapper", "raid", "bcache", "stack", "loop" or "btrfs"
    kind: str
    what: str  # a sentence: "/dev/sdb1 is mounted at /mnt"
    system: bool = False  # whether it is part of the running system


class Content(msgspec.Struct, frozen=True):
    """What lies on a disk or on one of its partitions, by its signature."""

    where: str  # name of the disk or partition, such as "sdb1"
    kind: str  # in words: "ext4", "GPT", "LVM"
    label: str = ""  # of a filesystem, if it has one
    # whether it is a part of something that other disks may belong to, or that hides data: LVM, RAID, ZFS,
    # LUKS
    member: bool = False

    def __str__(self) -> str:
        label = f" “{self.label}”" if self.label else ""
        return f"{self.where}: {self.kind}{label}"


class Identity(msgspec.Struct, frozen=True):
    """What must stay the same between a look at a disk and the first byte that is written to it."""

    number: tuple[int, int]  # major and minor number of its node
    # the kernel's count of disks when this one appeared (diskseq, Linux 5.15); 0 if it has none
    sequence: int
    sys_path: str  # its place below /sys/devices
    vendor: str  # as the disk says it
    model: str  # as the disk says it
    serial: str  # as the disk says it
    size: int  # in bytes


class Device(msgspec.Struct, frozen=True):
    """A block device."""

    path: str  # its node, such as /dev/sdb
    kind: str  # "disk", "partition", or in words what else it is: "a loop device"
    disk: str  # the node of the disk that a partition is on
    identity: Identity  # what it is
    bus: str  # how it is attached: "usb 2-1.4", "pci 0000:00:1f.2", "virtual"
    removable: bool  # whether the kernel takes its medium for removable
    usb: bool  # whether it is attached by USB
    read_only: bool  # whether the kernel takes it for write-protected
    discards: bool = False  # whether it can be told to forget blocks
    contents: tuple[Content, ...] = ()  # what is on it; () also where it could not be read
    uses: tuple[Use, ...] = ()  # who uses it
    by_udev: bool = False  # whether udev knows it as well; otherwise all this is from sysfs alone
    pending: bool = False  # whether udev runs and does not know it (yet)
    disagreements: tuple[str, ...] = ()  # where udev and sysfs contradict each other, in words

    @property
    def name(self) -> str:
        """Vendor and model, for people."""
        return " ".join(filter(None, [self.identity.vendor, self.identity.model])) or "nameless"

    @property
    def token(self) -> str:
        """What a person confirms the disk by: its serial number, or its bus path where it has none."""
        return self.identity.serial or self.bus
