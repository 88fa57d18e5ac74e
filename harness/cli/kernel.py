"""`harness kernel`: list, fetch, build and inspect kernels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import kernel_build
from harness.cli import options as opts
from harness.cli.printing import print_json, print_wide, say

if TYPE_CHECKING:
    from harness.kernel.catalogue import Kernel
    from harness.kernel.features import Lack
    from harness.kernel.inspection import Inspection
    from harness.stages.needs import Needs

app = typer.Typer(
    help="Seed kernels: the catalogue, fetching, building, and inspection.",
    no_args_is_help=True,
)
app.command("build")(kernel_build.build)

NamesArgument = Annotated[
    list[str], typer.Argument(help="Names of the catalogue.", autocompletion=opts.kernel_names)
]
KernelArgument = Annotated[
    str,
    typer.Argument(
        help="A name of the catalogue, or the path of a kernel file.", autocompletion=opts.kernel_names
    ),
]


@app.command("list")
def list_kernels(as_json: opts.Json = False) -> None:
    """List the kernels of the catalogue, with the user's own from kernels.d/."""
    from harness.kernel import catalogue
    from harness.report.text import table

    lines = {name: catalogue.load_line(name) for name in catalogue.kernel_files()}
    if as_json:
        print_json({name: {**_fields(line), "origin": line.origin} for name, line in lines.items()})
        return
    listed = table("name", "Linux", "bits", "from", "")
    for name, line in lines.items():
        listed.add_row(name, line.version, str(line.bits), line.origin, line.summary)
    print_wide(listed)


@app.command("fetch")
def fetch(
    names: NamesArgument,
    cache: opts.Cache = None,
    mirror: opts.Mirror = None,
    refresh: opts.Refresh = False,
    as_json: opts.Json = False,
) -> None:
    """Get kernels with their configurations and modules into the store, and say where they are."""
    from harness.kernel import catalogue
    from harness.kernel.config import beside

    found = []
    for name in dict.fromkeys(names):
        catalogue.load_line(name)  # a slip in the last name shows before the first download
    with opts.debian(cache, mirror, refresh=refresh) as debian:
        for name in dict.fromkeys(names):
            kernel = catalogue.obtain(name, debian)
            known = beside(kernel.image)
            found.append((kernel, known.origin if known else ""))
    if as_json:
        print_json([_fetched(kernel, config) for kernel, config in found])
        return
    for kernel, config in found:
        say(f"{kernel.name}: Linux {kernel.image.version} ({kernel.package or 'a file'})")
        for title, place in (("kernel", kernel.image.path), ("config", config), ("modules", kernel.modules)):
            say(f"  {title:<8} {place or 'none'}")


@app.command("inspect")
def inspect(
    kernel: KernelArgument,
    plan: Annotated[str, typer.Option(help="Judge for this plan only, by name.")] = "",
    memory: Annotated[
        int | None,
        typer.Option(
            help="Memory of the machine, instead of what each plan takes.", metavar="SIZE", parser=opts.size
        ),
    ] = None,
    append: Annotated[str, typer.Option(help="Words of the kernel's command line.")] = "",
    cache: opts.Cache = None,
    mirror: opts.Mirror = None,
    refresh: opts.Refresh = False,
    as_json: opts.Json = False,
) -> None:
    """Say what a kernel file is, from its own bytes, and which plans it fits."""
    from harness.core.errors import ConfigError
    from harness.kernel import catalogue, inspection
    from harness.stages.plan_file import needs_files

    plans = needs_files()
    if plan and plan not in plans:
        raise ConfigError(f"there is no plan {plan!r} that needs a kernel", hint=f"plans: {', '.join(plans)}")
    path = Path(kernel.partition(",modules=")[0])
    if catalogue.is_path(kernel) and inspection.sections_of(path):
        found = inspection.examine(path.absolute())
    else:
        with opts.debian(cache, mirror, refresh=refresh) as debian:
            path = catalogue.obtain(kernel, debian).image.path
        found = inspection.examine(path)
    verdicts = {
        name: _judge(found, needs, memory or 0, append)
        for name, (_, needs) in plans.items()
        if plan in {"", name}
    }
    if as_json:
        print_json({"kernel": _fields(found), "compressions": found.compressions, "plans": verdicts})
        return
    _show_inspection(found)
    say("")
    for name, roles in verdicts.items():
        _show_verdict(name, plans[name][0], roles, known=found.config is not None)


