"""Pages of one run: summary, console log, replay."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.record.reading import Mark, Reading, RunState
from harness.report.site import chunks
from harness.report.site.divergence import manifest_of
from harness.report.site.facts import Run, usual_stages
from harness.sources.packages import Package, read_lock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.report.site.pages import Pages

_EVIDENCE = 60  # rows of each table; pages stay small, and the record has the rest
_CHECKS = 200
_ROWS = 300  # of files and packages
_LAST_LINES = 40  # for readers without scripts
_LONG = 400  # letters of a line that a page shows


class RecordFile(msgspec.Struct, frozen=True):
    """A file of the record; `here` tells whether the report has it, too."""

    name: str
    size: int
    here: bool


class StageRow(msgspec.Struct, frozen=True):
    """A stage on the timeline: seconds, the usual ones, and where its bar is, in percent."""

    name: str
    status: str
    wall: float
    cpu: float
    usual: float
    left: float
    width: float
    line: int | None


def run_pages(
    pages: Pages,
    reading: Reading,
    run: Run,
    *,
    log: chunks.LogIndex,
    replay: chunks.ReplayIndex | None,
    files: list[RecordFile],
) -> None:
    """Write the pages of one run."""
    document = reading.document
    marks = reading.stages() if (reading.directory / "events.jsonl").exists() else []
    evidence = document.verdict.evidence if document.verdict else ()
    lines = _line_numbers(reading, log, marks)
    began = [(mark.text, lines[mark.offset]) for mark in marks if mark.offset in lines]
    tables: dict[str, Sequence[object]] = {
        "files": files,
        "manifest": list((manifest_of(reading.directory) or {}).items()),
        "built": document.packages,
        "packages": _packages(reading.directory),
    }
    same = {"run": run, "document": document, "reading": reading, "stages_began": began}
    same |= {"log": log, "replay": replay}
    place = f"runs/{run.id}"
    pages.write(
        "run.html",
        f"{place}/index.html",
        **same,
        stages=_stage_rows(reading, usual_stages(reading.directory.parent, run), dict(began)),
        evidence=[
            (item, lines.get(item.offset if item.offset is not None else -1), item.text[:_LONG])
            for item in evidence[:_EVIDENCE]
        ],
        checks=[
            (check, lines.get(check.offset), check.answer[:_LONG]) for check in document.checks[:_CHECKS]
        ],
        more_evidence=max(0, len(evidence) - _EVIDENCE),
        more_checks=max(0, len(document.checks) - _CHECKS),
        **{name: rows[:_ROWS] for name, rows in tables.items()},
        **{f"more_{name}": max(0, len(rows) - _ROWS) for name, rows in tables.items()},
        screenshot=any(file.name == "screenshot.png" for file in files),
        last=_last_lines(reading.directory / "console.log"),
        ending=reading.ending(),
        goes_on=reading.state == RunState.RUNNING,
    )
    pages.write("log.html", f"{place}/log.html", **same, last=_last_lines(reading.directory / "console.log"))
    if replay is not None:
        pages.write("replay.html", f"{place}/replay.html", **same, film=_times(reading, marks))


def _line_numbers(reading: Reading, log: chunks.LogIndex, marks: list[Mark]) -> dict[int, int]:
    """The lines, counted from 1, of the offsets that a page leads to."""
    document = reading.document
    evidence = document.verdict.evidence if document.verdict else ()
    offsets = [
        *(mark.offset for mark in marks),
        *(item.offset for item in evidence if item.offset is not None),
        *(check.offset for check in document.checks),
    ]
    found = chunks.lines_at(reading.raw, log, offsets) if log.lines else {}
    return {offset: line + 1 for offset, line in found.items()}


def _stage_rows(reading: Reading, usual: dict[str, float], lines: dict[str, int]) -> list[StageRow]:
    stages = reading.document.stages
    total = sum(stage.wall for stage in stages) or 1.0
    rows, before = [], 0.0
    for stage in stages:
        rows.append(
            StageRow(
                stage.name,
                str(stage.status),
                stage.wall,
                stage.cpu,
                usual.get(stage.name, 0.0),
                before / total * 100,
                stage.wall / total * 100,
                lines.get(stage.name),
            )
        )
        before += stage.wall
    return rows


def _times(reading: Reading, marks: list[Mark]) -> list[tuple[str, float]]:
    """When each stage began, in seconds of the film."""
    from harness.record.console_log import Arrivals

    arrivals = Arrivals(reading.directory / "console.idx")
    return [(mark.text, arrivals.seconds_at(mark.offset)) for mark in marks]


def _last_lines(log: Path) -> list[str]:
    """The end of the log, for readers without scripts."""
    try:
        with log.open("rb") as source:
            source.seek(max(0, source.seek(0, 2) - (1 << 14)))
            text = source.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [
        re.sub(r"[\x00-\x08\x0b-\x1f]", "", line)[:_LONG] for line in deque(text.splitlines(), _LAST_LINES)
    ]


def _packages(directory: Path) -> list[Package]:
    """The packages that went into the images, each once."""
    try:
        lock = read_lock(directory / "inputs.lock.json")
    except ConfigError:
        return []
    found = {package: None for resolution in lock.resolutions for package in resolution.packages}
    return sorted(found, key=lambda package: (package.name, package.architecture))
