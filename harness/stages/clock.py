"""Guest time: wall time less CPU starvation and pauses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.machine.protocol import Observed

_AWAY = 2.0  # host seconds between two readings; a run reads it several times a second
_COUNTED = 0.2  # seconds of it that count all the same: on a host that is slow for ever, budgets end at last


class GuestClock:
    """Guest time without what goes by while we are stopped, as by Ctrl-Z.

    The harness then reads nothing, and a guest whose pipe or port is full stands still.
    """

    def __init__(self, machine: Observed) -> None:
        self._machine = machine
        self._missed = 0.0
        self._last = time.monotonic(), machine.usage().guest

    def read(self) -> float:
        """Seconds since the machine started."""
        looked, before = self._last
        self._last = now, guest = time.monotonic(), self._machine.usage().guest
        if now - looked > _AWAY:
            self._missed += max(0.0, guest - before - _COUNTED)
        return guest - self._missed
