"""A run from end to end: recipe → sources → image → machine → console → stages → record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness import natively, places, slices
from harness.building import BuildOptions, build
from harness.console.cast import write_cast
from harness.errors import ConfigError, HarnessError, Interrupted
from harness.following import Following
from harness.machine import accelerator
from harness.machine.admission import admitted, check_fits
from harness.machine.boot_medium import find_ovmf
from harness.machine.protocol import (
    Accelerator,
    DirectBoot,
    DiskBoot,
    Firmware,
    MachineKind,
    MachineSpec,
    Medium,
    MediumBoot,
    NativeSpec,
)
from harness.outcome import Outcome
from harness.recipe import Iso
from harness.report import index
from harness.report.audience import Audience
from harness.report.record import ImageRecord, KernelRecord, ResumedRecord, RunRecord
from harness.size import format_size
from harness.slices import WHOLE, Slice
from harness.stages.kernelless import without_kernel
from harness.stages.plan_file import load_plan
from harness.stages.runner import all_stages
from harness.stages.verdict import RunResult, StageResult, StageStatus, Verdict
from harness.store import Store, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.attendance import Attendance
    from harness.checkpoints import Checkpoint
    from harness.image.factory import Build
    from harness.progress import Progress
    from harness.recipe import Recipe
    from harness.stages.events import Listener
    from harness.stages.plan import Plan

__all__ = [
    "BuildOptions",
    "Run",
    "RunOptions",
    "boot",
    "build",
    "check_host",
    "machine_spec",
    "needed_images",
    "start_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
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
        disk: Whether the recipe's disk is attached.
        part: Which part of the plan is done, and where the machine is saved.
        machine: Where it runs.
        expected: The sha256 that files must have in the end, by absolute path, as the payload sees it.
        instrumented: Whether something was added to the payload that tells more about it.
        attendance: The person who takes part; to be among the listeners, too.
        labels: Kept in the record; a matrix tells its cells by them.
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
    part: Slice = WHOLE
    machine: MachineKind = MachineKind.QEMU
    expected: Mapping[str, str] = field(default_factory=dict)
    instrumented: bool = False
    attendance: Attendance | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has ended.

    Attributes:
        result: What came of it.
        directory: Its record.
    """

    result: RunResult
    directory: Path


def check_host(options: RunOptions, cache: Path, progress: Progress) -> None:
    """Find out, before anything is downloaded, whether and how this host can boot what is built.

    Raises:
        ConfigError: QEMU or the firmware is not installed, the accelerator that was asked for does not work,
            the options contradict each other, or the run record has no place.
    """
    if not options.machine.has_kernel:
        unfit = {
            "--accelerator": options.accelerator != "auto",
            "--cpu": options.cpu is not None,
            "--append": bool(options.append),
            "--medium": options.medium != Medium.DIRECT,
            "--firmware": options.firmware != Firmware.BIOS,
            "--unpacked": options.unpacked is not None,
        }
        natively.check(options.machine, options.part, unfit)
        places.check_writable(options.runs, "run record", "choose another directory with --runs DIR")
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
    places.check_writable(options.runs, "run record", "choose another directory with --runs DIR")
    if options.firmware == Firmware.UEFI:
        find_ovmf()
    chosen = accelerator.choose(options.accelerator, Store(cache))
    if options.accelerator == "auto" and chosen == Accelerator.TCG:
        progress.note("KVM does not work here (`harness doctor` says why); using TCG, which is slower")


def needed_images(recipe: Recipe, options: RunOptions) -> tuple[str, ...]:
    """The images that a run boots or attaches, or whose files become its root, by name."""
    if not options.machine.has_kernel:
        return (natively.needed_image(recipe),)
    boot = recipe.boot
    names = (boot.initramfs, boot.disk, boot.medium if options.medium != Medium.DIRECT else None)
    return tuple(name for name in names if name)


