"""`harness run` and `harness shell`: build, boot, follow, verify."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.options import (
    CacheOption,
    JsonOption,
    KernelOption,
    LockOption,
    MirrorOption,
    RecipeArgument,
    RefreshOption,
    RunsOption,
    build_options,
)
from harness.cli.printing import err, out, print_json

if TYPE_CHECKING:
    from harness import pipeline

AcceleratorOption = Annotated[
    Literal["auto", "kvm", "tcg"], typer.Option(help="How the guest is executed; auto takes KVM if it works.")
]
MemoryOption = Annotated[
    str | None, typer.Option(help="Memory of the guest, such as 512M, instead of the recipe's.")
]
CpuOption = Annotated[
    str | None, typer.Option(help="QEMU's processor model, instead of the accelerator's default.")
]
AppendOption = Annotated[str, typer.Option(help="Added to the seed kernel's command line.")]
MediumOption = Annotated[
    Literal["direct", "cd", "usb-xhci", "usb-ehci"],
    typer.Option(help="Boot the recipe's medium from CD or a USB stick; direct: QEMU loads the seed kernel."),
]
FirmwareOption = Annotated[
    Literal["bios", "uefi"], typer.Option(help="What the machine starts with: SeaBIOS, or OVMF.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Boot even what the checks before a boot object to.")
]
CheckpointOption = Annotated[
    str, typer.Option("--checkpoint", help="Save the machine where these stages begin: names with commas.")
]
FromOption = Annotated[
    str, typer.Option("--from", help="Go on from a checkpoint that was saved where this stage begins.")
]
UntilOption = Annotated[str, typer.Option(help="Save the machine where this stage begins, and stop there.")]
AttachOption = Annotated[
    bool,
    typer.Option(
        "--attach", help="Show the guest's console live; at the end its shell is yours. Ctrl-] leaves."
    ),
]
TakeoverOption = Annotated[
    bool,
    typer.Option(
        "--takeover", help="Attach, and type to the guest at once; the result says that you did, and when."
    ),
]
OnFailureOption = Annotated[
    Literal["stop", "shell"],
    typer.Option(help="What becomes of a guest that failed; shell: your terminal is attached to it."),
]
TreeOption = Annotated[
    Path | None,
    typer.Option(help="Your checkout of a bootstrap: its era is known by its files, and never written to."),
]
ModeOption = Annotated[
    Literal["qemu", "chroot", "bwrap", "board"],
    typer.Option(help="How a tree is run."),
]
JobsOption = Annotated[int, typer.Option(min=1, max=255, help="Build jobs of a tree's guest.")]
DiskSizeOption = Annotated[str, typer.Option(help="Size of a tree's disk, such as 4G, instead of its era's.")]
IncompleteOption = Annotated[
    bool, typer.Option("--incomplete", help="Fetch no distfiles of a tree, and leave out those not at hand.")
]
PatienceOption = Annotated[
    float, typer.Option(min=0.01, help="Multiplies all time budgets, for slow hosts and machines.")
]


def run(
    context: typer.Context,
    recipe: RecipeArgument = "relay",
    tree: TreeOption = None,
    mode: ModeOption = "qemu",
    jobs: JobsOption = 1,
    disk_size: DiskSizeOption = "",
    incomplete: IncompleteOption = False,
    kernel: KernelOption = None,
    accelerator: AcceleratorOption = "auto",
    memory: MemoryOption = None,
    cpu: CpuOption = None,
    append: AppendOption = "",
    medium: MediumOption = "direct",
    firmware: FirmwareOption = "bios",
    force: ForceOption = False,
    checkpoint: CheckpointOption = "",
    start: FromOption = "",
    until: UntilOption = "",
    attach: AttachOption = False,
    takeover: TakeoverOption = False,
    on_failure: OnFailureOption = "stop",
    patience: PatienceOption = 1.0,
    runs: RunsOption = Path("runs"),
    cache: CacheOption = None,
    lock: LockOption = None,
    mirror: MirrorOption = None,
    refresh: RefreshOption = False,
    as_json: JsonOption = False,
) -> None:
    """Do a whole run."""
    from harness import pipeline
    from harness.attendance import Attendance, Wishes
    from harness.cli.trees import prepare
    from harness.machine.protocol import Firmware, Medium
    from harness.recipe import load_recipe
    from harness.report.history import estimates, package_estimates
    from harness.report.progress import TerminalProgress
    from harness.slices import Slice
    from harness.stages.plan import load_plan

    building = build_options(kernel, cache, lock, mirror, refresh=refresh)
    running = pipeline.RunOptions(
        runs=runs.absolute(),
        accelerator=accelerator,
        memory=_size(memory),
        cpu=cpu,
        append=append,
        medium=Medium(medium),
        firmware=Firmware(firmware),
        patience=patience,
        part=Slice(start, tuple(filter(None, checkpoint.split(","))), until),
    )
    wishes = Wishes(
        attach=attach or takeover,
        takeover=takeover,
        prompt=context.info_name == "shell",
        on_failure=on_failure == "shell",
    )
    wishes.check()
    with TerminalProgress(err()) as progress:
        if tree is None:
            wanted = load_recipe(recipe)
        else:
            ready = prepare(
                tree,
                recipe,
                mode,
                building.cache,
                progress,
                kernel=kernel,
                jobs=jobs,
                disk_size=disk_size,
                incomplete=incomplete,
            )
            wanted = ready.recipe
            running = replace(running, packages=ready.packages, notes=ready.notes)
            progress.package_estimates = package_estimates(running.runs, wanted.name)
        running.part.check(load_plan(wanted.plan), running.firmware)
        pipeline.check_host(running, building.cache, progress)
        building = replace(building, names=pipeline.needed_images(wanted, running))
        built = pipeline.build(wanted, building, progress)
        if not force:
            pipeline.check_images(built, running)
        progress.estimates = estimates(running.runs, wanted.name, built.kernels["seed"].name)
        attendance = Attendance(wishes, progress, err())
        done = pipeline.boot(
            built,
            replace(running, attendance=attendance),
            cache=building.cache,
            listeners=[progress, attendance],
            progress=progress,
        )
    _show(done, wanted.plan, as_json=as_json)
    raise typer.Exit(done.result.verdict.outcome.exit_code)


def _show(done: pipeline.Run, plan: Path, *, as_json: bool) -> None:
    import msgspec

    from harness.report.record import RunDocument
    from harness.report.summary import show_run
    from harness.stages.plan import load_plan

    document = msgspec.json.decode((done.directory / "run.json").read_bytes(), type=RunDocument)
    if as_json:
        print_json({"directory": str(done.directory), **msgspec.to_builtins(document)})
    else:
        show_run(out(), document, load_plan(plan), done.directory)


def _size(text: str | None) -> int | None:
    from harness.size import parse_size

    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--memory'") from error
