"""A block device as a value: identity, contents, and uses."""

from __future__ import annotations

import msgspec


class Use(msgspec.Struct, frozen=True):
    """A use of a disk, or of a part of it, right now.

    Attributes:
        kind: "mounted", "swap", "lvm", "dm-crypt", "device-mapper", "raid", "bcache", "stack", "loop" or
            "btrfs".
        what: A sentence: "/dev/sdb1 is mounted at /mnt".
        system: Whether it is part of the running system.
    """

    kind: str
    what: str
    system: bool = False


class Content(msgspec.Struct, frozen=True):
    """What lies on a disk or on one of its partitions, by its signature.

    Attributes:
        where: Name of the disk or partition, such as "sdb1".
        kind: In words: "ext4", "GPT", "LVM".
        label: Of a filesystem, if it has one.
        member: Whether it is a part of something that other disks may belong to, or that hides data: LVM,
            RAID, ZFS, LUKS.
    """

    where: str
    kind: str
    label: str = ""
    member: bool = False

    def __str__(self) -> str:
        label = f" “{self.label}”" if self.label else ""
        return f"{self.where}: {self.kind}{label}"


class Identity(msgspec.Struct, frozen=True):
    """What must stay the same between a look at a disk and the first byte that is written to it.

    Attributes:
        number: Major and minor number of its node.
        sequence: The kernel's count of disks when this one appeared (diskseq, Linux 5.15); 0 if it has none.
        sys_path: Its place below /sys/devices.
        vendor: As the disk says it.
        model: As the disk says it.
        serial: As the disk says it.
        size: In bytes.
    """

    number: tuple[int, int]
    sequence: int
    sys_path: str
    vendor: str
    model: str
    serial: str
    size: int


class Device(msgspec.Struct, frozen=True):
    """A block device.

    Attributes:
        path: Its node, such as /dev/sdb.
        kind: "disk", "partition", or in words what else it is: "a loop device".
        disk: The node of the disk that a partition is on.
        identity: What it is.
        bus: How it is attached: "usb 2-1.4", "pci 0000:00:1f.2", "virtual".
        removable: Whether the kernel takes its medium for removable.
        usb: Whether it is attached by USB.
        read_only: Whether the kernel takes it for write-protected.
        discards: Whether it can be told to forget blocks.
        contents: What is on it; () also where it could not be read.
        uses: Who uses it.
        by_udev: Whether udev knows it as well; otherwise all this is from sysfs alone.
        pending: Whether udev runs and does not know it (yet).
        disagreements: Where udev and sysfs contradict each other, in words.
    """

    path: str
    kind: str
    disk: str
    identity: Identity
    bus: str
    removable: bool
    usb: bool
    read_only: bool
    discards: bool = False
    contents: tuple[Content, ...] = ()
    uses: tuple[Use, ...] = ()
    by_udev: bool = False
    pending: bool = False
    disagreements: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Vendor and model, for people."""
        return " ".join(filter(None, [self.identity.vendor, self.identity.model])) or "nameless"

    @property
    def token(self) -> str:
        """What a person confirms the disk by: its serial number, or its bus path where it has none."""
        return self.identity.serial or self.bus
