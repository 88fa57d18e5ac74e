"""The least memory with which a kernel comes up."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# In MiB: steps of an eighth to a third, since a run at each bound costs a boot.
LADDER = (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 256, 384, 512)


class Bounds(msgspec.Struct, frozen=True):
    """Where the limit lies, in MiB."""

    least: int | None  # with so much it works; None if with none that was tried
    too_little: int | None  # with so much it does not; None if with any that was tried


def smallest(
    works: Callable[[int], bool], ladder: Sequence[int] = LADDER, *, guess: float | None = None
) -> Bounds:
    """Find the least rung that works, where all above one that works do.

    Args:
        works: Whether it works with so much; called at most once for a rung.
        ladder: Candidates, rising.
        guess: What is probably enough: two calls if it is, and few if it is nearly so. From there, steps that
            double lead past the limit, and halving leads back to it. Without a guess, all is halved.
    """
    low, high = -1, len(ladder)  # ladder[low] fails, ladder[high] works, as far as these exist
    at = (low + high) // 2 if guess is None else min(bisect_left(ladder, guess), high - 1)
    step = None if guess is None else 1
    while high - low > 1:
        if works(ladder[at]):
            high = at
        else:
            low = at
        if step is not None and (low < 0 or high == len(ladder)):
            at = max(high - step, low + 1) if low < 0 else min(low + step, high - 1)
            step *= 2
        else:
            at = (low + high) // 2
    return Bounds(
        least=ladder[high] if high < len(ladder) else None,
        too_little=ladder[low] if low >= 0 else None,
    )
