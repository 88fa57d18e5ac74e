"""What people and programs see of a bisection."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Self

import msgspec
from rich.live import Live
from rich.text import Text

from harness.bisect.search import Grade
from harness.matrix.local import last_words

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from rich.console import Console

    from harness.bisect.session import Ended
    from harness.bisect.trial import Finding
    from harness.matrix.queue import Result

_MARKS = {Grade.GOOD: ("✓", "green"), Grade.BAD: ("✗", "red"), Grade.SKIPPED: ("?", "yellow")}


class BisectionDisplay:
    """Shows a bisection while it goes on. A context manager and an `Audience`.

    Args:
        console: Where to; on a terminal, what the run says is shown live below what has ended.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        )
        self._began = 0.0
        self._log: Path | None = None
        self._what = ""

    def __enter__(self) -> Self:
        """Start showing."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing, and leave the terminal as it was."""
        if self._live:
            self._live.stop()

    def step(self, title: str, suspects: int) -> None:
        """A candidate is tried."""
        left = math.ceil(math.log2(suspects + 1))
        self._what = title
        self._print(Text(f"▸ {title}  [{suspects} between good and bad, about {left} to try]", "dim"))

    def began(self, candidate: str, attempt: int, log: Path) -> None:  # noqa: ARG002 - the step said it
        """A run began."""
        self._began, self._log = time.monotonic(), log

    def moment(self) -> None:
        """Some time went by in it."""
        if self._live and self._log:
            took = time.monotonic() - self._began
            self._live.update(Text(f"  {self._what}  {took:.0f} s  {last_words(self._log)}"), refresh=True)

    def ended(self, candidate: str, result: Result, grade: Grade, *, known: bool) -> None:  # noqa: ARG002
        """It ended."""
        line = Text.assemble(
            "  ", _marked(grade), f"  {result.outcome}  ", (f"{result.seconds:.1f} s", "dim")
        )
        line.append(f"  {result.run}" if result.run else "")
        line.append("  (from its record)" if known else "", "dim")
        if result.reason:
            line.append(f"\n      {result.reason}")
        self._print(line)

    def _print(self, line: Text) -> None:
        if self._live:
            self._live.update("")
        self._console.print(line, soft_wrap=True)


def show(console: Console, ended: Ended, runs: Path) -> None:
    """Show the culprit, what is known of both its neighbours, and where their records are."""

    def say(text: Text | str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    if len(ended.culprits) == 1:
        say(Text(f"The first bad one is {ended.titles[ended.culprits[0]]}", "bold"))
    else:
        say(Text(f"The first bad one is one of {len(ended.culprits)}; the others cannot be tried:", "bold"))
        for one in ended.culprits:
            say(f"  {ended.titles[one]}")
    for finding in (ended.good, ended.bad):
        last = finding.telling
        why = f": {last.reason}" if last.reason else ""
        say(Text.assemble(_marked(finding.grade), f"  {ended.titles[finding.name]}"))
        say(f"     {last.outcome}{why}")
        say(f"     {runs / last.run}" if last.run else "     without a record")
    for finding in (one for one in ended.tried if one.flaky):
        ends = ", ".join(result.outcome for result in finding.results)
        say(f"Flaky, and taken as {finding.grade}: {ended.titles[finding.name]} ({ends})")
    if ended.good.telling.run and ended.bad.telling.run:
        say(f"Side by side: harness compare {ended.good.telling.run} {ended.bad.telling.run} --runs {runs}")


def as_document(ended: Ended) -> dict[str, object]:
    """The result for programs."""

    def finding(one: Finding) -> dict[str, object]:
        return {
            "name": one.name,
            "title": ended.titles[one.name],
            "grade": one.grade,
            "flaky": one.flaky,
            "run": one.telling.run,
            "outcome": one.telling.outcome,
            "reason": one.telling.reason,
            "runs": [msgspec.to_builtins(result) for result in one.results],
        }

    return {
        "bisect": ended.id,
        "culprits": [{"name": one, "title": ended.titles[one]} for one in ended.culprits],
        "good": finding(ended.good),
        "bad": finding(ended.bad),
        "tried": list(map(finding, ended.tried)),
    }


def _marked(grade: Grade) -> Text:
    mark, style = _MARKS[grade]
    return Text(f"{mark} {grade}", style)
