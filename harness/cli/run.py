"""`harness run` and `harness shell`: options in, a run, its verdict out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.cli import options as opts
from harness.cli.printing import err, out, print_json

if TYPE_CHECKING:
    from harness.machine.kinds.kind import Kind
    from harness.report.progress import TerminalProgress
    from harness.run.execute import Run
    from harness.run.prepare import PreparedRun

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
ArchOption = Annotated[
    str,
    typer.Option(
        help="The machine's architecture, such as arm64, for recipes that know several; of stage0-posix x86 "
        "or AMD64."
    ),
]
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
    recipe: opts.Recipe = "relay",
    drv: opts.DrvFile = None,
    store: opts.Store = None,
    take: opts.Take = None,
    expect: opts.Expect = None,
    daemon: opts.Daemon = None,
    bare: opts.Bare = False,
    tree: TreeOption = None,
    arch: ArchOption = "x86",
    builder_hex0: BuilderOption = None,
    instrument: InstrumentOption = False,
    jobs: JobsOption = 1,
    disk_size: DiskSizeOption = "",
    incomplete: IncompleteOption = False,
    kernel: opts.Kernel = None,
    second: opts.Second = None,
    accelerator: opts.Accelerator = "auto",
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
    runs: opts.Runs = Path("runs"),
    cache: opts.OnlyCache = None,
    lock: opts.Lock = None,
    mirror: opts.Mirror = None,
    refresh: opts.Refresh = False,
    as_json: opts.Json = False,
) -> None:
    """Do a whole run."""
    from harness.machine.protocol import Firmware, Medium, Network
    from harness.payload.chosen import PayloadRequest
    from harness.report.progress import TerminalProgress
    from harness.run.execute import execute
    from harness.run.interactive import InteractiveRequest, InteractiveRun
    from harness.run.prepare import prepare
    from harness.run.request import RunRequest, StageRange

    kind = _kind(machine)
    _size(disk_size or None, "--disk-size")
    request = RunRequest(
        recipe=recipe,
        payload=PayloadRequest(
            tree=tree,
            arch=arch,
            builder=builder_hex0,
            instrument=instrument,
            jobs=jobs,
            disk_size=disk_size,
            incomplete=incomplete,
            derivation=opts.derivation_request(drv, store, take, expect, daemon, bare=bare),
        ),
        build=opts.build_options(
            kernel, cache or (store if drv is None else None), lock, mirror, refresh=refresh, second=second
        ),
        runs=runs.absolute(),
        machine=machine,
        accelerator=accelerator,
        memory=_size(memory),
        cpu=cpu,
        append=append,
        medium=Medium(medium),
        firmware=Firmware(firmware),
        unpacked=unpacked,
        network=None if network == "auto" else Network(network),
        part=StageRange(start, tuple(filter(None, checkpoint.split(","))), until),
        patience=patience,
        force=force,
        labels=dict(map(_label, label or ())),
    )
    wanted = InteractiveRequest(
        attach=attach or takeover,
        takeover=takeover,
        prompt=context.info_name == "shell",
        on_failure=on_failure == "shell",
    )
    wanted.check()
    with kind.leased(f"harness run {recipe}"), TerminalProgress(err()) as progress:
        prepared = prepare(request, progress)
        _expect(prepared, progress)
        person = InteractiveRun(wanted, progress, err())
        done = execute(prepared, [progress, person], progress, person)
    _show(done, prepared, as_json=as_json)
    raise typer.Exit(done.result.verdict.outcome.exit_code)


def _kind(machine: str) -> Kind[Any]:
    """The kind of machine that is asked for."""
    from harness.machine.kinds import find_kind

    try:
        return find_kind(machine)
    except ValueError as error:
        message = f"{machine!r} is not one of qemu, chroot, bwrap and board:NAME"
        raise typer.BadParameter(message, param_hint="'--machine'") from error


def _expect(prepared: PreparedRun, progress: TerminalProgress) -> None:
    """Let the display know how long stages and packages took in earlier runs."""
    runs, recipe = prepared.request.runs, prepared.built.recipe.name
    seed = prepared.built.kernels.get("seed")

    def stages() -> dict[str, float]:
        from harness.record.history import estimates

        return estimates(runs, recipe, seed.name if seed else "", prepared.kind.kind)

    progress.estimates = stages
    if prepared.payload.packages is not None:
        from harness.record.history import package_estimates

        progress.package_estimates = package_estimates(runs, recipe)


def _show(done: Run, prepared: PreparedRun, *, as_json: bool) -> None:
    import msgspec

    from harness.record.record import RunDocument
    from harness.report.summary import show_run

    document = msgspec.json.decode((done.directory / "run.json").read_bytes(), type=RunDocument)
    if as_json:
        print_json({"directory": str(done.directory), **msgspec.to_builtins(document)})
    else:
        show_run(out(), document, prepared.plan, done.directory)


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
