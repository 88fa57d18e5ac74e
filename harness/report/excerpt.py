"""Why a stage or check failed, with console lines, for test reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.console.lines import LineCleaner

if TYPE_CHECKING:
    from pathlib import Path

    from harness.stages.verdict import CheckResult, RunResult, StageResult

_LINES = 40
_BYTES = 16384  # read back from the end of the excerpt


def explain_stage(result: RunResult, stage: StageResult, directory: Path) -> str:
    """The verdict, and the last console lines of the stage."""
    return "\n".join(
        [*_verdict(result), *console_lines(directory, stage.start, stage.end), f"record: {directory}"]
    )


def explain_check(result: RunResult, check: CheckResult, directory: Path) -> str:
    """The verdict with its evidence, and what the check got."""
    lines = [f"check {check.name} of stage {check.stage} got: {check.answer}", *_verdict(result)]
    lines += [f"  {item.text}" for item in result.verdict.evidence]
    return "\n".join([*lines, f"record: {directory}"])


def console_lines(directory: Path, start: int, end: int) -> list[str]:
    """The last cleaned console lines between two raw offsets of a record, indented."""
    with (directory / "console.raw").open("rb") as raw:
        raw.seek(max(start, end - _BYTES))
        cleaner = LineCleaner()
        lines = [*cleaner.feed(raw.read(max(0, end - raw.tell()))), *cleaner.flush()]
    return [f"  {line.text}" for line in lines[-_LINES:]]


def _verdict(result: RunResult) -> list[str]:
    verdict = result.verdict
    return [f"{verdict.outcome} in stage {verdict.stage}: {verdict.reason}", f"next: {verdict.hint}"]
