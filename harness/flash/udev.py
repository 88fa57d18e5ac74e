"""Block devices as udev knows them, and where that contradicts sysfs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.flash.sysfs import Hardware, Node

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
