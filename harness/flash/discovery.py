"""Finds block devices in sysfs, udev and the kernel's tables."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core import programs
from harness.core.errors import ConfigError, InfraError
from harness.flash import sysfs, uses
from harness.flash.device import Content, Device, Identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from harness.flash.sysfs import Hardware, Node

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


# Both take types from libblkid. wipefs names every signature, where udev has the one that it decided for.
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


_CONTROL = Path("/run/udev/control")  # the socket of udev's daemon


class Database(msgspec.Struct, frozen=True):
    """What udev says."""

    running: bool = False  # whether its daemon runs
    # by the kernel's name of a device, of those that udev has been through
    properties: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=dict)


def database() -> Database:
    """Ask udev; where it is not installed, or cannot be asked, it knows nothing."""
    running = _CONTROL.exists()
    try:
        import pyudev

        context = pyudev.Context()
    except (ImportError, OSError):  # there is no libudev
        return Database(running)
    found = {}
    for device in context.list_devices(subsystem="block"):
        try:
            if device.is_initialized:
                found[device.sys_name] = dict(device.properties)
        except (OSError, KeyError):  # it was unplugged while we asked
            continue
    return Database(running, found)


def disagreements(properties: Mapping[str, str], node: Node, hardware: Hardware, sys: Path) -> Iterator[str]:
    """Where udev says something else about a disk than sysfs, in words.

    That udev is silent about something is no contradiction: its rules differ between releases.
    """
    number = f"{properties.get('MAJOR')}:{properties.get('MINOR')}"
    yield from _differ("its number", number, "{}:{}".format(*node.number))
    place = f"/{node.place.relative_to(sys.resolve())}"
    yield from _differ("its place", properties.get("DEVPATH", ""), place)
    sequence = str(node.sequence) if node.sequence else ""
    yield from _differ("its sequence number", properties.get("DISKSEQ", ""), sequence)
    by_usb = "-usb-" in properties.get("ID_PATH", "") or properties.get("ID_BUS") == "usb"
    if by_usb and not hardware.usb:
        yield "udev has it on USB, and sysfs has not"
    if hardware.usb and not by_usb and "ID_PATH" in properties:
        yield "sysfs has it on USB, and udev has not"
    serial = properties.get("ID_USB_SERIAL_SHORT", "")
    if not serial and properties.get("ID_BUS") == "usb":
        serial = properties.get("ID_SERIAL_SHORT", "")
    if hardware.usb:
        if serial and not hardware.serial:
            yield f"udev has the serial number {serial}, and sysfs none"
        yield from _differ("the serial number", serial, _as_udev_writes(hardware.serial))
        yield from _differ("the model", properties.get("ID_USB_MODEL", ""), _as_udev_writes(hardware.model))


def _differ(what: str, by_udev: str, by_sysfs: str) -> Iterator[str]:
    if by_udev and by_sysfs and by_udev != by_sysfs:
        yield f"{what} is {by_udev} for udev and {by_sysfs} for sysfs"


def _as_udev_writes(value: str) -> str:
    """A value with everything replaced that udev's usb_id does not let through."""
    return re.sub(r"[^A-Za-z0-9#+\-.:=@_\x80-\U0010ffff]", "_", re.sub(r"\s+", "_", value.strip()))


_LIST = "`harness flash --list` shows what there is"


class Sources(msgspec.Struct, frozen=True):
    """Where knowledge about devices comes from; tests have made-up ones."""

    sys: Path = Path("/sys")  # where sysfs is mounted
    proc: Path = Path("/proc")  # where proc is mounted
    database: Callable[[], Database] = database  # asks udev
    number_of: Callable[[str], tuple[int, int] | None] = uses.number_of  # gives the number of a node of /dev
    # looks at a device's own bytes, by name and path
    probe: Callable[[str, str], list[Content]] = on_disk


REAL = Sources()


def disks(sources: Sources = REAL) -> list[Device]:
    """All block devices but partitions, in the order of their names; without what has no size."""
    view = _View(sources)
    return [view.device(node) for node in view.nodes.values() if not node.parent and node.size]


def find(path: str, sources: Sources = REAL) -> Device:
    """The device that a path of the user names."""
    view = _View(sources)
    number = sources.number_of(path)
    if number is None:
        raise _no_device(path)
    for node in view.nodes.values():
        if node.number == number:
            return view.device(node)
    raise ConfigError(
        f"{path} has the number {number[0]}:{number[1]}, which the kernel has no device for", hint=_LIST
    )


def _no_device(path: str) -> ConfigError:
    """What a path is that is no block device, and what to do about it."""
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        return ConfigError(f"there is no device {path} ({error.strerror})", hint=f"is it plugged in? {_LIST}")
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFREG: "a file", stat.S_IFCHR: "a character device"}
    what = kinds.get(stat.S_IFMT(mode), "something else")
    return ConfigError(f"{path} is {what} and no block device", hint=_LIST)


class _View:
    """One look at everything."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.nodes = sysfs.nodes(sources.sys)
        self._database = sources.database()
        try:
            mounts = (sources.proc / "self/mountinfo").read_text("utf-8", "surrogateescape")
            swaps_file = sources.proc / "swaps"
            swaps = swaps_file.read_text("utf-8", "surrogateescape") if swaps_file.exists() else ""
        except OSError as error:
            message = f"cannot see who uses which disk: {error.filename}: {error.strerror}"
            raise InfraError(message, hint="mount /proc; without it no disk is safe") from error
        self._tables = uses.Tables(
            sources.sys, self.nodes, uses.mounts(mounts), uses.swaps(swaps), sources.number_of
        )

    def device(self, node: Node) -> Device:
        sys = self._sources.sys
        hardware = sysfs.hardware(sys, node)
        disk = self.nodes.get(node.parent, node)
        known = self._database.properties.get(node.name)
        serial = hardware.serial
        if known and not hardware.usb:
            serial = serial or known.get("ID_SERIAL_SHORT", "")
        parts = [part for part in self.nodes.values() if node.name in {part.name, part.parent}]
        return Device(
            path=node.path,
            kind=node.kind,
            disk=disk.path,
            identity=Identity(
                number=node.number,
                sequence=node.sequence,
                sys_path=str(node.place),
                vendor=hardware.vendor,
                model=hardware.model,
                serial=serial,
                size=node.size,
            ),
            bus=hardware.bus,
            removable=disk.removable,
            usb=hardware.usb,
            read_only=node.read_only,
            discards=sysfs.discards(disk),
            contents=tuple(self._contents(parts, look=hardware.usb or disk.removable or known is None)),
            uses=self._tables.uses_of(disk.name),
            by_udev=known is not None,
            pending=self._database.running and known is None,
            disagreements=tuple(disagreements(known, node, hardware, sys)) if known else (),
        )

    def _contents(self, parts: Iterable[Node], *, look: bool) -> dict[Content, None]:
        """What is on a disk and its partitions: what udev found, and what else their bytes say."""
        found: dict[Content, None] = {}
        for part in parts:
            by_udev = list(known_to_udev(part.name, self._database.properties.get(part.name, {})))
            kinds = {content.kind for content in by_udev}
            probed = self._sources.probe(part.name, part.path) if look and part.size else []
            found |= dict.fromkeys([*by_udev, *(each for each in probed if each.kind not in kinds)])
        return found
