"""Finds mounts, swap and volumes that use a disk.

The kernel's tables lead through volumes, RAIDs and loop devices down to the disks.
"""

from __future__ import annotations

import os
import re
import stat
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from harness.flash.device import Use
from harness.flash.sysfs import Node, names, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path


# Without these the system that we run on would stop working, or not come up again.
_SYSTEM = re.compile(r"/|/(bin|boot|efi|etc|home|lib|lib64|nix|opt|root|sbin|srv|usr|var)(/.*)?")
_DM_KINDS = {"LVM": ("lvm", "the LVM volume"), "CRYPT": ("dm-crypt", "the encrypted volume")}
_DM_OTHER = ("device-mapper", "the volume")


class Mount(msgspec.Struct, frozen=True):
    """A line of /proc/self/mountinfo (proc(5))."""

    number: tuple[int, int]
    place: str
    kind: str
    source: str


def mounts(table: str) -> list[Mount]:
    """Read the text of /proc/self/mountinfo."""
    found = []
    for line in table.splitlines():
        words = line.split(" ")
        kind, source = words[words.index("-", 6) + 1 :][:2]
        major, minor = map(int, words[2].split(":"))
        found.append(Mount((major, minor), unescape(words[4]), kind, unescape(source)))
    return found


def swaps(table: str) -> list[str]:
    """The files and devices in the text of /proc/swaps."""
    return [unescape(line.split()[0]) for line in table.splitlines()[1:] if line.strip()]


def unescape(word: str) -> str:
    """Undo the kernel's octal escapes of blanks, tabs, line ends and backslashes."""
    octal = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8) & 255]), os.fsencode(word))
    return os.fsdecode(octal)


def number_of(path: str) -> tuple[int, int] | None:
    """Major and minor number of a block device's node; None if the path is none."""
    if not path.startswith("/"):  # "tmpfs" and the like
        return None
    try:
        status = os.stat(path)  # noqa: PTH116 - the kernel's text need not be a normal path
    except (OSError, ValueError):
        return None
    return (os.major(status.st_rdev), os.minor(status.st_rdev)) if stat.S_ISBLK(status.st_mode) else None


class Tables(msgspec.Struct, frozen=True, dict=True):
    """The kernel's tables at one moment."""

    sys: Path  # where sysfs is mounted
    nodes: Mapping[str, Node]  # all block devices
    # all mounts that we see. Those of other mount namespaces show when the disk is opened
    mounts: list[Mount]
    swaps: list[str]  # all swap devices and files
    number_of: Callable[[str], tuple[int, int] | None] = number_of  # gives the number of a node of /dev

    def uses_of(self, disk: str) -> tuple[Use, ...]:
        """Who uses a disk or any part of it; the running system first."""
        found = dict.fromkeys(use for where, use in self._all if where == disk)
        return tuple(sorted(found, key=lambda use: not use.system))

    @cached_property
    def _all(self) -> list[tuple[str, Use]]:
        return [use for row in self._rows() for use in self._on_disks(*row)]

    @cached_property
    def _by_number(self) -> dict[tuple[int, int], str]:
        return {node.number: node.name for node in self.nodes.values()}

    @cached_property
    def _btrfs(self) -> dict[str, tuple[str, ...]]:
        """Names of the devices of each btrfs that is mounted, by its UUID."""
        return {
            uuid: names(self.sys / "fs/btrfs" / uuid / "devices") for uuid in names(self.sys / "fs/btrfs")
        }

    def _rows(self) -> Iterator[tuple[Iterable[str], str, str, bool]]:
        """Names of devices, how they are used, in a word and in words, and whether the system needs them."""
        for mount in self.mounts:
            system = bool(_SYSTEM.fullmatch(mount.place))
            yield self._below_mount(mount), "mounted", f"is mounted at {mount.place}", system
        for path in self.swaps:
            yield self._named(path), "swap", "is used as swap", False
        for node in self.nodes.values():
            if node.parent:
                continue
            if backing := text(node.place / "loop/backing_file"):
                yield self._named(backing), "loop", f"belongs to the loop device {node.path}", False
            else:
                kind, words = self._stack_kind(node)
                yield node.slaves, kind, f"belongs to {words}", False
        for uuid, members in self._btrfs.items():
            yield members, "btrfs", f"belongs to the mounted btrfs {uuid}", False

    def _named(self, path: str) -> list[str]:
        """The device whose node a path is, if it is one."""
        number = self.number_of(path)
        return [self._by_number[number]] if number in self._by_number else []

    def _stack_kind(self, node: Node) -> tuple[str, str]:
        if node.name.startswith("dm-"):
            prefix = text(node.place / "dm/uuid").partition("-")[0]
            kind, words = _DM_KINDS.get(prefix, _DM_OTHER)
            return kind, f"{words} {text(node.place / 'dm/name')}"
        if node.name.startswith("md"):
            return "raid", f"the RAID {node.path}"
        if node.name.startswith("bcache"):
            return "bcache", f"the cached disk {node.path}"
        return "stack", node.path

    def _on_disks(
        self, names: Iterable[str], kind: str, does: str, system: bool
    ) -> Iterator[tuple[str, Use]]:
        """The use of devices, for each disk that they lie on."""
        for name in names:
            for disk, through in self._disks_below(name, ()):
                top = self.nodes[name]
                where = top.path
                if disk not in {name, top.parent}:
                    where += f", which lies on {self.nodes[through].path},"
                yield disk, Use(kind, f"{where} {does}", system)

    def _disks_below(self, name: str, seen: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """All disks that a device lies on, with the partition of them; a disk lies on itself."""
        node = self.nodes.get(name)
        if node is None or name in seen:
            return
        disk = self.nodes.get(node.parent, node)
        yield disk.name, name
        for slave in disk.slaves:
            yield from self._disks_below(slave, (*seen, name))
        if backing := text(disk.place / "loop/backing_file"):
            for below in self._below_path(backing.removesuffix(" (deleted)")):
                yield from self._disks_below(below, (*seen, name))

    def _below_path(self, path: str) -> list[str]:
        """The devices that a file or node lies on."""
        if named := self._named(path):
            return named
        holding = [mount for mount in self.mounts if f"{path}/".startswith(f"{mount.place.rstrip('/')}/")]
        return self._below_mount(max(holding, key=lambda mount: len(mount.place))) if holding else []

    def _below_mount(self, mount: Mount) -> list[str]:
        """The devices that a filesystem lies on; btrfs and others with several have a number of their own."""
        if name := self._by_number.get(mount.number):
            return [name]
        numbers = [self.number_of(part) for part in [mount.source, *mount.source.split(":")]]
        found = dict.fromkeys(self._by_number[number] for number in numbers if number in self._by_number)
        for members in self._btrfs.values():
            if found.keys() & set(members):
                found |= dict.fromkeys(name for name in members if name in self.nodes)
        return list(found)
