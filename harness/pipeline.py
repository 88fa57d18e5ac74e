"""A run from end to end: recipe → sources → image → machine → console → stages → record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness import places, slices
from harness.building import BuildOptions, build
from harness.console.cast import write_cast
from harness.errors import ConfigError, HarnessError, Interrupted
from harness.following import Following
from harness.machine import accelerator
from harness.machine.admission import admitted, check_fits, check_holds
from harness.machine.boot_medium import find_ovmf
from harness.machine.protocol import (
    Accelerator,
    DirectBoot,
    Firmware,
    MachineSpec,
    Medium,
    MediumBoot,
    Network,
)
from harness.outcome import Outcome
from harness.recipe import Iso
from harness.report.packages import PackageWatch
from harness.report.record import ImageRecord, KernelRecord, ResumedRecord, RunRecord
from harness.slices import WHOLE, Slice
from harness.stages.plan import load_plan
from harness.stages.verdict import RunResult, StageResult, StageStatus, Verdict
from harness.store import Store, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.attendance import Attendance
    from harness.checkpoints import Checkpoint
    from harness.console.lines import Block
    from harness.image.factory import Build
    from harness.progress import Progress
    from harness.recipe import Recipe
    from harness.stages.events import Event, Listener
    from harness.stages.plan import Plan

__all__ = [
    "BuildOptions",
    "Run",
    "RunOptions",
    "boot",
    "build",
    "check_host",
    "check_images",
    "machine_spec",
    "needed_images",
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
        patience: All budgets are multiplied with it.
        disk: Whether the recipe's disk is attached.
        part: Which part of the plan is done, and where the machine is saved.
        attendance: The person who takes part; to be among the listeners, too.
        packages: What the payload says it will build, in order; None where it has no packages.
        notes: What the record says besides, such as what was left out.
    """

    runs: Path
    accelerator: str = "auto"
    memory: int | None = None
    cpu: str | None = None
    append: str = ""
    medium: Medium = Medium.DIRECT
    firmware: Firmware = Firmware.BIOS
    patience: float = 1.0
    disk: bool = True
    part: Slice = WHOLE
    attendance: Attendance | None = None
    packages: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


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
    """The images that a run boots or attaches, by name."""
    boot = recipe.boot
    names = (boot.initramfs, boot.disk, boot.medium if options.medium != Medium.DIRECT else None)
    return tuple(name for name in names if name)


def check_images(built: Build, options: RunOptions) -> None:
    """Find out, before anything boots, what would keep the seed kernel from starting init without a word.

    Raises:
        ConfigError: Something would.
    """
    from harness.image.inspect.opened import open_image
    from harness.image.inspect.verify import problems_for_boot, verify

    spec = _boot(built, options)
    path = spec.image if isinstance(spec, MediumBoot) else spec.initramfs
    if path is None:
        return  # the kernel mounts its root itself, and says what it does not find
    if isinstance(spec, MediumBoot):
        with open_image(path) as image:
            problems = [finding for finding in verify(image) if finding.good is False]
    else:
        cpu = built.recipe.boot.cpu if options.cpu is None else options.cpu
        problems = problems_for_boot(
            path, built.kernels["seed"].image, command_line=spec.command_line, cpu=cpu
        )
    if problems:
        hint = f"{problems[0].hint}; --force boots it all the same"
        raise ConfigError(f"{path.name}: {problems[0].what}", hint=hint)


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
    spec = machine_spec(built, options, store)
    start = slices.found(options.part, store, built, spec, plan)
    seed = built.kernels["seed"]
    record = RunRecord(
        options.runs,
        f"{built.recipe.name}-{Path(seed.name).name}",
        recipe=built.recipe.name,
        plan=plan.name,
        recipe_sha256=_sha256(built.recipe.path),
        plan_sha256=_sha256(built.recipe.plan),
        kernels=_kernel_records(built),
        images=tuple(
            ImageRecord(image.name, image.kind, image.size, image.sha256) for image in built.images.values()
        ),
        resumed=_resumed(start),
        notes=options.notes,
    )
    write_atomically(record.directory / "inputs.lock.json", built.lock.to_json())
    audience = _Audience([record, *listeners])
    watch = PackageWatch(_Audience([record, *listeners]), options.packages or ())
    if options.packages is not None:
        audience = _Audience([record, *listeners, watch])
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
                    audience,
                    watch.watch,
                    part=options.part,
                    patience=options.patience,
                    attendance=options.attendance,
                ).follow()
            result = msgspec.structs.replace(result, verdict=watch.judged(result.verdict))
        except BaseException as error:
            record.update(packages=watch.records, checksums=watch.checksums)
            record.finish(_aborted(plan, record, error))
            raise
        record.update(packages=watch.records, checksums=watch.checksums)
        record.finish(result)
    write_cast(
        record.directory / "console.raw",
        record.directory / "console.idx",
        record.directory / "console.cast",
        title=record.document.id,
    )
    if result.verdict.outcome == Outcome.INTERRUPTED:
        raise Interrupted(result.verdict.reason, hint=f"the record is in {record.directory}")
    return Run(result, record.directory)


class _Audience:
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def event(self, event: Event) -> None:
        for listener in self._listeners:
            listener.event(event)

    def heard(self, block: Block) -> None:
        for listener in self._listeners:
            listener.heard(block)


def _resumed(start: Checkpoint | None) -> ResumedRecord | None:
    if start is None:
        return None
    state = start.state
    return ResumedRecord(start.id, state.run, state.boundary.stage, state.saved)


def machine_spec(built: Build, options: RunOptions, store: Store) -> MachineSpec:
    """The machine on which a run is done.

    Raises:
        ConfigError: It cannot be had as asked for.
    """
    boot = built.recipe.boot
    memory = options.memory or boot.memory_bytes
    if boot.initramfs is not None:
        check_holds(
            memory, built.kernels["seed"].image.init_size, built.images[boot.initramfs].size, boot.work
        )
    check_fits(memory)
    return MachineSpec(
        boot=_boot(built, options),
        firmware=options.firmware,
        disk=built.images[boot.disk].path if boot.disk and options.disk else None,
        memory=memory,
        cpu=boot.cpu if options.cpu is None else options.cpu,
        accelerator=accelerator.choose(options.accelerator, store),
        network=Network(boot.network),
    )


def _boot(built: Build, options: RunOptions) -> DirectBoot | MediumBoot:
    recipe, boot = built.recipe, built.recipe.boot
    if options.medium != Medium.DIRECT:
        medium = recipe.image(boot.medium) if boot.medium else None
        if not isinstance(medium, Iso):
            hint = "name an iso image in its key boot.medium, or boot without --medium"
            raise ConfigError(f"the recipe {recipe.name} has no medium to boot from", hint=hint)
        return MediumBoot(built.images[medium.name].path, options.medium, medium.menu[0].command_line)
    kernel = built.kernels["seed"].image
    if options.firmware == Firmware.UEFI and kernel.bits == 32:
        hint = "boot from a medium (--medium cd), or take another kernel with --kernel"
        raise ConfigError("QEMU's UEFI starts 64-bit kernels only, unless a boot loader does", hint=hint)
    command_line = f"{boot.command_line} {options.append}".strip()
    initramfs = built.images[boot.initramfs].path if boot.initramfs is not None else None
    return DirectBoot(kernel.path, initramfs, command_line)


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
    known = broken | ended
    stages = (
        known.get(stage.name, StageResult(stage.name, StageStatus.NOT_REACHED)) for stage in plan.stages
    )
    return RunResult(verdict, tuple(stages))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
