"""Finds block devices in sysfs, udev and the kernel's tables."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError, InfraError
from harness.flash import signatures, sysfs, udev, uses
from harness.flash.device import Device, Identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.flash.device import Content
    from harness.flash.sysfs import Node

_LIST = "`harness flash --list` shows what there is"


class Sources(msgspec.Struct, frozen=True):
    """Where knowledge about devices comes from; tests have made-up ones."""

    sys: Path = Path("/sys")  # where sysfs is mounted
    proc: Path = Path("/proc")  # where proc is mounted
    database: Callable[[], udev.Database] = udev.database  # asks udev
    number_of: Callable[[str], tuple[int, int] | None] = uses.number_of  # gives the number of a node of /dev
    # looks at a device's own bytes, by name and path
    probe: Callable[[str, str], list[Content]] = signatures.on_disk


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
        message, hint = _no_device(path)
        raise ConfigError(message, hint=hint)
    for node in view.nodes.values():
        if node.number == number:
            return view.device(node)
    raise ConfigError(
        f"{path} has the number {number[0]}:{number[1]}, which the kernel has no device for", hint=_LIST
    )


def _no_device(path: str) -> tuple[str, str]:
    """What a path is that is no block device, and what to do about it."""
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        return f"there is no device {path} ({error.strerror})", f"is it plugged in? {_LIST}"
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFREG: "a file", stat.S_IFCHR: "a character device"}
    what = kinds.get(stat.S_IFMT(mode), "something else")
    return f"{path} is {what} and no block device", _LIST


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
            raise InfraError(
                f"cannot see who uses which disk: {error.filename}: {error.strerror}",
                hint="mount /proc; without it no disk is safe",
            ) from error
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
            disagreements=tuple(udev.disagreements(known, node, hardware, sys)) if known else (),
        )

    def _contents(self, parts: Iterable[Node], *, look: bool) -> dict[Content, None]:
        """What is on a disk and its partitions: what udev found, and what else their bytes say."""
        found: dict[Content, None] = {}
        for part in parts:
            by_udev = list(signatures.known_to_udev(part.name, self._database.properties.get(part.name, {})))
            kinds = {content.kind for content in by_udev}
            probed = self._sources.probe(part.name, part.path) if look and part.size else []
            found |= dict.fromkeys([*by_udev, *(each for each in probed if each.kind not in kinds)])
        return found
