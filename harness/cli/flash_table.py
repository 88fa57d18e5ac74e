"""What `harness flash` prints: disks, announcement, result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cli.printing import print_wide, say
from harness.core.sizes import format_size
from harness.report.text import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.flash.device import Device
    from harness.flash.guard import Refusal
    from harness.flash.source import FlashSource
    from harness.flash.writer import Flashed


def show_list(judged: Sequence[tuple[Device, Sequence[Refusal]]]) -> None:
    """Print the disks that may be written to as a table, and why each other one may not."""
    candidates = [device for device, refusals in judged if not refusals]
    if candidates:
        listed = table("disk", "vendor", "model", "serial", ">size", "bus", "what is on it")
        for device in candidates:
            identity = device.identity
            cells = [device.path, identity.vendor, identity.model, identity.serial]
            cells += [format_size(identity.size), device.bus, _contents(device)]
            listed.add_row(*cells)
        print_wide(listed)
    else:
        say("no disk may be written to: plug in a stick")
    others = [(device, refusals) for device, refusals in judged if refusals]
    if others:
        say("\nnot these:")
    for device, refusals in others:
        size = format_size(device.identity.size)
        serial = f", serial number {device.identity.serial}" if device.identity.serial else ""
        line = f"  {device.path}  {_what(device)}, {size}, {device.bus}{serial}"
        say(line)
        for refusal in refusals:
            forced = " (--force overrides that)" if refusal.forceable else ""
            say(f"    {refusal.reason}{forced}")
    for device in candidates:
        if not device.by_udev:
            say(f"\nudev does not know {device.path}: what is said of it is from sysfs alone")


def announcement(device: Device, source: FlashSource) -> Iterator[str]:
    """What is about to happen, for the person who is asked."""
    identity = device.identity
    yield f"{source.path} ({source.what}, {format_size(source.size)})"
    yield f"goes onto {device.path}: {device.name}, {format_size(identity.size)}, {device.bus}"
    yield f"  serial number  {identity.serial or 'none'}"
    yield f"  on it now      {_contents(device)}"
    if not device.by_udev:
        yield "  udev does not know it: this is from sysfs alone"
    yield "Everything on it will be lost."


def result_line(device: Device, done: Flashed) -> str:
    """What was done, in a line."""
    rate = done.written / max(done.write_seconds, 1e-3)
    zeroed = f", {format_size(done.zeroed)} made zeros" if done.zeroed else ""
    return (
        f"{device.path} ({device.token}): {format_size(done.written)} written in {done.write_seconds:.1f} s "
        f"({format_size(rate)}/s){zeroed}; "
        f"read back in {done.verify_seconds:.1f} s, and all is as it should be"
    )


def _what(device: Device) -> str:
    return device.name if device.kind == "disk" else device.kind


def _contents(device: Device) -> str:
    return ", ".join(map(str, device.contents)) or "nothing known"
