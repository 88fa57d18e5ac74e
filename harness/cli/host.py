"""`harness doctor` and `harness list`: what this host and this project have."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import print_json, say
from harness.core.errors import ConfigError
from harness.core.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def doctor(cache: opts.Cache = None, as_json: opts.Json = False) -> None:
    """Say what this host has, probing accelerators by booting a guest, and how to get what is missing."""
    from rich.text import Text

    from harness.report.text import MARKS
    from harness.run.doctor import examine

    findings = examine(opts.cache_directory(cache))
    if as_json:
        print_json({"findings": findings})
    else:
        for finding in findings:
            say(MARKS[finding.good] + Text(f" {finding.name:<20} {finding.found}", ""))
            if finding.good is False and finding.remedy:
                say(f"  {'':<20} → {finding.remedy}")
    if any(finding.good is False for finding in findings):
        raise typer.Exit(Outcome.CONFIG.exit_code)


def list_everything(
    eras: Annotated[bool, typer.Option("--eras", help="The eras of checkouts, one by one.")] = False,
    tree: Annotated[
        Path | None, typer.Option(help="Compare this checkout with each era, and say what it lacks.")
    ] = None,
    as_json: opts.Json = False,
) -> None:
    """List the recipes, eras, kernels and machines that there are."""
    from harness.kernel import catalogue
    from harness.machine.protocol import Accelerator
    from harness.payload.era import era_files, load_era
    from harness.recipe import load_recipe, recipe_files

    if tree is not None:
        _show_eras(tree, as_json=as_json)
        return
    problems: dict[str, str] = {}
    everything = {
        "recipes": _summaries(recipe_files(), lambda name: load_recipe(name).summary, problems),
        "eras": (
            found := _summaries(era_files(), lambda name: load_era(era_files()[name]).summary, problems)
        ),
        "kernels": _summaries(
            catalogue.kernel_files(), lambda name: catalogue.load_line(name).summary, problems
        ),
        "machines": {
            "qemu": f"QEMU's PC, accelerators {Accelerator.KVM} and {Accelerator.TCG}",
            "chroot": "the payload on this host's kernel; needs root",
            "bwrap": "the same by bubblewrap, without root",
            "board:NAME": "a real one of lab/NAME.toml: `harness board list`",
        },
    }
    if as_json:
        print_json(everything | {"problems": problems})
        return
    if not eras:
        first, *_, last = found
        everything["eras"] = {
            f"{len(found)} eras": f"{first} to {last}; `--eras` lists them, `--tree DIR` compares"
        }
    for kind, entries in everything.items():
        if not eras or kind == "eras":
            _show_entries(kind, entries, problems)


def _summaries(
    names: Mapping[str, Path], load: Callable[[str], str], problems: dict[str, str]
) -> dict[str, str]:
    """What each file says of itself; of one that cannot be read, why."""
    found = {}
    for name in names:
        try:
            found[name] = load(name)
        except ConfigError as error:
            found[name] = problems[name] = error.message
    return found


def _show_entries(kind: str, entries: Mapping[str, str], problems: Mapping[str, str]) -> None:
    from rich.text import Text

    say(Text(kind, "bold"))
    width = max(map(len, entries))
    for name, summary in entries.items():
        say(f"  {name:<{width}}  {'✗ ' if name in problems else ''}{summary}")


def _show_eras(tree: Path, *, as_json: bool) -> None:
    from harness.payload.tree import compared

    if not tree.is_dir():
        raise ConfigError(f"{tree} is no directory", hint="give the checkout of a bootstrap with --tree")
    lacks = {era.name: reasons for era, reasons in compared(tree.absolute())}
    if as_json:
        print_json({"tree": tree.absolute(), "lacks": lacks})
        return
    width = max(map(len, lacks))
    for name, reasons in lacks.items():
        say(f"{'✗' if reasons else '✓'} {name:<{width}}  {', '.join(reasons) or 'it is of this era'}")
