"""What earlier runs tell about the next one."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import msgspec

from harness.outcome import Outcome
from harness.report.record import RunDocument
from harness.stages.verdict import StageStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ENOUGH = 5  # the newest runs that count: machines and loads change


def estimates(runs: Path, recipe: str, kernel: str) -> dict[str, float]:
    """Host seconds per stage: the median of the last good runs of the same kind; empty if there are none."""
    found: dict[str, list[float]] = {}
    count = 0
    for document in _newest_first(runs):
        if _alike(document, recipe, kernel):
            for stage in document.stages:
                if stage.status == StageStatus.PASSED:  # here, and not in a run that this one resumed
                    found.setdefault(stage.name, []).append(stage.wall)
            count += 1
            if count == _ENOUGH:
                break
    return {stage: median(walls) for stage, walls in found.items()}


def package_estimates(runs: Path, recipe: str) -> dict[str, float]:
    """Host seconds per package, by name and occurrence: the median of the last runs that built it."""
    found: dict[str, list[float]] = {}
    for document in _newest_first(runs):
        if document.recipe != recipe:
            continue
        for package in document.packages:
            title = package.name if package.occurrence == 1 else f"{package.name} ({package.occurrence})"
            seconds = found.setdefault(title, [])
            if package.done and len(seconds) < _ENOUGH:
                seconds.append(package.seconds)
    return {title: median(seconds) for title, seconds in found.items() if seconds}


def _alike(document: RunDocument, recipe: str, kernel: str) -> bool:
    passed = document.verdict is not None and document.verdict.outcome == Outcome.PASS
    passed = passed and document.taken_over is None  # how long that takes is a person's affair
    seeds = [item.name for item in document.kernels if item.role == "seed"]
    return passed and document.recipe == recipe and seeds == [kernel]


def _newest_first(runs: Path) -> Iterator[RunDocument]:
    for path in sorted(runs.glob("*/run.json"), reverse=True):
        try:
            yield msgspec.json.decode(path.read_bytes(), type=RunDocument)
        except (OSError, msgspec.DecodeError):
            continue  # of another version, or going away: no help for an estimate
