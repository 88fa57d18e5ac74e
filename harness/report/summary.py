"""The table at the end of a run, with checks and verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.text import Text

from harness.core.outcome import Outcome
from harness.core.sizes import format_size
from harness.report import text
from harness.report.text import say, table
from harness.stages.verdict import StageStatus, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from harness.record.record import RunDocument
    from harness.stages.plan import Plan

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
    stages = table("", "stage", "what happens", ">wall s", ">CPU s")
    stages.box = SIMPLE_HEAD
    for stage in document.stages:
        reached = stage.status in {StageStatus.PASSED, StageStatus.FAILED}
        stages.add_row(
            MARKS[stage.status],
            Text(stage.name),
            Text(titles.get(stage.name, "")),
            f"{stage.wall:.1f}" if reached else "",
            f"{stage.cpu:.1f}" if reached else "",
        )
    stages.add_section()
    wall, cpu = (sum(getattr(stage, key) for stage in document.stages) for key in ("wall", "cpu"))
    stages.add_row("", "total", "", f"{wall:.1f}", f"{cpu:.1f}")
    console.print(stages)
    _show_checks(console, document, plan)
    _show_inputs(console, document)
    if document.instrumented:
        say(console, "payload  instrumented: a script was added to it (--instrument)", "yellow")
    if (resumed := document.resumed) is not None:
        line = f"resumed  at {resumed.stage} from checkpoint {resumed.checkpoint} of run {resumed.run}"
        say(console, line, "cyan")
    if (taken := document.taken_over) is not None:
        say(console, f"by hand  taken over in stage {taken.stage} at {taken.seconds:.1f} s", "bold yellow")
    for saved in document.checkpoints:
        how = f"{format_size(saved.size)} in {saved.seconds:.1f} s" if saved.new else "was there already"
        say(console, f"saved    at {saved.stage}: checkpoint {saved.checkpoint} ({how})")
    _show_outputs(console, document)
    if document.verdict is not None:
        show_verdict(console, document.verdict)
    say(console, f"record   {directory}")


def _show_outputs(console: Console, document: RunDocument) -> None:
    if (made := document.produced) is not None:
        files = "1 file" if made.files == 1 else f"{made.files} files"
        how = _way(made.seconds, fast=made.fast) if made.stage else f"{made.seconds:.1f} s, from its root"
        say(console, f"produced {files}, {format_size(made.size)}: manifest.sha256 ({how})")
    for file in document.fetched:
        how = _way(file.seconds, fast=file.fast)
        say(console, f"fetched  {file.path}, {format_size(file.size)}: {file.file} ({how})")


def _way(seconds: float, *, fast: bool) -> str:
    return f"{seconds:.1f} s, {'through the virtio port' if fast else 'over the console'}"


def show_verdict(console: Console, verdict: Verdict) -> None:
    """Print how a run ended and why."""
    style = "bold green" if verdict.outcome == Outcome.PASS else "bold red"
    line = Text("verdict  ") + Text(verdict.outcome, style)
    if verdict.outcome != Outcome.PASS:
        line += Text(f" in stage {verdict.stage}")
    say(console, line + Text(f": {verdict.reason}"))
    if verdict.hint:
        say(console, f"next     {verdict.hint}")
    for item in verdict.evidence[-_EVIDENCE:]:
        where = item.what if item.offset is None else f"{item.what} @{item.offset}"
        say(console, Text(f"         {where}: {item.text}", "dim"))


def _show_checks(console: Console, document: RunDocument, plan: Plan) -> None:
    proves = {(stage.name, check.name): check.proves for stage in plan.stages for check in stage.checks}
    for check in document.checks:
        claim = proves.get((check.stage, check.name), check.name)
        say(console, text.MARKS[check.passed] + f" {claim}" + Text(f"  ({check.answer})", "dim"))
    if document.checks:
        say(console)


def _show_inputs(console: Console, document: RunDocument) -> None:
    for kernel in document.kernels:
        say(console, f"{kernel.role:<8} Linux {kernel.version} ({kernel.bits} bit, {kernel.name})")
    if (machine := document.machine) is not None:
        how = ", seed kernel started unpacked" if machine.unpacked else ""
        say(console, f"machine  {machine.title}, {machine.memory >> 20} MiB{how}")
