"""Chooses which waiting cell begins next.

Longest processing time first (R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", 1969) is never
worse than 4/3 of the best possible, and hardly worse at all where there are many more tasks than workers.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

T = TypeVar("T")


class Task(msgspec.Struct, Generic[T], frozen=True):
    """Something to do."""

    what: T  # what
    seconds: float  # how long it probably takes
    places: int = 1  # how many of a worker's places it needs; 0 for what is done elsewhere
    alone: str = ""  # name of what only one task at a time may have, such as a board; "" for nothing


class Backlog(Generic[T]):
    """Tasks that wait, in the order in which they are best begun.

    Those that need more places come first among those that take equally long: they are hard to fit in later.
    """

    def __init__(self, tasks: Iterable[Task[T]]) -> None:
        self._heaps: dict[tuple[int, str], list[tuple[float, int, Task[T]]]] = {}  # by places and `alone`
        self._count = 0
        for task in tasks:
            self.add(task)

    def __len__(self) -> int:
        return sum(map(len, self._heaps.values()))

    def add(self, task: Task[T]) -> None:
        """Let a task wait."""
        heap = self._heaps.setdefault((task.places, task.alone), [])
        heapq.heappush(heap, (-task.seconds * max(1, task.places), self._count, task))
        self._count += 1

    def take(self, free: int, taken: Collection[str] = ()) -> Task[T] | None:
        """Take the most expensive task that needs no more than so many places, and nothing that is taken."""
        heaps = [
            heap
            for (places, alone), heap in self._heaps.items()
            if heap and places <= free and alone not in taken
        ]
        return heapq.heappop(min(heaps, key=lambda heap: heap[0][:2]))[2] if heaps else None


def simulate(tasks: Iterable[Task[T]], workers: Sequence[int], actual: dict[T, float] | None = None) -> float:
    """How long workers with so many places each are busy with tasks, in seconds from the first one's begin.

    `actual` says how long tasks really take, where that is not what was thought before.
    """
    backlog = Backlog(tasks)
    free = list(workers)
    idle = list(range(len(free)))
    ends: list[tuple[float, int, int, str]] = []  # when, on which worker, how many places, what it has alone
    taken: set[str] = set()
    now = 0.0
    while True:
        for worker in idle:
            while task := backlog.take(free[worker], taken):
                free[worker] -= task.places
                taken |= {task.alone} - {""}
                took = task.seconds if actual is None else actual[task.what]
                heapq.heappush(ends, (now + took, worker, task.places, task.alone))
        if not ends:
            break
        now, worker, places, alone = heapq.heappop(ends)
        free[worker] += places
        taken.discard(alone)
        idle = list(range(len(free))) if alone else [worker]  # another one may have waited for it
    if len(backlog):
        raise ValueError("a task needs more places than any worker has")
    return now
