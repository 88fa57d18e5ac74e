"""A run from end to end: recipe → sources → image → machine → console → stages → record."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.core.errors import Interrupted, explained
from harness.core.files import write_atomically
from harness.core.outcome import Outcome
from harness.image.build import BuildOptions, build
from harness.machine.admission import admitted
from harness.record.audience import Audience
from harness.record.record import ImageRecord, KernelRecord, ResumedRecord, RunRecord
from harness.run import checkpointing, native_spec
from harness.run.options import RunOptions, check_host, machine_spec, needed_images, start_of
from harness.run.session import Following
from harness.stages.kernelless import without_kernel
from harness.stages.plan_file import load_plan
from harness.stages.verdict import RunResult, StageResult, StageStatus, Verdict
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.core.progress import Progress
    from harness.image.factory import Build
    from harness.machine.protocol import MachineKind, MachineSpec, NativeSpec
    from harness.record.packages import PackageWatch
    from harness.run.checkpoints import Checkpoint
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


class Run(msgspec.Struct, frozen=True):
    """A run that has ended.

    Attributes:
        result: What came of it.
        directory: Its record.
    """

    result: RunResult
    directory: Path


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
        start = checkpointing.found(options.part, store, built, spec, plan)
    else:
        plan = without_kernel(plan)
        spec, start = native_spec.spec(built, options.machine, options.memory), None
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
        notes=options.notes,
    )
    write_atomically(record.directory / "inputs.lock.json", built.lock.to_json())
    audience = Audience([record, *listeners])
    watch: PackageWatch | None = None
    if options.packages is not None:
        from harness.record.packages import PackageWatch

        watch = PackageWatch(audience, options.packages)
        audience = Audience([record, *listeners, watch])
    with record:
        try:
            with (
                nullcontext()
                if options.board
                else admitted(
                    cache / "guests",
                    spec.memory,
                    waiting=lambda: progress.note("waiting until other guests leave room for this one"),
                )
            ):
                result = Following(
                    built,
                    spec,
                    plan,
                    record,
                    store,
                    start,
                    audience,
                    progress,
                    watch.watch if watch else None,
                    part=options.part,
                    patience=options.patience,
                    expected=options.expected,
                    attendance=options.attendance,
                    board=options.board,
                    offered=options.offered,
                ).follow()
            if watch is not None:
                result = msgspec.structs.replace(result, verdict=watch.judged(result.verdict))
        except BaseException as error:
            aborted = _aborted(plan, record, error)
            record.finish(aborted, **_packages(watch))
            _remember(record)
            raise
        record.finish(result, **_packages(watch))
    _remember(record)
    from harness.console.cast import write_cast

    try:
        write_cast(
            record.directory / "console.raw",
            record.directory / "console.idx",
            record.directory / "console.cast",
            title=record.document.id,
        )
    except OSError as error:  # the run is over, and its verdict recorded
        name = record.document.id
        progress.note(f"no film: {error.strerror}; `harness replay {name} --cast FILE` makes one elsewhere")
    if result.verdict.outcome == Outcome.INTERRUPTED:
        raise Interrupted(result.verdict.reason, hint=f"the record is in {record.directory}")
    return Run(result, record.directory)


def _packages(watch: PackageWatch | None) -> dict[str, Any]:
    """What the record says of the payload's packages, where it has any."""
    return {"packages": watch.records, "checksums": watch.checksums} if watch else {}


def _remember(record: RunRecord) -> None:
    from harness.record import index

    index.remember(record.directory)


def _variant(built: Build, machine: MachineKind) -> str:
    """What the run's name says beside the recipe's: the seed kernel, if there is one."""
    seed = built.kernels.get("seed")
    return Path(seed.name).name if seed else "bios" if machine.has_kernel else machine


def _resumed(start: Checkpoint | None) -> ResumedRecord | None:
    if start is None:
        return None
    state = start.state
    return ResumedRecord(start.id, state.run, state.boundary.stage, state.saved)


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
    from harness.stages.runner import all_stages

    known = explained(error)
    verdict = Verdict(known.outcome, record.stage, known.message, known.hint)
    ended = {stage.name: stage for stage in record.document.stages}
    broken = {record.stage: StageResult(record.stage, StageStatus.FAILED)}
    stages = all_stages(plan, (broken | ended).values())
    return RunResult(verdict, stages, not_applicable=plan.not_applicable)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
