"""Silent stages: no serial output; they end after a fixed time."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.stages.plan import Plan, Stage

_POLL = 0.1  # host seconds between looks at the clock


def from_power_on(plan: Plan) -> float:
    """Seconds from power-on for which nothing comes by design, unscaled."""
    return sum(stage.unheard for stage in itertools.takewhile(lambda stage: stage.unheard, plan.stages))


def is_waited_for(plan: Plan, stage: Stage) -> bool:
    """Whether time ends a stage, because no line does: the next one begins without."""
    later = plan.stages[plan.stages.index(stage) + 1 :]
    return bool(stage.unheard) and not (later and later[0].begins)


def wait(clock: Callable[[], float], seconds: float) -> None:
    """Wait for so long by the guest's clock, which raises what decides the run meanwhile."""
    until = clock() + seconds
    while clock() < until:
        time.sleep(_POLL)
