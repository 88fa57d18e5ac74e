"""`harness history`, `compare` and `prune`: what runs tell together, and which of them are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import JsonOption, RunsOption
from harness.cli.printing import err, out, print_json, print_wide
from harness.core.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.record.history import CellHistory, PastRun
    from harness.record.produced import Difference
    from harness.report.compare import Comparison

_STYLES = {"PASS": "green", "": "yellow"}
_SHOWN = 8  # lines of a console that are shown for each stage and run
_MUCH = 0.1  # a stage that took so much longer or shorter is marked


def history(
    recipe: Annotated[str | None, typer.Option(metavar="PATTERN", help="Only of these recipes.")] = None,
    kernel: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Only under these seed kernels, such as debian-6.*")
    ] = None,
    machine: Annotated[str | None, typer.Option(metavar="PATTERN", help="Only on these machines.")] = None,
    accelerator: Annotated[str | None, typer.Option(metavar="PATTERN", help="Only kvm, or only tcg.")] = None,
    cell: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Only these cells, as the table names them.")
    ] = None,
    last: Annotated[int, typer.Option(min=0, metavar="N", help="List the newest N runs, too.")] = 0,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make the index anew from the records first.")
    ] = False,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Show how the runs of each cell went: passes, flakes, durations, and since when one is bad."""
    from harness.record import index
    from harness.record.history import Filter, cells, newest

    if rebuild:
        index.rebuild(runs)
    wanted = Filter(recipe=recipe, kernel=kernel, machine=machine, accelerator=accelerator, cell=cell)
    found = cells(runs, wanted)
    listed = newest(runs, wanted, last) if last else []
    if as_json:
        print_json({"cells": found, "runs": listed})
    elif found or listed:
        _show_cells(found)
        if listed:
            _show_runs(listed)
    else:
        _say(f"no run in {runs} fits" if wanted != Filter() else f"there are no run records in {runs}")


