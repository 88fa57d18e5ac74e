"""Made-up machines: trees as sysfs and proc show them, with disks, partitions and what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.flash.discovery import Database, Sources

if TYPE_CHECKING:
    from pathlib import Path

    from harness.flash.device import Content

GIB = 1 << 30
PCI = "pci0000:00/0000:00:04.0"
ROOT = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"


class World(msgspec.Struct):
    """A machine without a disk, at first.

    Attributes:
        root: Where its trees are.
        mounts: Lines of /proc/self/mountinfo.
        swaps: Paths in /proc/swaps.
        udev: What udev knows, by name; None where it does not run.
        contents: What a look at a disk's own bytes finds.
    """

    root: Path
    mounts: list[str] = msgspec.field(default_factory=list)
    swaps: list[str] = msgspec.field(default_factory=list)
    udev: dict[str, dict[str, str]] | None = None
    contents: list[Content] = msgspec.field(default_factory=list)
    numbers: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("sys/class/block", "sys/devices", "sys/fs", "proc/self"):
            (self.root / name).mkdir(parents=True)

    def block(self, name: str, place: str, number: str, size: int = 8 * GIB, **files: str) -> Path:
        """A block device; more files of its directory by keyword, "__" standing for "/"."""
        directory = self.root / "sys/devices" / place / name
        for file, text in {
            "dev": number,
            "size": str(size // 512),
            "ro": "0",
            "removable": "0",
            **files,
        }.items():
            path = directory / file.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        (self.root / "sys/class/block" / name).symlink_to(directory)
        major, minor = map(int, number.split(":"))
        self.numbers[f"/dev/{name}"] = (major, minor)
        return directory

    def partition(self, disk: Path, name: str, number: str, size: int = GIB) -> None:
        place = disk.relative_to(self.root / "sys/devices")
        self.block(name, str(place), number, size, partition=name[-1])

    def stick(self, name: str = "sdb", number: str = "8:16", size: int = 8 * GIB, **files: str) -> Path:
        """A USB stick with a serial number; keywords change the USB device's files, or the disk's."""
        usb = f"{PCI}/usb2/2-1"
        parts = {
            "idVendor": "0951",
            "manufacturer": "Kingston",
            "product": "Traveler",
            "serial": "001A92053B6A",
        }
        disk = {
            "removable": "1",
            "diskseq": "9",
            "device__vendor": "Kingston",
            "device__model": "DataTraveler 3.0",
        }
        for file, text in files.items():
            (parts if file in parts else disk)[file] = text
        place = self.root / "sys/devices" / usb
        place.mkdir(parents=True, exist_ok=True)
        for file, text in parts.items():
            (place / file).write_text(f"{text}\n")
        return self.block(name, f"{usb}/2-1:1.0/host6/target6:0:0/6:0:0:0/block", number, size, **disk)

    def internal(self, name: str = "sda", number: str = "8:0", size: int = 500 * GIB, **files: str) -> Path:
        """A SATA disk, with a partition that is mounted as the root."""
        place = "pci0000:00/0000:00:1f.2"
        files = {"device__vendor": "ATA", "device__model": "Samsung SSD", **files}
        disk = self.block(name, f"{place}/ata1/host0/target0:0:0/0:0:0:0/block", number, size, **files)
        subsystem = self.root / "sys/devices" / place / "subsystem"
        if not subsystem.exists():
            bus = self.root / "sys/bus/pci"
            bus.mkdir(parents=True, exist_ok=True)
            subsystem.symlink_to(bus)
        return disk

    def stack(self, name: str, number: str, slaves: list[str], **files: str) -> None:
        """Something made of other devices."""
        directory = self.block(name, "virtual/block", number, GIB, **files)
        for slave in slaves:
            (directory / "slaves" / slave).mkdir(parents=True)

    def known(self, name: str = "sdb", **properties: str) -> None:
        """Have udev know a disk, as it would be known."""
        directory = (self.root / "sys/class/block" / name).resolve()
        number = (directory / "dev").read_text().strip().split(":")
        sequence = directory / "diskseq"
        self.udev = self.udev or {}
        self.udev[name] = {
            "MAJOR": number[0],
            "MINOR": number[1],
            "DEVPATH": f"/{directory.relative_to(self.root / 'sys')}",
            **({"DISKSEQ": sequence.read_text().strip()} if sequence.exists() else {}),
            **properties,
        }

    @property
    def sources(self) -> Sources:
        """Where the harness looks instead of at the real machine."""
        (self.root / "proc/self/mountinfo").write_text("".join(f"{line}\n" for line in self.mounts))
        head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
        swaps = "".join(f"{path}\tpartition\t8388604\t0\t-2\n" for path in self.swaps)
        (self.root / "proc/swaps").write_text(head + swaps)
        return Sources(
            self.root / "sys",
            self.root / "proc",
            lambda: Database(self.udev is not None, self.udev or {}),
            self.numbers.get,
            self._probe,
        )

    def _probe(self, name: str, _: str) -> list[Content]:
        return [content for content in self.contents if content.where == name]
