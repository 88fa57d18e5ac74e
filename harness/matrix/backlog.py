"""What waits for a worker: the most expensive first, whatever fits.

Longest processing time first (R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", 1969) is never
worse than 4/3 of the best possible, and hardly worse at all where there are many more tasks than workers.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """Something to do.

    Attributes:
        what: What.
        seconds: How long it probably takes.
        places: How many of a worker's places it needs.
    """

    what: T
    seconds: float
    places: int = 1


class Backlog(Generic[T]):
    """Tasks that wait, in the order in which they are best begun.

    Those that need more places come first among those that take equally long: they are hard to fit in later.
    """

    def __init__(self, tasks: Iterable[Task[T]]) -> None:
        self._by_places: dict[int, list[tuple[float, int, Task[T]]]] = {}
        self._count = 0
        for task in tasks:
            self.add(task)

    def __len__(self) -> int:
        return sum(map(len, self._by_places.values()))

    def add(self, task: Task[T]) -> None:
        """Let a task wait."""
        heap = self._by_places.setdefault(task.places, [])
        heapq.heappush(heap, (-task.seconds * task.places, self._count, task))
        self._count += 1

    def take(self, free: int) -> Task[T] | None:
        """Take the most expensive task that needs no more than so many places; None if none waits."""
        heaps = [heap for places, heap in self._by_places.items() if places <= free and heap]
        return heapq.heappop(min(heaps, key=lambda heap: heap[0][:2]))[2] if heaps else None


def simulate(tasks: Iterable[Task[T]], workers: Sequence[int], actual: dict[T, float] | None = None) -> float:
    """How long workers are busy with tasks, in seconds, from the first one's begin to the last one's end.

    Args:
        tasks: The tasks.
        workers: How many places each worker has.
        actual: How long tasks really take, where that is not what was thought before.

    Raises:
        ValueError: A task needs more places than any worker has.
    """
    backlog = Backlog(tasks)
    free = list(workers)
    idle = list(range(len(free)))
    ends: list[tuple[float, int, int]] = []  # when, on which worker, how many places
    now = 0.0
    while True:
        for worker in idle:
            while free[worker] and (task := backlog.take(free[worker])):
                free[worker] -= task.places
                took = task.seconds if actual is None else actual[task.what]
                heapq.heappush(ends, (now + took, worker, task.places))
        if not ends:
            break
        now, worker, places = heapq.heappop(ends)
        free[worker] += places
        idle = [worker]
    if len(backlog):
        raise ValueError("a task needs more places than any worker has")
    return now


def least(tasks: Sequence[Task[T]], workers: Sequence[int]) -> float:
    """What no plan can beat: the longest task, and all work shared out evenly."""
    if not tasks:
        return 0.0
    work = sum(task.seconds * task.places for task in tasks)
    return max(*(task.seconds for task in tasks), work / sum(workers))
