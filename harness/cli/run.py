"""`harness run` and `harness shell`: build, boot, follow, verify."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.options import (
    AcceleratorOption,
    CacheOption,
    JsonOption,
    KernelOption,
    LockOption,
    MirrorOption,
    RecipeArgument,
    RefreshOption,
    RunsOption,
    SecondOption,
    build_options,
)
from harness.cli.printing import err, out, print_json

if TYPE_CHECKING:
    from harness.machine.board.document import Board
    from harness.machine.protocol import MachineKind
    from harness.run import pipeline

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
UnpackedOption = Annotated[
    bool | None,
    typer.Option(
        "--unpacked/--packed",
        help="Start the seed kernel unpacked, by PVH: faster, but without firmware and decompressor.  "
        "[default: as the recipe says]",
        show_default=False,
    ),
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
    typer.Option(help="Your checkout of a bootstrap: known by its files, and never written to."),
]
ArchOption = Annotated[Literal["x86", "AMD64"], typer.Option(help="Which of stage0-posix's architectures.")]
BuilderOption = Annotated[
    Path | None, typer.Option("--builder", help="Your checkout of builder-hex0, for its recipe.")
]
InstrumentOption = Annotated[
    bool,
    typer.Option("--instrument", help="Add a script to a tree that shows what was made; the record says so."),
]
MachineOption = Annotated[
    str,
    typer.Option(
        "--machine",
        "--mode",
        metavar="qemu|chroot|bwrap|board:NAME",
        help="Where it runs; chroot (root) and bwrap have no kernel of their own, boards are those of lab/.",
    ),
]
JobsOption = Annotated[int, typer.Option(min=1, max=255, help="Build jobs of a tree's guest.")]
DiskSizeOption = Annotated[str, typer.Option(help="Size of a tree's disk, such as 4G, instead of its era's.")]
IncompleteOption = Annotated[
    bool, typer.Option("--incomplete", help="Fetch no distfiles of a tree, and leave out those not at hand.")
]
NetworkOption = Annotated[
    Literal["auto", "none", "restricted", "open"],
    typer.Option(
        help="What the guest reaches: nothing; the harness alone, which answers DHCP, names and HTTP; or all "
        "that the host does. auto: restricted where the recipe wants a network.",
    ),
]
PatienceOption = Annotated[
    float, typer.Option(min=0.01, help="Multiplies all time budgets, for slow hosts and machines.")
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Keep this in the record; repeatable."),
]


def run(
    context: typer.Context,
    recipe: RecipeArgument = "relay",
    tree: TreeOption = None,
    arch: ArchOption = "x86",
    builder_hex0: BuilderOption = None,
    instrument: InstrumentOption = False,
    jobs: JobsOption = 1,
    disk_size: DiskSizeOption = "",
    incomplete: IncompleteOption = False,
    kernel: KernelOption = None,
    second: SecondOption = None,
    accelerator: AcceleratorOption = "auto",
    memory: MemoryOption = None,
    cpu: CpuOption = None,
    append: AppendOption = "",
    medium: MediumOption = "direct",
    firmware: FirmwareOption = "bios",
    unpacked: UnpackedOption = None,
    force: ForceOption = False,
    checkpoint: CheckpointOption = "",
    start: FromOption = "",
    until: UntilOption = "",
    attach: AttachOption = False,
    takeover: TakeoverOption = False,
    on_failure: OnFailureOption = "stop",
    machine: MachineOption = "qemu",
    network: NetworkOption = "auto",
    patience: PatienceOption = 1.0,
    label: LabelOption = None,
    runs: RunsOption = Path("runs"),
    cache: CacheOption = None,
    lock: LockOption = None,
    mirror: MirrorOption = None,
    refresh: RefreshOption = False,
    as_json: JsonOption = False,
) -> None:
    """Do a whole run."""
    import msgspec

    from harness.machine.protocol import Firmware, Medium, Network
    from harness.payload.chosen import PayloadRequest, chosen
    from harness.report.progress import TerminalProgress
    from harness.run import on_board, pipeline, preflight
    from harness.run.checkpointing import StageRange
    from harness.run.interactive import InteractiveRequest, InteractiveRun
    from harness.stages.plan_file import load_plan
    from harness.store import Store

    kind, board = _machine(machine)
    building = build_options(kernel, cache, lock, mirror, refresh=refresh, second=second)
    running = pipeline.RunOptions(
        runs=runs.absolute(),
        accelerator=accelerator,
        memory=_size(memory),
        cpu=cpu,
        append=append,
        medium=Medium(medium),
        firmware=Firmware(firmware),
        unpacked=unpacked,
        patience=patience,
        network=None if network == "auto" else Network(network),
        machine=kind,
        instrumented=instrument,
        part=StageRange(start, tuple(filter(None, checkpoint.split(","))), until),
        labels=dict(map(_label, label or ())),
    )
    if board is not None:
        running = on_board.on_board(running, board)
    wishes = InteractiveRequest(
        attach=attach or takeover,
        takeover=takeover,
        prompt=context.info_name == "shell",
        on_failure=on_failure == "shell",
    )
    wishes.check()
    _size(disk_size or None, "--disk-size")
    with on_board.aboard(board, f"harness run {recipe}"), TerminalProgress(err()) as progress:
        payload = chosen(
            recipe,
            PayloadRequest(
                tree=tree,
                mode=running.machine.value,
                arch=arch,
                builder=builder_hex0,
                instrument=instrument,
                kernel=kernel,
                jobs=jobs,
                disk_size=disk_size,
                incomplete=incomplete,
            ),
            building.cache,
            progress,
        )
        wanted = payload.recipe
        running = msgspec.structs.replace(
            running,
            expected=payload.expected,
            packages=payload.packages,
            notes=payload.notes,
            offered=payload.offered,
        )
        if payload.packages is not None:
            from harness.record.history import package_estimates

            progress.package_estimates = package_estimates(running.runs, wanted.name)
        running.part.check(load_plan(wanted.plan), running.firmware)
        pipeline.check_host(running, building, progress)
        building = msgspec.structs.replace(
            building,
            names=pipeline.needed_images(wanted, running),
            kernels=running.machine.has_kernel,
        )
        built = pipeline.build(wanted, building, progress)
        if not force:
            for remark in preflight.check_images(built, running, Store(building.cache)):
                progress.note(remark)
        if board is not None:
            for remark in on_board.remarks(board, pipeline.start_of(built, running).command_line):
                progress.note(remark)
            on_board.equip(board, built, progress)
        seed = built.kernels.get("seed")
        progress.estimates = partial(_estimates, running.runs, wanted.name, seed.name if seed else "", kind)
        attendance = InteractiveRun(wishes, progress, err())
        done = pipeline.boot(
            built,
            msgspec.structs.replace(running, attendance=attendance),
            cache=building.cache,
            listeners=[progress, attendance],
            progress=progress,
        )
    _show(done, wanted.plan, as_json=as_json)
    raise typer.Exit(done.result.verdict.outcome.exit_code)


def _estimates(runs: Path, recipe: str, kernel: str, machine: str) -> dict[str, float]:
    from harness.record.history import estimates

    return estimates(runs, recipe, kernel, machine)


def _machine(text: str) -> tuple[MachineKind, Board | None]:
    """The kind of machine that is asked for, and the board if it is one."""
    from harness.machine.board.document import find_board
    from harness.machine.protocol import MachineKind

    kind, colon, name = text.partition(":")
    kinds = {str(each): each for each in MachineKind}
    if kind not in kinds or bool(colon) != (kind == MachineKind.BOARD):
        raise typer.BadParameter(
            f"{text!r} is not one of qemu, chroot, bwrap and board:NAME", param_hint="'--machine'"
        )
    return kinds[kind], find_board(name) if colon else None


def _show(done: pipeline.Run, plan: Path, *, as_json: bool) -> None:
    import msgspec

    from harness.record.record import RunDocument
    from harness.report.summary import show_run
    from harness.stages.plan_file import load_plan

    document = msgspec.json.decode((done.directory / "run.json").read_bytes(), type=RunDocument)
    if as_json:
        print_json({"directory": str(done.directory), **msgspec.to_builtins(document)})
    else:
        show_run(out(), document, load_plan(plan), done.directory)


def _size(text: str | None, option: str = "--memory") -> int | None:
    from harness.core.sizes import parse_size

    if text is None:
        return None
    try:
        size = parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from error
    if not size:
        raise typer.BadParameter("it has to be more than 0", param_hint=f"'{option}'")
    return size


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="'--label'")
    return key, value
