"""Runs the relay with the kernel beside the other boots."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from harness.matrix import local
from harness.record.reading import read_run
from harness.stages.verdict import StageStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness.core.progress import Progress
    from harness.matrix.queue import Result

_UP = b"relay: sysa: up under "


class Relay(msgspec.Struct, frozen=True):
    """How the relay went with the kernel as its seed."""

    verdict: Verdict  # what came of it
    to_init: float | None  # CPU seconds from power-on to the first line of sysa's init
    to_prompt: float | None  # CPU seconds to the prompt of sysc, behind kexec; None if it never came
    record: str  # the directory of its record; "" if it left none


@contextmanager
def relay_beside(
    options: Sequence[str], runs: Path, cache: Path, progress: Progress
) -> Iterator[Callable[[], Relay]]:
    """Begin the relay in a process of its own; what is given waits for its end.

    Args:
        options: Further options of its `harness run`.
        runs: Directory of the records.
        cache: The cache directory.
        progress: Where waiting for it is shown.
    """
    with TemporaryDirectory(prefix="relay-") as logs:
        log = Path(logs, "relay.log")
        began = time.monotonic()
        place = local.Place(runs=runs, cache=cache, logs=Path(logs))
        process = local.spawn(local.run_words(["relay"], options, place, {}), log)
        try:

            def ended() -> Relay:
                with progress.task("the relay beside them"):
                    process.wait()
                return _relay(local.result_of(process.returncode, log, time.monotonic() - began), runs)

            yield ended
        finally:
            local.stop(process)


def _relay(result: Result, runs: Path) -> Relay:
    if not result.run:
        return Relay(Verdict(result.outcome, "start", result.reason), None, None, "")
    reading = read_run(runs / result.run)
    verdict = reading.document.verdict or Verdict(result.outcome, "start", result.reason)
    done: dict[str, float] = {}
    cpu = 0.0
    for stage in reading.document.stages:
        cpu += stage.cpu
        if stage.status == StageStatus.PASSED:
            done[stage.name] = cpu
    up = _UP in reading.raw.read_bytes()
    return Relay(verdict, done.get("sysa") if up else None, done.get("sysc"), str(reading.directory))
