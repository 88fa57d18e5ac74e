"""`harness flash`: writes an image to a stick or disk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli import options as opts
from harness.cli.printing import err, print_json, print_wide, remark, say
from harness.core.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.flash.device import Device
    from harness.flash.guard import Refusal
    from harness.flash.source import FlashSource
    from harness.flash.writer import Flashed
    from harness.image.build import BuildOptions
    from harness.report.progress import TerminalProgress

ImageOption = Annotated[Path | None, typer.Option(help="Image file to write, instead of a recipe's.")]


def flash(
    device: Annotated[
        str | None, typer.Argument(help="Whole disk to write to, such as /dev/sdb; all on it is lost.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="Show which disks may be written to, and why.")
    ] = False,
    recipe: Annotated[
        str | None, typer.Option(help="Recipe whose image is built and written.  [default: relay]")
    ] = None,
    image: ImageOption = None,
    only: Annotated[
        Literal["usb", "disk"], typer.Option(help="Of a recipe: its boot medium, or its disk.")
    ] = "usb",
    expect_serial: Annotated[
        str | None,
        typer.Option(help="The disk's serial number, all of it: for scripts, instead of being asked."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also a disk that is not removable or very large; never one in use."),
    ] = False,
    elsewhere: Annotated[
        Literal["zero", "discard", "keep"],
        typer.Option(
            help="Holes of the image: zeros; zeros, after the disk forgot all it had; or left as they are."
        ),
    ] = "zero",
    kernel: opts.Kernel = None,
    dirty: opts.Dirty = False,
    cache: opts.Cache = None,
    lock: opts.Lock = None,
    mirror: opts.Mirror = None,
    refresh: opts.Refresh = False,
    as_json: opts.Json = False,
) -> None:
    """Write a boot medium or a disk image to a stick or disk, read it back, and touch no other disk."""
    from harness.core.errors import ConfigError
    from harness.flash import discovery, guard, session
    from harness.flash.source import opened

    if show:
        _list(as_json=as_json)
        return
    if device is None:
        raise ConfigError("no disk is given", hint="`harness flash --list` shows which there are")
    if image and recipe:
        raise ConfigError("both --image and --recipe are given", hint="leave one of them out")
    if expect_serial is None and not sys.stdin.isatty():
        hint = "give its serial number with --expect-serial; `harness flash --list` has it"
        raise ConfigError("the disk cannot be confirmed, as the input is no terminal", hint=hint)
    sources = discovery.REAL
    first = session.look(device, force=force, elsewhere=elsewhere, sources=sources)
    if expect_serial is not None:
        guard.check_serial(first, expect_serial)
    from harness.report.progress import TerminalProgress

    with TerminalProgress(err()) as progress:
        options = opts.build_options(kernel, cache, lock, mirror, refresh=refresh, dirty=dirty)
        path = image or _built(recipe or "relay", only, options, progress)
        with opened(path) as source:
            # Building may have taken long.
            found = session.look(device, source.size, force=force, elsewhere=elsewhere, sources=sources)
            guard.check_same(first, found)
            with progress.stepped_aside():
                if not as_json:
                    for line in _announcement(found, source):
                        remark(line)
                session.confirm(found, expect_serial, lambda: _ask(found))
            done = session.write(found, source, progress, force=force, elsewhere=elsewhere, sources=sources)
    if as_json:
        print_json({"device": found, "image": str(source.path), "format": source.what, "flashed": done})
    else:
        say(_result_line(found, done))


def _built(name: str, only: str, options: BuildOptions, progress: TerminalProgress) -> Path:
    """The image of a recipe that goes onto a stick or a disk."""
    import msgspec

    from harness.core.errors import ConfigError
    from harness.image import build
    from harness.recipe import load_recipe

    recipe = load_recipe(name)
    wanted = recipe.boot.medium if only == "usb" else recipe.boot.disk
    if not wanted:
        what, key = ("boot medium", "medium") if only == "usb" else ("disk", "disk")
        hint = f"name an image in its key boot.{key}, or give a file with --image"
        raise ConfigError(f"the recipe {recipe.name} has no {what} to flash", hint=hint)
    built = build.build(recipe, msgspec.structs.replace(options, names=(wanted,)), progress)
    return built.images[wanted].path


def _list(*, as_json: bool) -> None:
    from msgspec import to_builtins

    from harness.flash import discovery, guard

    judged = [(device, list(guard.refusals(device))) for device in discovery.disks()]
    if as_json:
        print_json(
            {
                "disks": [
                    {
                        **to_builtins(device),
                        "candidate": not refusals,
                        "refusals": [
                            {"reason": each.reason, "hint": each.hint, "forceable": each.forceable}
                            for each in refusals
                        ],
                    }
                    for device, refusals in judged
                ]
            }
        )
    else:
        _show_list(judged)


def _ask(device: Device) -> str:
    what = "serial number" if device.identity.serial else "bus path, as it has no serial number"
    sys.stderr.write(f"Type the end (4 characters at least) of its {what}: ")
    sys.stderr.flush()
    try:
        return input()
    except EOFError:
        return ""


def _show_list(judged: Sequence[tuple[Device, Sequence[Refusal]]]) -> None:
    """Print the disks that may be written to as a table, and why each other one may not."""
    from harness.report.text import table

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
        what = device.name if device.kind == "disk" else device.kind
        say(f"  {device.path}  {what}, {size}, {device.bus}{serial}")
        for refusal in refusals:
            forced = " (--force overrides that)" if refusal.forceable else ""
            say(f"    {refusal.reason}{forced}")
    for device in candidates:
        if not device.by_udev:
            say(f"\nudev does not know {device.path}: what is said of it is from sysfs alone")


def _announcement(device: Device, source: FlashSource) -> Iterator[str]:
    """What is about to happen, for the person who is asked."""
    identity = device.identity
    yield f"{source.path} ({source.what}, {format_size(source.size)})"
    yield f"goes onto {device.path}: {device.name}, {format_size(identity.size)}, {device.bus}"
    yield f"  serial number  {identity.serial or 'none'}"
    yield f"  on it now      {_contents(device)}"
    if not device.by_udev:
        yield "  udev does not know it: this is from sysfs alone"
    yield "Everything on it will be lost."


def _result_line(device: Device, done: Flashed) -> str:
    """What was done, in a line."""
    rate = done.written / max(done.write_seconds, 1e-3)
    zeroed = f", {format_size(done.zeroed)} made zeros" if done.zeroed else ""
    return (
        f"{device.path} ({device.token}): {format_size(done.written)} written in {done.write_seconds:.1f} s "
        f"({format_size(rate)}/s){zeroed}; "
        f"read back in {done.verify_seconds:.1f} s, and all is as it should be"
    )


def _contents(device: Device) -> str:
    return ", ".join(map(str, device.contents)) or "nothing known"
