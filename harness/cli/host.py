"""`harness doctor` and `harness list`: what this host has, and what the project has."""

from __future__ import annotations

import typer

from harness.cli.options import CacheOption, JsonOption, cache_directory
from harness.cli.printing import out, print_json
from harness.core.outcome import Outcome


def doctor(cache: CacheOption = None, as_json: JsonOption = False) -> None:
    """Say what this host has, probing accelerators by booting a guest, and how to get what is missing."""
    from rich.text import Text

    from harness.run.doctor import examine

    findings = examine(cache_directory(cache))
    if as_json:
        print_json({"findings": findings})
    else:
        marks = {True: Text("✓", "green"), None: Text("·", "yellow"), False: Text("✗", "red")}
        for finding in findings:
            out().print(
                marks[finding.good] + Text(f" {finding.name:<20} {finding.found}", ""),
                soft_wrap=True,
                highlight=False,
            )
            if finding.good is False and finding.remedy:
                out().print(f"  {'':<20} → {finding.remedy}", soft_wrap=True, highlight=False, markup=False)
    if any(finding.good is False for finding in findings):
        raise typer.Exit(Outcome.CONFIG.exit_code)


def list_everything(as_json: JsonOption = False) -> None:
    """List the recipes, eras, kernels and machines that there are."""
    from rich.text import Text

    from harness.kernel import catalogue
    from harness.machine.protocol import Accelerator
    from harness.payload.era import load_eras
    from harness.recipe import load_recipe, recipe_files

    recipes = {name: load_recipe(name).summary for name in recipe_files()}
    eras = {era.name: era.summary for era in load_eras()}
    kernels = {name: catalogue.load_line(name).summary for name in catalogue.kernel_files()}
    machines = {
        "qemu": f"QEMU's PC, accelerators {Accelerator.KVM} and {Accelerator.TCG}",
        "chroot": "the payload on this host's kernel; needs root",
        "bwrap": "the same by bubblewrap, without root",
        "board:NAME": "a real one of lab/NAME.toml: `harness board list`",
    }
    everything = {"recipes": recipes, "eras": eras, "kernels": kernels, "machines": machines}
    if as_json:
        print_json(everything)
        return
    for kind, entries in everything.items():
        out().print(Text(kind, "bold"))
        width = max(map(len, entries))
        for name, summary in entries.items():
            out().print(f"  {name:<{width}}  {summary}", soft_wrap=True, highlight=False, markup=False)
