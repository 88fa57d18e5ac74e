"""Follows the payload's packages while a run goes on."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from harness.core.outcome import Outcome
from harness.payload.packages import Packages, State
from harness.record.record import PackageRecord
from harness.stages.events import Event, Listener, Packaged
from harness.stages.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.console.lines import Block

_SHOWN = 3  # of packages that were not built, in the verdict


class PackageWatch:
    """Learns packages from console lines, and tells others of them. A `Listener`.

    The tree says which packages are expected, in order; none where it does not say.
    """

    def __init__(self, audience: Listener, expected: Sequence[str] = ()) -> None:
        self._audience = audience
        self._expected = tuple(expected)
        self._packages = Packages()
        self._seconds: Callable[[int], float] = lambda _: 0.0

    def watch(self, seconds_at: Callable[[int], float]) -> None:
        """Take times from here: seconds of the run, by raw offset of the console."""
        self._seconds = seconds_at

    def event(self, event: Event) -> None:
        """Events are others' business."""

    def heard(self, block: Block) -> None:
        """Take console lines."""
        for line in block:
            before = self._packages.current
            package = self._packages.heard(line.text, partial(self._seconds, line.start))
            if package is None:
                continue
            if before is not None and before.began != package.began and package.state == State.BUILDING:
                ended = self._packages.all[-2]
                self._tell(ended.name, ended.occurrence, ended.phase, True, (ended.ended or 0) - ended.began)
            now = package.ended if package.ended is not None else self._seconds(line.start)
            done = package.state == State.DONE
            self._tell(package.name, package.occurrence, package.phase, done, now - package.began)

    @property
    def records(self) -> tuple[PackageRecord, ...]:
        """All packages so far, for the record."""
        return tuple(
            PackageRecord(
                package.name,
                package.occurrence,
                round((package.ended or package.began) - package.began, 3),
                package.state == State.DONE,
            )
            for package in self._packages.all
        )

    @property
    def checksums(self) -> int:
        """How many checksum lines said that all is well."""
        return self._packages.good

    def judged(self, verdict: Verdict) -> Verdict:
        """The verdict, unless it is PASS and the console told of something else."""
        if verdict.outcome != Outcome.PASS:
            return verdict
        if self._packages.wrong:
            files = ", ".join(self._packages.wrong[:_SHOWN])
            reason = f"{len(self._packages.wrong)} checksums were wrong, and the guest went on: {files}"
            return Verdict(Outcome.FAIL, verdict.stage, reason, "compare them with those of a good run")
        missing = Counter(self._expected) - Counter(package.name for package in self._packages.all)
        if missing:
            names = ", ".join(list(missing)[:_SHOWN])
            reason = (
                f"the guest ended as if all were well, and {missing.total()} packages were not built: {names}"
            )
            hint = "look at the last package in console.log, and at the tree's manifest"
            return Verdict(Outcome.FAIL, verdict.stage, reason, hint)
        return verdict

    def _tell(self, name: str, occurrence: int, phase: str, done: bool, seconds: float) -> None:
        self._audience.event(Packaged(name, occurrence, phase, done, round(seconds, 3)))
