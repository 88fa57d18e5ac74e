"""One flash: look, refuse, confirm, open, look again, write, read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.errors import ConfigError, HarnessError
from harness.flash import discovery, guard, target, writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.core.progress import Progress
    from harness.flash.device import Device
    from harness.flash.discovery import Sources
    from harness.flash.source import FlashSource
    from harness.flash.writer import Elsewhere, Flashed


def look(
    path: str, needed: int = 0, *, force: bool = False, elsewhere: Elsewhere = "zero", sources: Sources
) -> Device:
    """Look at a disk, and refuse it if it must not be written to."""
    device = discovery.find(path, sources)
    guard.check(device, needed, force=force)
    if elsewhere == "discard" and not device.discards:
        raise ConfigError(f"{device.path} cannot discard", hint="leave --elsewhere out")
    return device


def write(
    device: Device,
    source: FlashSource,
    progress: Progress,
    *,
    force: bool,
    elsewhere: Elsewhere,
    sources: Sources,
) -> Flashed:
    """Write an image to the disk that was looked at and confirmed, and to no other.

    Raises:
        ConfigError: The disk is another one by now, came into use, or may not be opened. Nothing was written.
        InfraError: It fails, or is gone. Nothing boots from it then.
        Interrupted: Ctrl-C or SIGTERM. Nothing boots from it then.
    """

    def check() -> None:
        try:
            now = discovery.find(device.path, sources)
        except ConfigError as error:
            raise ConfigError(f"{device.path} is gone; nothing was written", hint=error.hint) from error
        guard.check_same(device, now)
        guard.check(now, source.size, force=force)

    with target.opened(device, check=check, present=lambda: _present(device, sources)) as opened:
        return writer.flash(source.descriptor, source.size, opened, progress, elsewhere=elsewhere)


def _present(device: Device, sources: Sources) -> bool:
    """Whether a disk is still there, and still the same."""
    try:
        return discovery.find(device.path, sources).identity == device.identity
    except HarnessError:
        return False


def confirm(device: Device, expected: str | None, ask: Callable[[], str]) -> None:
    """Have the disk confirmed: by its whole serial number in a script, by the tail that a person types."""
    if expected is not None:
        guard.check_serial(device, expected)
        return
    typed = ask()
    if not guard.confirms(device, typed):
        what = "serial number" if device.identity.serial else "bus path"
        raise ConfigError(
            f"“{typed.strip()}” is not the end of {device.path}'s {what}; nothing was written",
            hint="look at the disk's label, or at `harness flash --list`, and start over",
        )
