"""How a run is asked for, and what starts it: whether the host can, which images, on which machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core import paths
from harness.core.errors import ConfigError
from harness.machine import accelerator
from harness.machine.admission import check_fits, check_holds
from harness.machine.boot_medium import find_ovmf
from harness.machine.protocol import (
    Accelerator,
    Bus,
    DirectBoot,
    DiskBoot,
    Drive,
    Firmware,
    MachineKind,
    MachineSpec,
    Medium,
    MediumBoot,
    Network,
)
from harness.recipe import Iso
from harness.run import native_spec
from harness.run.checkpointing import WHOLE, StageRange
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.core.progress import Progress
    from harness.image.build import BuildOptions
    from harness.image.factory import Build
    from harness.machine.board.document import Board
    from harness.recipe import Recipe
    from harness.run.interactive import InteractiveRun


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is done.

    Attributes:
        runs: Directory for the run's record.
        accelerator: "auto", "kvm" or "tcg".
        memory: Bytes of guest memory, instead of the recipe's.
        cpu: QEMU's processor model, instead of the recipe's.
        append: Added to the seed kernel's command line; a medium has its own.
        medium: Whether and how the recipe's medium is attached, and booted.
        firmware: What runs before it.
        unpacked: Whether the seed kernel is started unpacked, instead of as the recipe says.
        patience: All budgets are multiplied with it.
        disk: Whether the recipe's disks are attached.
        part: Which part of the plan is done, and where the machine is saved.
        machine: Where it runs.
        expected: The sha256 that files must have in the end, by absolute path, as the payload sees it.
        instrumented: Whether something was added to the payload that tells more about it.
        attendance: The person who takes part; to be among the listeners, too.
        board: The real machine that it is done on, leased, if it is one.
        labels: Kept in the record; a matrix tells its cells by them.
        packages: What the payload says it will build, in order; None where it has no packages.
        notes: What the record says besides, such as what was left out.
        network: What the guest reaches; None: nothing, or the harness where the recipe wants a network.
        offered: Files that a guest on the restricted network can fetch over HTTP, by name or by address
            without scheme.
    """

    runs: Path
    accelerator: str = "auto"
    memory: int | None = None
    cpu: str | None = None
    append: str = ""
    medium: Medium = Medium.DIRECT
    firmware: Firmware = Firmware.BIOS
    unpacked: bool | None = None
    patience: float = 1.0
    disk: bool = True
    part: StageRange = WHOLE
    machine: MachineKind = MachineKind.QEMU
    expected: Mapping[str, str] = msgspec.field(default_factory=dict)
    instrumented: bool = False
    attendance: InteractiveRun | None = None
    board: Board | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    packages: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    network: Network | None = None
    offered: Mapping[str, Path] = msgspec.field(default_factory=dict)


def check_host(options: RunOptions, building: BuildOptions, progress: Progress) -> None:
    """Find out, before anything is downloaded, whether and how this host can boot what is built.

    Raises:
        ConfigError: QEMU or the firmware is not installed, the accelerator that was asked for does not work,
            the options contradict each other, or the run record has no place.
    """
    if not options.machine.has_kernel:
        unfit = {
            "--kernel": building.kernel is not None,
            "--second": building.second is not None,
            "--accelerator": options.accelerator != "auto",
            "--cpu": options.cpu is not None,
            "--append": bool(options.append),
            "--medium": options.medium != Medium.DIRECT,
            "--firmware": options.firmware != Firmware.BIOS,
            "--unpacked": options.unpacked is not None,
            "--network": options.network not in {None, Network.NONE},
        }
        native_spec.check(options.machine, options.part, unfit)
        paths.check_writable(options.runs, "run record", "choose another directory with --runs DIR")
        return
    if options.unpacked and options.medium != Medium.DIRECT:
        raise ConfigError(
            "a medium has its kernel as it is, and --unpacked cannot change it",
            hint="leave out one of --unpacked and --medium",
        )
    if options.append and options.medium != Medium.DIRECT:
        raise ConfigError(
            "a medium has its own command line, and --append cannot change it",
            hint="change it in the recipe's image[].menu, or boot without --medium",
        )
    paths.check_writable(options.runs, "run record", "choose another directory with --runs DIR")
    if options.board is not None:
        if options.network is not None:
            raise ConfigError(
                "a board is on whatever network its cable leads to, and --network cannot change it",
                hint="leave out --network",
            )
        return
    if options.firmware == Firmware.UEFI:
        find_ovmf()
    chosen = accelerator.choose(options.accelerator, Store(building.cache))
    if options.accelerator == "auto" and chosen == Accelerator.TCG:
        progress.note("KVM does not work here (`harness doctor` says why); using TCG, which is slower")


