"""`harness history`, `compare` and `prune`: many runs together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import print_json, print_wide, remark, say
from harness.core.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.record.history import CellHistory, PastRun
    from harness.report.compare import Comparison
    from harness.stages.products import Difference

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
    runs: opts.Runs = Path("runs"),
    as_json: opts.Json = False,
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
        say(f"no run in {runs} fits" if wanted != Filter() else f"there are no run records in {runs}")


def prune(
    quota: Annotated[
        int, typer.Argument(help="What the records may take, such as 20G.", metavar="SIZE", parser=opts.size)
    ],
    dry: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, and say what would go.")] = False,
    runs: opts.Runs = Path("runs"),
    as_json: opts.Json = False,
) -> None:
    """Remove records until the others fit: the oldest that passed first, never the newest of a cell."""
    from harness.core.sizes import format_size
    from harness.record.pruning import prune as pruned

    done = pruned(runs, quota, dry=dry)
    if as_json:
        print_json({"removed": done.gone, "freed": done.freed, "kept": done.kept})
    else:
        for name in done.gone:
            say(name)
        verb = "would be" if dry else "are"
        say(f"{len(done.gone)} records {verb} removed, {format_size(done.freed)}")
    if done.kept > quota:
        remark(
            f"the other records take {format_size(done.kept)}; they go on, or are the newest of their cells"
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
    runs: opts.Runs = Path("runs"),
    as_json: opts.Json = False,
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
    from harness.report.compare import compare_file

    found = compare_file(path, one, other)
    if as_json:
        print_json(found)
    else:
        say(f"- {found.first}")
        say(f"+ {found.second}")
        for line in found.lines or ("the same bits",):
            say(line)
        if found.note:
            remark(found.note)
    if not found.same:
        raise typer.Exit(Outcome.FAIL.exit_code)


def _show_cells(found: list[CellHistory]) -> None:
    from rich.text import Text

    from harness.record.history import sparkline
    from harness.report.text import table

    listed = table("cell", "last", ">runs", ">passed", ">flaky", ">seconds", "durations", "first bad run")
    for one in found:
        listed.add_row(
            one.cell,
            Text(one.last, _STYLES.get(one.last, "red")),
            str(one.runs),
            str(one.passed),
            f"{one.flaky:.1%}" if one.flaky else "",
            f"{one.seconds:.1f}" if one.durations else "",
            sparkline(one.durations),
            one.first_bad,
        )
    print_wide(listed)


def _show_runs(found: list[PastRun]) -> None:
    from rich.text import Text

    from harness.report.text import table

    say()
    listed = table("run", "outcome", "stage", "seconds", "reason")
    for run in found:
        outcome = Text(run.outcome or run.state, _STYLES.get(run.outcome, "red"))
        reason = "" if run.outcome == Outcome.PASS else run.reason
        listed.add_row(run.id, outcome, run.stage, f"{run.seconds:.1f}", reason)
    print_wide(listed)


def _show_comparison(comparison: Comparison) -> None:
    from harness.report.text import table

    say(f"- {comparison.first}")
    say(f"+ {comparison.second}")
    for title, changes in (("what went in", comparison.inputs), ("how it ended", comparison.ends)):
        _head(title if changes else f"{title}: the same")
        for change in changes:
            say(f"  {change.what}")
            say(f"    - {change.first or '(nothing)'}")
            say(f"    + {change.second or '(nothing)'}")
    _head("stages")
    listed = table("  stage", "-", "+", ">- s", ">+ s", ">change")
    for stage in comparison.stages:
        longer = stage.second_wall / stage.first_wall - 1 if stage.first_wall and stage.second_wall else 0.0
        listed.add_row(
            f"  {stage.name}",
            stage.first,
            stage.second,
            f"{stage.first_wall:.1f}",
            f"{stage.second_wall:.1f}",
            f"{longer:+.0%}" if abs(longer) >= _MUCH else "",
        )
    print_wide(listed)
    _head("consoles" if comparison.consoles else "consoles: the same, but for times and addresses")
    for console in comparison.consoles:
        say(f"  ── {console.stage} ──")
        _show_some("-", console.only_first, console.first_count, "lines")
        _show_some("+", console.only_second, console.second_count, "lines")
    if comparison.produced is not None:
        _show_produced(comparison.produced, comparison.kept)


def _show_produced(made: Difference, kept: Sequence[str]) -> None:
    _head(f"files that the guests made: {made.same} the same")
    for mark, names in (("≠", made.differing), ("-", made.only_first), ("+", made.only_second)):
        _show_some(mark, names, len(names), "files")
    if kept:
        say(f"  --file {kept[0]} shows what differs in it, as both records kept it")


def _show_some(mark: str, lines: Sequence[str], count: int, what: str) -> None:
    for line in lines[:_SHOWN]:
        say(f"  {mark} {line}")
    if count > _SHOWN:
        say(f"  {mark} … {count} {what} in all")


def _head(text: str) -> None:
    say()
    say(text, "bold")
