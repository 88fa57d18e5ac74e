"""`harness kernel build`: tiny kernels from Debian's kernel source."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import print_json, say
from harness.core.outcome import Outcome

if TYPE_CHECKING:
    from harness.kernel.built import BuiltKernel, Comparison


def _buildable(incomplete: str) -> list[str]:
    from harness.kernel import catalogue

    names = (name for name in catalogue.kernel_files() if name.startswith(incomplete))
    return [name for name in names if catalogue.load_line(name).build]


KernelsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG...",
        help="Kernels by name, or paths of .toml files with a table [build].",
        autocompletion=_buildable,
    ),
]


def build(
    configurations: KernelsArgument,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Directory for copies.")] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Processes at once.  [default: one per core]")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Build again in another place, without ccache, and compare.")
    ] = False,
    cache: opts.Cache = None,
    lock: opts.Lock = None,
    mirror: opts.Mirror = None,
    refresh: opts.Refresh = False,
    as_json: opts.Json = False,
) -> None:
    """Build tiny kernels, or find them in the cache; `--kernel NAME` boots them afterwards."""
    from harness.core import paths
    from harness.kernel import built, catalogue

    if output:
        paths.check_writable(output.absolute(), "output", "choose another with -o DIR")
    found: dict[str, BuiltKernel] = {}
    compared: dict[str, Comparison] = {}
    with opts.debian(cache, mirror, refresh=refresh, lock_file=lock) as debian:
        # All of them are looked at before the first is built: that takes minutes.
        orders = [catalogue.order(name, debian) for name in configurations]
        for order in orders:
            found[order.name] = built.obtain(order, debian, jobs=jobs)
            if check:
                compared[order.name] = built.check(order, found[order.name], debian, jobs=jobs)
    copies = {name: kernel.copy_to(output.absolute()) for name, kernel in found.items()} if output else {}
    if as_json:
        kernels = {
            name: {
                "path": kernel.vmlinuz,
                "config": kernel.config,
                "check": compared.get(name),
                **kernel.described,
            }
            for name, kernel in found.items()
        }
        print_json({"kernels": kernels, "output": copies})
    else:
        for name, kernel in found.items():
            _show(name, kernel, compared.get(name), copies.get(name))
    if any(each.differing for each in compared.values()):
        raise typer.Exit(Outcome.FAIL.exit_code)


def _show(name: str, kernel: BuiltKernel, compared: Comparison | None, copy: Path | None) -> None:
    from harness.core.sizes import format_size

    facts = kernel.described
    how = " with ccache" if facts["ccache"] else ""
    lines = [
        f"{name}: Linux {facts['release']}, {format_size(facts['size'])}, sha256 {facts['sha256']}",
        f"  {facts['objects']} objects in {facts['cpu']:.0f} CPU-s{how}",
        f"  {copy or kernel.vmlinuz}",
    ]
    if compared:
        lines += (
            [f"  built again in another place: differs in {', '.join(compared.differing)}"]
            if compared.differing
            else ["  built again in another place: the same bits"]
        )
        lines += [f"  kept for a look: {compared.kept}"] if compared.kept else []
    for line in lines:
        say(line)