def _judge(found: Inspection, needs: Needs, memory: int, command_line: str) -> dict[str, list[Lack]]:
    """What the kernel lacks in each role that the plan has for kernels."""
    from harness.core.sizes import parse_size
    from harness.kernel.features import lacking

    symbols = found.config.symbols if found.config else None
    asked = memory or (parse_size(needs.memory) if needs.memory else 0)
    verdicts = {}
    for role in ("seed", "second"):
        part = needs.of(role)
        if part.built_in or part.modular:
            verdicts[role] = lacking(
                found.image,
                symbols,
                built_in=part.built_in,
                modular=part.modular,
                memory=asked,
                command_line=command_line if role == "seed" else "",
            )
    return verdicts


def _show_verdict(name: str, summary: str, roles: dict[str, list[Lack]], *, known: bool) -> None:
    for role, lacks in roles.items():
        bad = [lack for lack in lacks if lack.strict]
        mark, word = ("✗", "does not fit") if bad else ("✓", "fits") if known else ("·", "may fit")
        title = f"{name} as {role} kernel" if len(roles) > 1 else name
        say(f"{mark} {word} {title}: {summary}")
        for lack in lacks:
            say(f"    {'✗' if lack.strict else '·'} {lack.what}")
            say(f"      → {lack.hint}")


def _show_inspection(found: Inspection) -> None:
    from harness.core.architecture import DEFAULT
    from harness.core.sizes import format_size

    image = found.image
    kind = found.kind + (" with EFI stub" if image.efi and found.kind == "bzImage" else "")
    rows = [
        ("file", str(image.path)),
        ("kind", f"{kind}, {format_size(image.size)}"),
        ("Linux", image.banner or "it does not say"),
        ("width", f"{image.bits} bit{', relocatable' if image.relocatable else ''}, {image.architecture}"),
    ]
    if image.kind == "bzImage":
        rows.append(("protocol", f"boot protocol {image.protocol[0]}.{image.protocol[1]:02}"))
        rows.append(("payload", f"{image.payload}{f' ({found.problem})' if found.problem else ''}"))
        rows.append(("memory", f"{format_size(image.init_size)} until it reads the memory map"))
    place = f"below address {image.initrd_max:#x}; " if image.initrd_max else ""
    rows += [
        ("initramfs", f"{place}unpacks {', '.join(found.compressions) or 'unknown'}"),
        ("arguments", f"at most {image.command_line_max} bytes"),
    ]
    if image.architecture == DEFAULT:
        rows.append(("PVH", "yes: QEMU can start the unpacked kernel" if image.pvh else "no"))
    rows += [
        (
            "config",
            found.config.origin
            if found.config
            else f"none embedded, and no config-{image.version} beside it",
        ),
        ("sha256", image.sha256),
    ]
    rows += [(name, format_size(size)) for name, size in found.sections.items() if name not in found.texts]
    rows += list(found.texts.items())
    for title, text in rows:
        say(f"{title:<10} {text}")


def _fetched(kernel: Kernel, config: str) -> dict[str, object]:
    return {
        "name": kernel.name,
        "version": kernel.image.version,
        "package": str(kernel.package or ""),
        "kernel": kernel.image.path,
        "sha256": kernel.image.sha256,
        "config": config,
        "modules": kernel.modules,
    }


def _fields(value: object) -> dict[str, object]:
    from msgspec import to_builtins

    return dict(to_builtins(value, enc_hook=str))