def boot(
    built: Build, options: RunOptions, *, cache: Path, listeners: Sequence[Listener], progress: Progress
) -> Run:
    """Boot what was built, follow the recipe's plan, and leave a record.

    Args:
        built: Kernels and images.
        options: How.
        cache: The cache directory, where probes are remembered and places for guests are kept.
        listeners: Told of everything that happens.
        progress: Where waiting is shown.

    Raises:
        ConfigError: The machine cannot be had as asked for.
        InfraError: QEMU does not start.
        Interrupted: Ctrl-C or SIGTERM; the record says so.
    """
    plan = load_plan(built.recipe.plan)
    options.part.check(plan, options.firmware)
    store = Store(cache)
    spec: MachineSpec | NativeSpec
    if options.machine.has_kernel:
        spec = machine_spec(built, options, store, bulk=plan.takes_out)
        start = slices.found(options.part, store, built, spec, plan)
    else:
        plan = without_kernel(plan)
        spec, start = natively.spec(built, options.machine, options.memory), None
    record = RunRecord(
        options.runs,
        f"{built.recipe.name}-{_variant(built, options.machine)}",
        recipe=built.recipe.name,
        plan=plan.name,
        recipe_sha256=_sha256(built.recipe.path),
        plan_sha256=_sha256(built.recipe.plan),
        kernels=_kernel_records(built),
        images=tuple(
            ImageRecord(image.name, image.kind, image.size, image.sha256) for image in built.images.values()
        ),
        resumed=_resumed(start),
        labels=dict(options.labels),
        instrumented=options.instrumented,
    )
    write_atomically(record.directory / "inputs.lock.json", built.lock.to_json())
    with record:
        try:
            with admitted(
                cache / "guests",
                spec.memory,
                waiting=lambda: progress.note("waiting until other guests leave room for this one"),
            ):
                result = Following(
                    built,
                    spec,
                    plan,
                    record,
                    store,
                    start,
                    Audience([record, *listeners]),
                    progress,
                    part=options.part,
                    patience=options.patience,
                    expected=options.expected,
                    attendance=options.attendance,
                ).follow()
        except BaseException as error:
            record.finish(_aborted(plan, record, error))
            index.remember(record.directory)
            raise
        record.finish(result)
    index.remember(record.directory)
    write_cast(
        record.directory / "console.raw",
        record.directory / "console.idx",
        record.directory / "console.cast",
        title=record.document.id,
    )
    if result.verdict.outcome == Outcome.INTERRUPTED:
        raise Interrupted(result.verdict.reason, hint=f"the record is in {record.directory}")
    return Run(result, record.directory)


def _variant(built: Build, machine: MachineKind) -> str:
    """What the run's name says beside the recipe's: the seed kernel, if there is one."""
    seed = built.kernels.get("seed")
    return Path(seed.name).name if seed else "bios" if machine.has_kernel else machine


def _resumed(start: Checkpoint | None) -> ResumedRecord | None:
    if start is None:
        return None
    state = start.state
    return ResumedRecord(start.id, state.run, state.boundary.stage, state.saved)


def machine_spec(built: Build, options: RunOptions, store: Store, *, bulk: bool) -> MachineSpec:
    """The machine on which a run is done; `bulk`: whether it has a port through which files leave it.

    Raises:
        ConfigError: It cannot be had as asked for.
    """
    boot = built.recipe.boot
    memory = options.memory or boot.memory_bytes
    # The archive and what is unpacked from it are in memory together, beside the kernel.
    needed = 0
    if boot.initramfs is not None:
        needed = built.kernels["seed"].image.init_size + 2 * built.images[boot.initramfs].size
    if memory < needed:
        raise ConfigError(
            f"{format_size(memory)} of memory is too little: kernel and initramfs need {format_size(needed)}",
            hint="give the guest more with --memory or the recipe's key boot.memory",
        )
    check_fits(memory)
    start = start_of(built, options)
    if isinstance(start, DirectBoot) and start.unpacked:
        from harness.kernel.unpacked import vmlinux

        start = replace(start, kernel=vmlinux(built.kernels["seed"].image, store))
    return MachineSpec(
        boot=start,
        firmware=options.firmware,
        disk=built.images[boot.disk].path if boot.disk and options.disk else None,
        memory=memory,
        cpu=boot.cpu if options.cpu is None else options.cpu,
        accelerator=accelerator.choose(options.accelerator, store),
        bulk=bulk,
    )


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
    unpacked = boot.unpacked if options.unpacked is None else options.unpacked
    unpacked = unpacked or kernel.kind == "vmlinux"
    if unpacked and options.firmware == Firmware.UEFI:
        raise ConfigError(
            "a kernel that is started unpacked meets no firmware, and UEFI was asked for",
            hint="leave out one of --unpacked and --firmware uefi",
        )
    return DirectBoot(kernel.path, built.images[boot.initramfs].path, command_line, unpacked)


def _kernel_records(built: Build) -> tuple[KernelRecord, ...]:
    return tuple(
        KernelRecord(
            role=role,
            name=kernel.name,
            version=kernel.image.version,
            bits=kernel.image.bits,
            sha256=kernel.image.sha256,
            package=str(kernel.package or ""),
        )
        for role, kernel in built.kernels.items()
    )


def _aborted(plan: Plan, record: RunRecord, error: BaseException) -> RunResult:
    """The result of a run that never came to a verdict of its own."""
    if isinstance(error, HarnessError):
        verdict = Verdict(error.outcome, record.stage, error.message, error.hint)
    else:
        reason = f"{type(error).__name__}: {error}"
        verdict = Verdict(Outcome.BUG, record.stage, reason, "please report this")
    ended = {stage.name: stage for stage in record.document.stages}
    broken = {record.stage: StageResult(record.stage, StageStatus.FAILED)}
    stages = all_stages(plan, (broken | ended).values())
    return RunResult(verdict, stages, not_applicable=plan.not_applicable)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
