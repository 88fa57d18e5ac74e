"""Progress on a terminal: bars for work, lines for stages.

Everything goes to stderr: stdout is for results. Without a terminal each step is one plain line.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, ProgressColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.progress_bar import ProgressBar
from rich.text import Text

from harness.core.sizes import format_size
from harness.report.text import MARKS, say
from harness.stages.events import CheckBegan, CheckEnded, Event, Packaged, Saved, StageBegan, StageEnded
from harness.stages.verdict import StageResult, StageStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import Console
    from rich.progress import Task as Bar

    from harness.console.lines import Block

_NEVER_FULL = 0.99  # an estimate that was passed is not the end


class TerminalProgress:
    """Shows tasks and a run's stages. A context manager, a `Progress` and a `Listener`.

    On a terminal there are bars, elsewhere lines.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        # host seconds that stages took in earlier runs, by name; asked once, if bars are shown
        self.estimates: Callable[[], Mapping[str, float]] = dict
        self._bars = Bars(
            TextColumn("  {task.description:<34}", markup=False),
            _EstimatedBar(bar_width=24),
            _Times(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.package_estimates: Mapping[str, float] = {}  # the same of packages, by name and occurrence
        self._stage: TaskID | None = None
        self._say: Callable[[str], None] | None = None  # instead of us, while another has the terminal
        self._packages = 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def task(self, title: str) -> Iterator[_Work]:
        """Show a piece of work while it goes on, and what it took when it is done."""
        bar = self._bars.add_task(title, total=None)
        began = time.monotonic()
        try:
            yield _Work(self._bars, bar)
        except BaseException:
            self._bars.remove_task(bar)
            raise
        self._bars.remove_task(bar)
        self._done(title, f"{time.monotonic() - began:.1f} s")

    def note(self, text: str) -> None:
        """Say something once."""
        self._print(Text(f"  {text}", "yellow"))

    @contextmanager
    def stepped_aside(self, say: Callable[[str], None] | None = None) -> Iterator[None]:
        """Leave the terminal to another for a while; `say` prints our lines meanwhile."""
        self._bars.stop()
        self._say = say
        try:
            yield
        finally:
            self._say = None
            self._bars.start()

    def _print(self, text: Text) -> None:
        if self._say is not None:
            self._say(" ".join(text.plain.split()))
        else:
            say(self._console, text)

    def event(self, event: Event) -> None:
        """Show what happens in a run."""
        match event:
            case StageBegan():
                self._stage = self._bars.add_task(event.stage, total=self._estimates.get(event.stage))
            case Packaged():
                self._package(event)
            case CheckBegan() if self._stage is not None:
                self._bars.update(self._stage, description=f"{event.stage}: {event.name}")
            case CheckEnded():
                if not event.result.passed:
                    self._done(f"{event.result.stage}: {event.result.name}", event.result.answer, good=False)
            case StageEnded():
                if self._stage is not None:
                    self._bars.remove_task(self._stage)
                    self._stage = None
                self._stage_done(event.result)
            case Saved():
                how = (
                    f"{format_size(event.size)} in {event.seconds:.1f} s"
                    if event.new
                    else "was there already"
                )
                self._done(f"saved at {event.stage}", how)

    @cached_property
    def _estimates(self) -> Mapping[str, float]:
        return self.estimates() if self._console.is_terminal else {}

    def _package(self, event: Packaged) -> None:
        """A package: what is done with it in the stage's bar, and a line once it is built."""
        if event.done:
            self._packages += 1
            estimate = self.package_estimates.get(event.title)
            about = f" (before: {estimate:.0f} s)" if estimate else ""
            self._done(f"  {self._packages:>3} {event.title}", f"{event.seconds:.1f} s{about}")
        elif self._stage is not None:
            self._bars.update(self._stage, description=f"{event.title}: {event.phase}")

    def _stage_done(self, result: StageResult) -> None:
        match result.status:
            case StageStatus.RESUMED:
                self._print(Text(f"↻ {result.name:<34} resumed", "cyan"))
            case StageStatus.NOT_REACHED:
                self._print(Text(f"· {result.name:<34} the run stops here", "dim"))
            case status:
                self._done(result.name, f"{result.wall:.1f} s", good=status == StageStatus.PASSED)

    def heard(self, block: Block) -> None:
        """Console lines go to the record; a person sees the stages."""

    def _done(self, title: str, detail: str, *, good: bool = True) -> None:
        self._print(MARKS[good] + f" {title:<34} " + Text(detail, "dim"))


class _Work:
    """A task's bar."""

    def __init__(self, bars: Bars, bar: TaskID) -> None:
        self._bars = bars
        self._bar = bar

    def update(self, fraction: float, detail: str = "") -> None:
        """Say how much of the work is done, from 0 to 1, and what else a person wants to know."""
        self._bars.update(self._bar, total=1.0, completed=fraction, fraction=True, detail=detail)


class _EstimatedBar(BarColumn):
    """A bar that shows a known fraction, or the time that went by against an estimate."""

    def render(self, task: Bar) -> ProgressBar:
        """Draw the bar of one task."""
        if "fraction" in task.fields or task.total is None:
            return super().render(task)
        passed = min(task.elapsed or 0.0, task.total * _NEVER_FULL)
        return ProgressBar(total=task.total, completed=passed, width=self.bar_width)


class _Times(ProgressColumn):
    """Seconds so far, and of how many where there is an estimate."""

    def render(self, task: Bar) -> Text:
        """Draw the times of one task."""
        elapsed = f"{task.elapsed or 0.0:.0f} s"
        if detail := task.fields.get("detail"):
            return Text(f"{elapsed}, {detail}", "dim")
        if "fraction" in task.fields or task.total is None:
            return Text(elapsed, "dim")
        return Text(f"{elapsed} of about {task.total:.0f} s", "dim")
