"""The command line: arguments in, exit codes out; nothing else ends the process."""

from __future__ import annotations

import io
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import harness
from harness import doctor, pipeline, places
from harness.console.terminal import attach
from harness.errors import ConfigError, HarnessError, Interrupted
from harness.kernel import catalogue
from harness.machine.protocol import Accelerator
from harness.outcome import Outcome
from harness.recipe import load_recipe, recipe_files
from harness.report.history import estimates
from harness.report.progress import TerminalProgress
from harness.report.record import RunDocument
from harness.report.summary import show_run
from harness.size import format_size, parse_size
from harness.stages.plan import load_plan
from harness.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from harness.console.recorder import Recorder

app = typer.Typer(
    name="harness",
    help="Build, boot, follow and verify bootstraps: images, console, stages, verdict.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

out = Console(soft_wrap=False)
err = Console(stderr=True)


def _recipe_names(incomplete: str) -> list[str]:
    return [name for name in recipe_files() if name.startswith(incomplete)]


def _kernel_names(incomplete: str) -> list[str]:
    return [name for name in catalogue.kernel_files() if name.startswith(incomplete)]


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--memory'") from error


RecipeArgument = Annotated[
    str,
    typer.Argument(help="Recipe by name, or the path of a .toml file.", autocompletion=_recipe_names),
]
KernelOption = Annotated[
    str | None,
    typer.Option(
        help="Seed kernel: a name of the catalogue, or the path of your own vmlinuz.",
        autocompletion=_kernel_names,
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(help="Cache directory.  [default: $HARNESS_CACHE, or the user's cache directory]"),
]
RunsOption = Annotated[Path, typer.Option(help="Directory for run records.")]
LockOption = Annotated[Path | None, typer.Option(help="Repeat exactly the packages of this lock file.")]
MirrorOption = Annotated[
    str | None, typer.Option(help="Base address of a Debian archive to use instead of the machine's own.")
]
RefreshOption = Annotated[bool, typer.Option("--refresh", help="Fetch the newest package indexes first.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
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
PatienceOption = Annotated[
    float, typer.Option(min=0.01, help="Multiplies all time budgets, for slow hosts and machines.")
]


@app.command("run", help="Build a recipe's images, boot them, follow the run and verify its end.")
@app.command("shell", help="Do the same as `run`, and hand you the guest's bash before it is powered off.")
def run(
    context: typer.Context,
    recipe: RecipeArgument = "relay",
    kernel: KernelOption = None,
    accelerator: AcceleratorOption = "auto",
    memory: MemoryOption = None,
    cpu: CpuOption = None,
    append: AppendOption = "",
    patience: PatienceOption = 1.0,
    runs: RunsOption = Path("runs"),
    cache: CacheOption = None,
    lock: LockOption = None,
    mirror: MirrorOption = None,
    refresh: RefreshOption = False,
    as_json: JsonOption = False,
) -> None:
    """Do a whole run."""
    building = _build_options(kernel, cache, lock, mirror, refresh)
    running = pipeline.RunOptions(
        runs=runs.absolute(),
        accelerator=accelerator,
        memory=_size(memory),
        cpu=cpu,
        append=append,
        patience=patience,
    )
    wanted = load_recipe(recipe)
    with TerminalProgress(err) as progress:
        pipeline.check_host(running, building.cache, progress)
        built = pipeline.build(wanted, building, progress)
        progress.estimates = estimates(running.runs, wanted.name, built.kernels["seed"].name)
        if context.info_name == "shell":
            running = replace(running, interact=_attach_to(progress))
        done = pipeline.boot(built, running, cache=building.cache, listeners=[progress], progress=progress)
    document = msgspec.json.decode((done.directory / "run.json").read_bytes(), type=RunDocument)
    if as_json:
        _print_json({"directory": str(done.directory), **msgspec.to_builtins(document)})
    else:
        show_run(out, document, load_plan(wanted.plan), done.directory)
    raise typer.Exit(done.result.verdict.outcome.exit_code)


@app.command()
def build(
    recipe: RecipeArgument = "relay",
    kernel: KernelOption = None,
    cache: CacheOption = None,
    lock: LockOption = None,
    mirror: MirrorOption = None,
    refresh: RefreshOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build a recipe's images, or find them in the cache, and say where they are."""
    with TerminalProgress(err) as progress:
        built = pipeline.build(
            load_recipe(recipe), _build_options(kernel, cache, lock, mirror, refresh), progress
        )
    if as_json:
        _print_json({"images": list(built.images.values())})
        return
    table = Table("image", "kind", "size", "sha256", "path", box=None, pad_edge=False)
    for image in built.images.values():
        table.add_row(
            image.name, image.kind, format_size(image.size), image.sha256[:16], Text(str(image.path))
        )
    _print_wide(table)


@app.command()
def lock(
    recipe: RecipeArgument = "relay",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Lock file to write.")] = None,
    kernel: KernelOption = None,
    cache: CacheOption = None,
    mirror: MirrorOption = None,
    refresh: RefreshOption = False,
) -> None:
    """Write a lock file: the exact packages of a build, to be committed and repeated with --lock."""
    wanted = load_recipe(recipe)
    path = output or Path(f"{wanted.name}.lock.json")
    with TerminalProgress(err) as progress:
        built = pipeline.build(wanted, _build_options(kernel, cache, None, mirror, refresh), progress)
    try:
        write_atomically(path, built.lock.to_json())
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="choose another with -o") from error
    out.print(f"{path}: {sum(len(r.packages) for r in built.lock.resolutions)} packages", highlight=False)


@app.command(name="doctor")
def doctor_command(cache: CacheOption = None, as_json: JsonOption = False) -> None:
    """Say what this host has, probing accelerators by booting a guest, and how to get what is missing."""
    findings = doctor.examine(_cache(cache))
    if as_json:
        _print_json({"findings": findings})
    else:
        marks = {True: Text("✓", "green"), None: Text("·", "yellow"), False: Text("✗", "red")}
        for finding in findings:
            out.print(
                marks[finding.good] + Text(f" {finding.name:<20} {finding.found}", ""),
                soft_wrap=True,
                highlight=False,
            )
            if finding.good is False and finding.remedy:
                out.print(f"  {'':<20} → {finding.remedy}", soft_wrap=True, highlight=False, markup=False)
    if any(finding.good is False for finding in findings):
        raise typer.Exit(Outcome.CONFIG.exit_code)


@app.command(name="list")
def list_command(as_json: JsonOption = False) -> None:
    """List the recipes, kernels and machines that there are."""
    recipes = {name: load_recipe(name).summary for name in recipe_files()}
    kernels = {name: catalogue.load_line(name).summary for name in catalogue.kernel_files()}
    machines = {"qemu": f"QEMU's PC, accelerators {' and '.join(Accelerator)}"}
    everything = {"recipes": recipes, "kernels": kernels, "machines": machines}
    if as_json:
        _print_json(everything)
        return
    for kind, entries in everything.items():
        out.print(Text(kind, "bold"))
        for name, summary in entries.items():
            out.print(f"  {name:<20} {summary}", soft_wrap=True, highlight=False, markup=False)


@app.callback(invoke_without_command=True)
def _globals(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,  # noqa: ARG001 - `main`
) -> None:
    if version:
        out.print(f"harness {harness.__version__}", highlight=False)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with the outcome's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode gets a ? instead of a ✓
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        app(given)
        status = Outcome.PASS.exit_code
    except HarnessError as error:
        status = _report(error, given)
    except Exception as error:
        if "--debug" in given:
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        status = _report(
            HarnessError(
                f"a mistake of ours: {type(error).__name__}: {error} ({where.filename}:{where.lineno})",
                hint="please report it, with what `harness --debug …` prints",
            ),
            given,
        )
    sys.exit(status)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(f"stopped by {signal.Signals(number).name}")


def _report(error: HarnessError, given: Sequence[str]) -> int:
    if "--debug" in given:
        err.print_exception()
    if "--json" in given:
        _print_json({"outcome": error.outcome, "error": error.message, "hint": error.hint})
    err.print(f"harness: {error.message}", markup=False, highlight=False, soft_wrap=True)
    if error.hint:
        err.print(f"  {error.hint}", markup=False, highlight=False, soft_wrap=True)
    return error.outcome.exit_code


def _attach_to(progress: TerminalProgress) -> Callable[[Recorder, int], None]:
    def interact(recorder: Recorder, offset: int) -> None:
        with progress.stepped_aside():
            err.print("The guest's bash is yours. Leave it with Ctrl-].", style="bold", highlight=False)
            attach(recorder, offset=offset)
            err.print()

    return interact


def _build_options(
    kernel: str | None, cache: Path | None, lock_file: Path | None, mirror: str | None, refresh: bool
) -> pipeline.BuildOptions:
    return pipeline.BuildOptions(
        cache=_cache(cache), kernel=kernel, lock=lock_file, mirror=mirror, refresh=refresh
    )


def _cache(chosen: Path | None) -> Path:
    return chosen.absolute() if chosen else places.cache_root()


def _print_json(value: object) -> None:
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode()
    sys.stdout.write(text + "\n")


def _print_wide(table: Table) -> None:
    """Print a table whose cells are never cut: paths are for copying."""
    width = max(out.width, Console(width=10_000).measure(table).maximum)
    Console(width=width).print(table, soft_wrap=True)
