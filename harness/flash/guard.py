"""Decides which disks may be written to. It never writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.core.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.flash.device import Device, Identity

LARGEST = 512 << 30  # bytes: sticks for booting are smaller, disks with backups are not
TAIL = 4  # characters of the serial number that a person types at least

_LIST = "`harness flash --list` shows which disks may be written to"
_WORDS = {"sys_path": "place", "sequence": "sequence number"}


class Refusal(msgspec.Struct, frozen=True):
    """Why a disk is not written to."""

    reason: str  # a clause that follows the disk's name: "is mounted"
    hint: str  # what to do about it
    forceable: bool = False  # whether --force overrides it


def refusals(device: Device, needed: int = 0) -> Iterator[Refusal]:
    """All that speaks against writing to a device, as it was just seen, the gravest first.

    `needed` are the bytes that the image takes; 0 if that is not known yet.
    """
    if device.kind == "partition":
        yield Refusal(f"is a partition of {device.disk}", f"give the whole disk: {device.disk}")
    elif device.kind not in {"disk", "a loop device"}:
        yield Refusal(f"is {device.kind} and no disk", _LIST)
    for use in device.uses:
        if use.system:
            yield Refusal(f"is part of the running system: {use.what}", _LIST)
        else:
            yield Refusal(f"is in use: {use.what}", _RELEASE.get(use.kind, _RELEASE["stack"]))
    for content in device.contents:
        if content.member:
            yield Refusal(
                f"holds {content.kind} (on {content.where})",
                f"if its content is not needed, `wipefs --all /dev/{content.where}` empties it",
            )
    yield from _unsure(device)
    if device.read_only:
        yield Refusal("is write-protected", "many sticks and SD cards have a switch for that")
    if not device.identity.size:
        yield Refusal("has no medium in it", "put a card in, or take another disk")
    yield from _unlikely(device, needed)


_RELEASE = {
    "mounted": "unmount it, if you are sure that it is the disk you mean",
    "swap": "give it back with swapoff, if you are sure that it is the disk you mean",
    "lvm": "deactivate it with vgchange, if you are sure that it is the disk you mean",
    "dm-crypt": "close it with cryptsetup, if you are sure that it is the disk you mean",
    "loop": "give it back with losetup, if you are sure that it is the disk you mean",
    "raid": "stop it with mdadm, if you are sure that it is the disk you mean",
    "btrfs": "unmount it, if you are sure that it is the disk you mean",
    "stack": "release it, if you are sure that it is the disk you mean",
}


def _unsure(device: Device) -> Iterator[Refusal]:
    """What keeps us from knowing which disk this is."""
    for disagreement in device.disagreements:
        what = f"is not surely the one that it seems: {disagreement}"
        yield Refusal(what, "unplug it, plug it in again, and wait a moment")
    if device.pending:
        what = "is not known to udev, which is running"
        yield Refusal(what, "if it is new, try again in a moment; otherwise, is libudev1 installed?")
    if not device.by_udev and not device.identity.serial and device.kind == "disk":
        what = "has no serial number in sysfs, and udev does not know it"
        yield Refusal(what, "start udev (systemd-udevd), so that the disk can be told from others")


def _unlikely(device: Device, needed: int) -> Iterator[Refusal]:
    size = device.identity.size
    if not device.removable and not device.usb:
        what = f"is neither removable nor on USB but on {device.bus}"
        yield Refusal(what, "--force writes to it all the same", forceable=True)
    if size and needed > size:
        yield Refusal(
            f"is too small: the image takes {format_size(needed)} ({needed} bytes) "
            f"and the disk has {format_size(size)} ({size} bytes)",
            "take a larger one",
        )
    if size > LARGEST:
        what = f"is implausibly large for a boot medium: {format_size(size)}"
        yield Refusal(what, "--force writes to it all the same", forceable=True)


def check(device: Device, needed: int = 0, *, force: bool = False) -> None:
    """Refuse a device that must not be written to."""
    for refusal in refusals(device, needed):
        if not (force and refusal.forceable):
            raise ConfigError(f"{device.path} {refusal.reason}", hint=refusal.hint)


def check_same(before: Device, now: Device) -> None:
    """Refuse a device that is no longer the one that was looked at."""
    if before.identity != now.identity:
        raise ConfigError(
            f"{before.path} is no longer the disk that was confirmed: "
            f"{_change(before.identity, now.identity)}; nothing was written",
            hint="it was exchanged; look again with `harness flash --list`",
        )


def _change(before: Identity, now: Identity) -> str:
    """The change that says most to a person."""
    changed = [name for name in before.__struct_fields__ if getattr(before, name) != getattr(now, name)]
    order = ["serial", "model", "vendor", "size", "sys_path", "sequence", "number"]
    name = min(changed, key=order.index)
    was, is_now = getattr(before, name) or "none", getattr(now, name) or "none"
    return f"its {_WORDS.get(name, name)} was {was} and is {is_now}"


def confirms(device: Device, typed: str) -> bool:
    """Whether what a person typed is the end of the disk's serial number, four characters at least."""
    token, typed = device.token.casefold(), typed.strip().casefold()
    return len(typed) >= min(TAIL, len(token)) and token.endswith(typed)


def check_serial(device: Device, expected: str) -> None:
    """Compare the serial number with the one that a script expects: all of it."""
    if device.token != expected:
        raise ConfigError(
            f"{device.path} has the serial number {device.token}, and not {expected}; nothing was written"
            if device.identity.serial
            else f"{device.path} has no serial number; it is known as {device.token}, and not {expected}",
            hint=_LIST,
        )
