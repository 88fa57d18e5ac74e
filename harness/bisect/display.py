"""What people and programs see of a bisection."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import msgspec
from rich.text import Text

from harness.bisect.search import Grade
from harness.matrix.local import last_words
from harness.report.text import LiveLines, say

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from harness.bisect.session import Ended
    from harness.bisect.trial import Finding
    from harness.matrix.queue import Result

_MARKS = {Grade.GOOD: ("✓", "green"), Grade.BAD: ("✗", "red"), Grade.SKIPPED: ("?", "yellow")}


class BisectionDisplay(LiveLines):
    """Shows a bisection while it goes on, and the run's last words below on a terminal. An `Audience`."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._began = 0.0
        self._log: Path | None = None
        self._what = ""

    def step(self, title: str, suspects: int) -> None:
        """A candidate is tried."""
        left = math.ceil(math.log2(suspects + 1))
        self._what = title
        self.say(Text(f"▸ {title}  [{suspects} between good and bad, about {left} to try]", "dim"))

    def began(self, candidate: str, attempt: int, log: Path) -> None:  # noqa: ARG002 - the step said it
        """A run began."""
        self._began, self._log = time.monotonic(), log

    def moment(self) -> None:
        """Some time went by in it."""
        if self.is_live and self._log:
            took = time.monotonic() - self._began
            self.show(Text(f"  {self._what}  {took:.0f} s  {last_words(self._log)}"))

    def ended(self, candidate: str, result: Result, grade: Grade, *, known: bool) -> None:  # noqa: ARG002
        """It ended."""
        line = Text.assemble(
            "  ", _marked(grade), f"  {result.outcome}  ", (f"{result.seconds:.1f} s", "dim")
        )
        line.append(f"  {result.run}" if result.run else "")
        line.append("  (from its record)" if known else "", "dim")
        if result.reason:
            line.append(f"\n      {result.reason}")
        self.say(line)


def show(console: Console, ended: Ended, runs: Path) -> None:
    """Show the culprit, what is known of both its neighbours, and where their records are."""
    if len(ended.culprits) == 1:
        say(console, Text(f"The first bad one is {ended.titles[ended.culprits[0]]}", "bold"))
    else:
        say(
            console,
            Text(f"The first bad one is one of {len(ended.culprits)}; the others cannot be tried:", "bold"),
        )
        for one in ended.culprits:
            say(console, f"  {ended.titles[one]}")
    for finding in (ended.good, ended.bad):
        last = finding.telling
        why = f": {last.reason}" if last.reason else ""
        say(console, Text.assemble(_marked(finding.grade), f"  {ended.titles[finding.name]}"))
        say(console, f"     {last.outcome}{why}")
        say(console, f"     {runs / last.run}" if last.run else "     without a record")
    for finding in (one for one in ended.tried if one.flaky):
        ends = ", ".join(result.outcome for result in finding.results)
        say(console, f"Flaky, and taken as {finding.grade}: {ended.titles[finding.name]} ({ends})")
    if ended.good.telling.run and ended.bad.telling.run:
        say(
            console,
            f"Side by side: harness compare {ended.good.telling.run} {ended.bad.telling.run} --runs {runs}",
        )


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
