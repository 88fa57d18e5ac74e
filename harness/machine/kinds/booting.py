"""Chooses what a machine boots: a kernel, a medium or a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.machine.admission import check_holds
from harness.machine.protocol import Firmware, Medium
from harness.machine.spec import DirectBoot, DiskBoot, MediumBoot
from harness.recipe import Iso, Recipe

if TYPE_CHECKING:
    from harness.image.factory import Build
    from harness.machine.kinds.kind import MachineRequest


def boot_images(recipe: Recipe, request: MachineRequest) -> tuple[str, ...]:
    """The images that are booted or attached, by name."""
    boot = recipe.boot
    names = (boot.initramfs, boot.disk, boot.medium if request.medium != Medium.DIRECT else None)
    drives = (drive.image for drive in boot.drive) if request.disk else ()
    return (*filter(None, names), *drives)


def memory_of(built: Build, request: MachineRequest) -> int:
    """Bytes of memory, enough for the initramfs."""
    boot = built.recipe.boot
    memory = request.memory or boot.memory_bytes
    if boot.initramfs is not None:
        kernel, initramfs = built.kernels["seed"].image.init_size, built.images[boot.initramfs].size
        check_holds(memory, kernel, initramfs, boot.work)
    return memory


def start_of(built: Build, request: MachineRequest) -> DirectBoot | MediumBoot | DiskBoot:
    """What the machine boots."""
    recipe, boot = built.recipe, built.recipe.boot
    if request.medium != Medium.DIRECT:
        medium = recipe.image(boot.medium) if boot.medium else None
        if not isinstance(medium, Iso):
            hint = "name an iso image in its key boot.medium, or boot without --medium"
            raise ConfigError(f"the recipe {recipe.name} has no medium to boot from", hint=hint)
        return MediumBoot(built.images[medium.name].path, request.medium, medium.menu[0].command_line)
    if "seed" not in built.kernels:
        return DiskBoot()
    kernel = built.kernels["seed"].image
    if request.firmware == Firmware.UEFI and kernel.bits == 32:
        hint = "boot from a medium (--medium cd), or take another kernel with --kernel"
        raise ConfigError("QEMU's UEFI starts 64-bit kernels only, unless a boot loader does", hint=hint)
    unpacked = boot.unpacked if request.unpacked is None else request.unpacked
    unpacked = unpacked or kernel.kind == "vmlinux"
    if unpacked and request.firmware == Firmware.UEFI:
        raise ConfigError(
            "a kernel that is started unpacked meets no firmware, and UEFI was asked for",
            hint="leave out one of --unpacked and --firmware uefi",
        )
    initramfs = built.images[boot.initramfs].path if boot.initramfs is not None else None
    return DirectBoot(kernel.path, initramfs, f"{boot.command_line} {request.append}".strip(), unpacked)
