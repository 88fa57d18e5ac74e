"""Runs of what tests have built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.payload.chosen import Payload
from harness.run.execute import execute
from harness.run.prepare import prepare
from harness.run.request import RunRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from harness.image.factory import Build
    from harness.run.execute import Run
    from harness.stages.events import Listener


def run_built(
    built: Build,
    *,
    cache: Path,
    runs: Path,
    listeners: Sequence[Listener] = (),
    expected: Mapping[str, str] | None = None,
    offered: Mapping[str, Path] | None = None,
    force: bool = True,
    **said: Any,
) -> Run:
    """Run what was built, with options of a `RunRequest`; what is in its way is not looked for beforehand."""
    request = RunRequest(build=BuildOptions(cache=cache), runs=runs, force=force, **said)
    payload = Payload(recipe=built.recipe, expected=expected or {}, offered=offered or {})
    return execute(prepare(request, Quiet(), payload, built), listeners)