def prune(
    quota: Annotated[str, typer.Argument(help="What the records may take, such as 20G.", metavar="SIZE")],
    dry: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, and say what would go.")] = False,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Remove records until the others fit: the oldest that passed first, never the newest of a cell."""
    from harness.core.sizes import format_size, parse_size
    from harness.record.pruning import prune as pruned

    try:
        limit = parse_size(quota)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="SIZE") from error
    done = pruned(runs, limit, dry=dry)
    if as_json:
        print_json({"removed": done.gone, "freed": done.freed, "kept": done.kept})
    else:
        for name in done.gone:
            _say(name)
        verb = "would be" if dry else "are"
        _say(f"{len(done.gone)} records {verb} removed, {format_size(done.freed)}")
    if done.kept > limit:
        err().print(
            f"the other records take {format_size(done.kept)}; they go on, or are the newest of their cells",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(Outcome.FAIL.exit_code)


def compare(
    first: Annotated[
        str, typer.Argument(metavar="RUN", help="A run: its directory, its id or a part of it.")
    ],
    second: Annotated[str, typer.Argument(metavar="RUN", help="The other, such as `last`.")],
    file: Annotated[
        str,
        typer.Option(metavar="PATH", help="What differs in this file of the guests, which both kept."),
    ] = "",
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Show two runs side by side; ends with 1 where they ended, said or made something else."""
    from harness.record.reading import find_run, read_run
    from harness.report.compare import compare as compared

    one, other = find_run(first, runs), find_run(second, runs)
    if file:
        _compare_file(file, one, other, as_json=as_json)
        return
    comparison = compared(read_run(one), read_run(other))
    if as_json:
        print_json(comparison)
    else:
        _show_comparison(comparison)
    made = comparison.produced
    differ = comparison.ends or comparison.consoles
    if differ or (made and (made.differing or made.only_first or made.only_second)):
        raise typer.Exit(Outcome.FAIL.exit_code)


def _compare_file(path: str, one: Path, other: Path, *, as_json: bool) -> None:
    from harness.report.filediff import compare_file

    found = compare_file(path, one, other)
    if as_json:
        print_json(found)
    else:
        _say(f"- {found.first}")
        _say(f"+ {found.second}")
        for line in found.lines or ("the same bits",):
            _say(line)
        if found.note:
            err().print(found.note, markup=False, highlight=False, soft_wrap=True)
    if not found.same:
        raise typer.Exit(Outcome.FAIL.exit_code)


def _show_cells(found: list[CellHistory]) -> None:
    from rich.table import Table
    from rich.text import Text

    from harness.record.history import sparkline

    table = Table("cell", "last", box=None, pad_edge=False)
    for title in ("runs", "passed", "flaky", "seconds"):
        table.add_column(title, justify="right")
    table.add_column("durations")
    table.add_column("first bad run")
    for one in found:
        table.add_row(
            Text(one.cell),
            Text(one.last, _STYLES.get(one.last, "red")),
            str(one.runs),
            str(one.passed),
            f"{one.flaky:.1%}" if one.flaky else "",
            f"{one.seconds:.1f}" if one.durations else "",
            sparkline(one.durations),
            Text(one.first_bad),
        )
    print_wide(table)


def _show_runs(listed: list[PastRun]) -> None:
    from rich.table import Table
    from rich.text import Text

    out().print()
    table = Table("run", "outcome", "stage", "seconds", "reason", box=None, pad_edge=False)
    for run in listed:
        outcome = run.outcome or run.state
        style = _STYLES.get(run.outcome, "red")
        reason = "" if run.outcome == Outcome.PASS else run.reason
        table.add_row(Text(run.id), Text(outcome, style), Text(run.stage), f"{run.seconds:.1f}", Text(reason))
    print_wide(table)


def _show_comparison(comparison: Comparison) -> None:
    from rich.table import Table
    from rich.text import Text

    _say(f"- {comparison.first}")
    _say(f"+ {comparison.second}")
    for title, changes in (("what went in", comparison.inputs), ("how it ended", comparison.ends)):
        _head(title if changes else f"{title}: the same")
        for change in changes:
            _say(f"  {change.what}")
            _say(f"    - {change.first or '(nothing)'}")
            _say(f"    + {change.second or '(nothing)'}")
    _head("stages")
    table = Table("  stage", "-", "+", box=None, pad_edge=False)
    for title in ("- s", "+ s", "change"):
        table.add_column(title, justify="right")
    for stage in comparison.stages:
        longer = stage.second_wall / stage.first_wall - 1 if stage.first_wall and stage.second_wall else 0.0
        table.add_row(
            Text(f"  {stage.name}"),
            stage.first,
            stage.second,
            f"{stage.first_wall:.1f}",
            f"{stage.second_wall:.1f}",
            f"{longer:+.0%}" if abs(longer) >= _MUCH else "",
        )
    print_wide(table)
    _head("consoles" if comparison.consoles else "consoles: the same, but for times and addresses")
    for console in comparison.consoles:
        _say(f"  ── {console.stage} ──")
        for mark, lines, count in (
            ("-", console.only_first, console.first_count),
            ("+", console.only_second, console.second_count),
        ):
            for line in lines[:_SHOWN]:
                _say(f"  {mark} {line}")
            if count > _SHOWN:
                _say(f"  {mark} … {count} lines in all")
    if comparison.produced is not None:
        _show_produced(comparison.produced, comparison.kept)


def _show_produced(made: Difference, kept: Sequence[str]) -> None:
    _head(f"files that the guests made: {made.same} the same")
    for mark, names in (("≠", made.differing), ("-", made.only_first), ("+", made.only_second)):
        for name in names[:_SHOWN]:
            _say(f"  {mark} {name}")
        if len(names) > _SHOWN:
            _say(f"  {mark} … {len(names)} files in all")
    if kept:
        _say(f"  --file {kept[0]} shows what differs in it, as both records kept it")


def _head(text: str) -> None:
    out().print()
    out().print(text, style="bold", markup=False, highlight=False, soft_wrap=True)


def _say(text: str) -> None:
    out().print(text, markup=False, highlight=False, soft_wrap=True)
