"""The table at the end of a run: stages with their times, what was proved, the verdict, the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from harness.core.outcome import Outcome
from harness.core.sizes import format_size
from harness.stages.verdict import StageStatus

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from harness.record.record import RunDocument
    from harness.stages.plan import Plan
    from harness.stages.verdict import Verdict

MARKS = {
    StageStatus.PASSED: Text("✓", "green"),
    StageStatus.FAILED: Text("✗", "red"),
    StageStatus.NOT_REACHED: Text("·", "dim"),
    StageStatus.NOT_APPLICABLE: Text("-", "dim"),
    StageStatus.RESUMED: Text("↻", "cyan"),
}
_EVIDENCE = 12  # lines shown; the record has them all


def show_run(console: Console, document: RunDocument, plan: Plan, directory: Path) -> None:
    """Print what came of a run."""
    titles = {stage.name: stage.title for stage in plan.stages}
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("stage")
    table.add_column("what happens")
    table.add_column("wall s", justify="right")
    table.add_column("CPU s", justify="right")
    for stage in document.stages:
        reached = stage.status in {StageStatus.PASSED, StageStatus.FAILED}
        table.add_row(
            MARKS[stage.status],
            Text(stage.name),
            Text(titles.get(stage.name, "")),
            f"{stage.wall:.1f}" if reached else "",
            f"{stage.cpu:.1f}" if reached else "",
        )
    table.add_section()
    wall, cpu = (sum(getattr(stage, key) for stage in document.stages) for key in ("wall", "cpu"))
    table.add_row("", "total", "", f"{wall:.1f}", f"{cpu:.1f}")
    console.print(table)
    _show_checks(console, document, plan)
    _show_inputs(console, document)
    if document.instrumented:
        console.print("payload  instrumented: a script was added to it (--instrument)", style="yellow")
    if (resumed := document.resumed) is not None:
        text = f"resumed  at {resumed.stage} from checkpoint {resumed.checkpoint} of run {resumed.run}"
        console.print(text, style="cyan", soft_wrap=True, highlight=False, markup=False)
    if (taken := document.taken_over) is not None:
        text = f"by hand  taken over in stage {taken.stage} at {taken.seconds:.1f} s"
        console.print(text, style="bold yellow", soft_wrap=True, highlight=False, markup=False)
    for saved in document.checkpoints:
        how = f"{format_size(saved.size)} in {saved.seconds:.1f} s" if saved.new else "was there already"
        text = f"saved    at {saved.stage}: checkpoint {saved.checkpoint} ({how})"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    _show_outputs(console, document)
    if document.verdict is not None:
        show_verdict(console, document.verdict)
    console.print(f"record   {directory}", soft_wrap=True, highlight=False, markup=False)


def _show_outputs(console: Console, document: RunDocument) -> None:
    if (made := document.produced) is not None:
        files = "1 file" if made.files == 1 else f"{made.files} files"
        text = f"produced {files}, {format_size(made.size)}: manifest.sha256"
        how = _way(made.seconds, fast=made.fast) if made.stage else f"{made.seconds:.1f} s, from its root"
        console.print(f"{text} ({how})", soft_wrap=True, highlight=False)
    for file in document.fetched:
        text = f"fetched  {file.path}, {format_size(file.size)}: {file.file}"
        text += f" ({_way(file.seconds, fast=file.fast)})"
        console.print(text, soft_wrap=True, highlight=False, markup=False)


def _way(seconds: float, *, fast: bool) -> str:
    return f"{seconds:.1f} s, {'through the virtio port' if fast else 'over the console'}"


def show_verdict(console: Console, verdict: Verdict) -> None:
    """Print how a run ended and why."""
    style = "bold green" if verdict.outcome == Outcome.PASS else "bold red"
    line = Text("verdict  ") + Text(verdict.outcome, style)
    if verdict.outcome != Outcome.PASS:
        line += Text(f" in stage {verdict.stage}")
    console.print(line + Text(f": {verdict.reason}"), soft_wrap=True, highlight=False)
    if verdict.hint:
        console.print(f"next     {verdict.hint}", soft_wrap=True, highlight=False, markup=False)
    for item in verdict.evidence[-_EVIDENCE:]:
        where = item.what if item.offset is None else f"{item.what} @{item.offset}"
        console.print(Text(f"         {where}: {item.text}", "dim"), soft_wrap=True, highlight=False)


def _show_checks(console: Console, document: RunDocument, plan: Plan) -> None:
    proves = {(stage.name, check.name): check.proves for stage in plan.stages for check in stage.checks}
    for check in document.checks:
        mark = Text("✓ ", "green") if check.passed else Text("✗ ", "red")
        claim = proves.get((check.stage, check.name), check.name)
        detail = Text(f"  ({check.answer})", "dim")
        console.print(mark + Text(claim) + detail, soft_wrap=True, highlight=False)
    if document.checks:
        console.print()


def _show_inputs(console: Console, document: RunDocument) -> None:
    for kernel in document.kernels:
        text = f"{kernel.role:<8} Linux {kernel.version} ({kernel.bits} bit, {kernel.name})"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    machine = document.machine
    if machine is not None:
        text = f"machine  {machine.title}, {machine.memory >> 20} MiB"
        if machine.unpacked:
            text += ", seed kernel started unpacked"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
