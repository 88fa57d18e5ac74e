"""The least memory with which a kernel comes up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# In MiB: steps of an eighth to a third, since a run at each bound costs a boot.
LADDER = (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 256, 384, 512)


class Bounds(msgspec.Struct, frozen=True):
    """Where the limit lies, in MiB.

    Attributes:
        least: With so much it works; None if with none that was tried.
        too_little: With so much it does not; None if with any that was tried.
    """

    least: int | None
    too_little: int | None


def smallest(works: Callable[[int], bool], ladder: Sequence[int] = LADDER) -> Bounds:
    """Find the least rung that works by halving, where all above one that works do.

    Args:
        works: Whether it works with so much; called once for about log2(len(ladder)) rungs.
        ladder: Candidates, rising.
    """
    low, high = -1, len(ladder)  # ladder[low] fails, ladder[high] works, as far as these exist
    while high - low > 1:
        middle = (low + high) // 2
        if works(ladder[middle]):
            high = middle
        else:
            low = middle
    return Bounds(
        least=ladder[high] if high < len(ladder) else None,
        too_little=ladder[low] if low >= 0 else None,
    )