def needed_images(recipe: Recipe, options: RunOptions) -> tuple[str, ...]:
    """The images that a run boots or attaches, or whose files become its root, by name."""
    if not options.machine.has_kernel:
        return (native_spec.needed_image(recipe),)
    boot = recipe.boot
    names = (boot.initramfs, boot.disk, boot.medium if options.medium != Medium.DIRECT else None)
    drives = (drive.image for drive in boot.drive) if options.disk else ()
    return (*filter(None, names), *drives)


def machine_spec(built: Build, options: RunOptions, store: Store, *, bulk: bool) -> MachineSpec:
    """The machine on which a run is done; `bulk`: whether it has a port through which files leave it.

    Raises:
        ConfigError: It cannot be had as asked for.
    """
    boot = built.recipe.boot
    memory = options.memory or boot.memory_bytes
    if boot.initramfs is not None:
        check_holds(
            memory, built.kernels["seed"].image.init_size, built.images[boot.initramfs].size, boot.work
        )
    start = start_of(built, options)
    if options.board is not None:
        return MachineSpec(start, options.firmware, None, memory, "", Accelerator.NATIVE)
    check_fits(memory)
    if boot.drive and options.part != WHOLE:
        raise ConfigError(
            f"a machine of the recipe {built.recipe.name} is not saved: it has further disks (boot.drive)",
            hint="run it as a whole, without --checkpoint, --from and --until",
        )
    if isinstance(start, DirectBoot) and start.unpacked:
        from harness.kernel.unpacked import vmlinux

        start = msgspec.structs.replace(start, kernel=vmlinux(built.kernels["seed"].image, store))
    return MachineSpec(
        boot=start,
        firmware=options.firmware,
        disk=built.images[boot.disk].path if boot.disk and options.disk else None,
        memory=memory,
        cpu=boot.cpu if options.cpu is None else options.cpu,
        accelerator=accelerator.choose(options.accelerator, store),
        bulk=bulk,
        network=_network(built.recipe, options),
        drives=tuple(
            Drive(built.images[drive.image].path, Bus(drive.bus)) for drive in boot.drive if options.disk
        ),
    )


def _network(recipe: Recipe, options: RunOptions) -> Network:
    """What the guest reaches: no more than it needs, unless somebody asks for that."""
    if options.network is not None:
        return options.network
    return Network.NONE if recipe.boot.network == "none" else Network.RESTRICTED


def start_of(built: Build, options: RunOptions) -> DirectBoot | MediumBoot | DiskBoot:
    """What the machine boots.

    Raises:
        ConfigError: The recipe has no such medium, or the firmware cannot start the kernel.
    """
    recipe, boot = built.recipe, built.recipe.boot
    if options.medium != Medium.DIRECT:
        medium = recipe.image(boot.medium) if boot.medium else None
        if not isinstance(medium, Iso):
            hint = "name an iso image in its key boot.medium, or boot without --medium"
            raise ConfigError(f"the recipe {recipe.name} has no medium to boot from", hint=hint)
        return MediumBoot(built.images[medium.name].path, options.medium, medium.menu[0].command_line)
    if "seed" not in built.kernels:
        return DiskBoot()
    kernel = built.kernels["seed"].image
    if options.firmware == Firmware.UEFI and kernel.bits == 32:
        hint = "boot from a medium (--medium cd), or take another kernel with --kernel"
        raise ConfigError("QEMU's UEFI starts 64-bit kernels only, unless a boot loader does", hint=hint)
    command_line = f"{boot.command_line} {options.append}".strip()
    initramfs = built.images[boot.initramfs].path if boot.initramfs is not None else None
    unpacked = boot.unpacked if options.unpacked is None else options.unpacked
    unpacked = unpacked or kernel.kind == "vmlinux"
    if unpacked and options.firmware == Firmware.UEFI:
        raise ConfigError(
            "a kernel that is started unpacked meets no firmware, and UEFI was asked for",
            hint="leave out one of --unpacked and --firmware uefi",
        )
    return DirectBoot(kernel.path, initramfs, command_line, unpacked)
