"""Pages about all runs: overview, cells, list of runs, products."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.core.files import write_atomically
from harness.record.history import BISECTIONS
from harness.record.reading import read_run
from harness.report.site.chunks import LogIndex, lines_at, read_index
from harness.report.site.divergence import FileRow, Step, first_divergent, manifest_of, rows
from harness.report.site.pages import Pages, cell_page
from harness.stages.products import SUMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.report.site.facts import Cell, Run

# Limits that keep pages below 200 kB; what does not fit is on further pages, or counted.
_BOXES = 1000  # of the overview, on a page
_RUNS = 300  # on a page of the list
_OF_CELL = 200  # runs on a cell's page
_BARS = 60  # durations that are drawn
_COLUMNS = 24  # runs whose files are side by side
_FILES = 6000  # files times runs, on a page
_STEP = ".step.json"  # beside the pages of the run
_TRIED = 10  # runs of a cell that are looked at for what they made


class Section(msgspec.Struct, frozen=True):
    """A part of the overview: a recipe's kernels by what they run on; None where there is no such cell."""

    recipe: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]


class Made(msgspec.Struct, frozen=True):
    """What the guests of a recipe made: files over runs, each headed by its cell without the recipe."""

    recipe: str
    page: str
    columns: tuple[tuple[str, Run], ...]
    files: int
    differing: int
    shown: tuple[FileRow, ...]
    step: Step | None
    line: int | None


def about_all(pages: Pages, runs: Path, cells: Sequence[Cell], found: Sequence[Run]) -> None:
    """Write these pages."""
    # What a bisection tried is bad for a reason, and is not expected to become good.
    standing = [cell for cell in cells if not cell.last.matrix.startswith(BISECTIONS)]
    counts = Counter(cell.last.ending for cell in standing)
    flaky = [cell for cell in standing if cell.history and cell.history.flaky]
    pages.write_parts(
        "index.html",
        "overview",
        [{"sections": sections} for sections in _pages_of(_sections(standing))] or [{"sections": []}],
        counts=sorted(counts.items(), key=lambda item: (item[0] != "PASS", item[0])),
        flaky=flaky[:40],
        bad=[cell for cell in standing if cell.last.tone in {"bad", "host"}][:40],
        newest=found[:-16:-1],
        total=len(found),
        cells=len(standing),
    )
    newest = found[::-1]
    listed = [{"listed": newest[start : start + _RUNS]} for start in range(0, len(newest), _RUNS)]
    pages.write_parts("runs.html", "runs", listed or [{"listed": []}], total=len(found))
    for cell in cells:
        pages.write(
            "cell.html",
            cell_page(cell.name),
            cell=cell,
            listed=cell.runs[: -_OF_CELL - 1 : -1],
            drawn=[run for run in cell.runs if run.outcome][-_BARS:],
        )
    pages.keep("cells/*.html", {cell_page(cell.name) for cell in cells})
    _produced(pages, runs, standing)


def _sections(cells: Sequence[Cell]) -> Iterator[Section]:
    for recipe in sorted({cell.recipe for cell in cells}):
        those = [cell for cell in cells if cell.recipe == recipe]
        columns = tuple(sorted({cell.column for cell in those}))
        places = {(cell.kernel, cell.column): cell for cell in those}
        kernels = sorted({cell.kernel for cell in those})
        yield Section(
            recipe,
            columns,
            tuple((kernel, tuple(places.get((kernel, column)) for column in columns)) for kernel in kernels),
        )


def _pages_of(sections: Iterator[Section]) -> Iterator[list[Section]]:
    """Parts of the overview for a page each; a recipe with many kernels is divided between them."""
    page: list[Section] = []
    room = _BOXES
    for section in sections:
        width = max(1, len(section.columns))
        left = section.rows
        while left:
            if room < width and page:
                yield page
                page, room = [], _BOXES
            some, left = left[: max(1, room // width)], left[max(1, room // width) :]
            page.append(Section(section.recipe, section.columns, some))
            room -= width * len(some)
    if page:
        yield page


def _produced(pages: Pages, runs: Path, cells: Sequence[Cell]) -> None:
    overview, written = [], set()
    for recipe in sorted({cell.recipe for cell in cells}):
        pairs = ((cell, _newest_with_files(runs, cell)) for cell in cells if cell.recipe == recipe)
        chosen = [(cell, run) for cell, run in pairs if run is not None][:_COLUMNS]
        if not chosen:
            continue
        page = f"produced-{re.sub(r'[^0-9A-Za-z.-]+', '_', recipe)}.html"
        written.add(page)
        made = _made(pages.target, runs, recipe, page, chosen)
        overview.append(made)
        pages.write("produced.html", page, made=made)
    pages.write("produced_all.html", "produced.html", overview=overview)
    pages.keep("produced-*.html", written)


def _newest_with_files(runs: Path, cell: Cell) -> Run | None:
    tried = cell.runs[: -_TRIED - 1 : -1]
    return next((run for run in tried if (runs / run.id / SUMS).is_file()), None)


def _made(target: Path, runs: Path, recipe: str, page: str, chosen: Sequence[tuple[Cell, Run]]) -> Made:
    files = rows([manifest_of(runs / run.id) or {} for _, run in chosen])
    differing = [file for file in files if not file.same]
    step, line = None, None
    if differing:
        # The first run that is not as most are is the one that is looked into.
        odd = next(
            number for number in range(len(chosen)) if any(_is_odd(file, number) for file in differing)
        )
        step, line = _step(target, runs / chosen[odd][1].id, tuple(file.name for file in differing))
    return Made(
        recipe=recipe,
        page=page,
        columns=tuple((cell.name.removeprefix(recipe + "/"), run) for cell, run in chosen),
        files=len(files),
        differing=len(differing),
        shown=tuple(files[: max(20, _FILES // len(chosen))]),
        step=step,
        line=line,
    )


def _is_odd(file: FileRow, number: int) -> bool:
    common, _ = Counter(file.versions).most_common(1)[0]
    return file.versions[number] != common


class _Known(msgspec.Struct):
    """A step that was found before: to look for one means to read a whole console."""

    files: tuple[str, ...]
    step: Step | None
    line: int | None


def _step(target: Path, record: Path, files: tuple[str, ...]) -> tuple[Step | None, int | None]:
    """With what the differences of these files began on a run's console, and in which line of its log."""
    place = target / "runs" / record.name
    with suppress(OSError, msgspec.DecodeError):
        known = msgspec.json.decode((place / _STEP).read_bytes(), type=_Known)
        if known.files == files:
            return known.step, known.line
    step, line = None, None
    with suppress(ConfigError):  # a record without its console
        reading = read_run(record)
        step = first_divergent(reading, files)
        log = read_index(place / "log", LogIndex)
        if log is not None:
            number = lines_at(reading.raw, log, [step.offset]).get(step.offset)
            line = None if number is None else number + 1
    if place.is_dir():
        write_atomically(place / _STEP, msgspec.json.encode(_Known(files, step, line)).decode())
    return step, line
