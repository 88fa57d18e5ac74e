"""The backlog packs well and never over; the queue forgets nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError, InfraError, Interrupted
from harness.core.outcome import Outcome
from harness.matrix.backlog import Backlog, Task, simulate
from harness.matrix.cells import Cell
from harness.matrix.controller import adopt, carry_out, expected, worst
from harness.matrix.queue import Job, Queue, Result
from harness.record.history import PastRun

if TYPE_CHECKING:
    from pathlib import Path

durations = st.lists(st.floats(0.1, 1000), min_size=1, max_size=60)


def cell(kernel: str = "a", allowed: str = "") -> Cell:
    return Cell(
        recipe="relay",
        kernel=kernel,
        machine="qemu",
        accelerator="tcg",
        memory=1 << 30,
        medium="direct",
        firmware="bios",
        allowed=allowed,
    )


@given(st.lists(st.tuples(st.floats(0, 1000), st.integers(1, 4))), st.integers(0, 4))
def test_the_most_expensive_that_fits_comes_first(given_tasks: list[tuple[float, int]], free: int) -> None:
    tasks = [Task(number, *task) for number, task in enumerate(given_tasks)]
    backlog = Backlog(tasks)
    taken = []
    while task := backlog.take(free):
        taken.append(task)
    fitting = [task for task in tasks if task.places <= free]
    assert sorted(task.what for task in taken) == [task.what for task in fitting]
    works = [task.seconds * task.places for task in taken]
    assert works == sorted(works, reverse=True)
    assert len(backlog) == len(tasks) - len(taken)


@given(durations, st.integers(1, 8))
def test_a_plan_is_as_good_as_was_proven(seconds: list[float], workers: int) -> None:
    tasks = [Task(number, each) for number, each in enumerate(seconds)]
    took = simulate(tasks, [1] * workers)
    assert took >= max(*seconds, sum(seconds) / workers) - 1e-6
    # Graham's bound for any list: the work shared out evenly, and the last task alone.
    assert took <= sum(seconds) / workers + max(seconds) * (1 - 1 / workers) + 1e-6


@given(st.lists(st.tuples(st.floats(1, 100), st.integers(1, 3)), min_size=1), st.integers(1, 4))
def test_large_tasks_find_their_places(given_tasks: list[tuple[float, int]], workers: int) -> None:
    tasks = [Task(number, *task) for number, task in enumerate(given_tasks)]
    took = simulate(tasks, [3] * workers)
    work = sum(task.seconds * task.places for task in tasks) / (3 * workers)
    least = max(*(task.seconds for task in tasks), work)
    assert least - 1e-6 <= took <= sum(task.seconds for task in tasks) + 1e-6


def test_what_only_one_may_have_is_had_by_one_at_a_time() -> None:
    backlog = Backlog([Task("short", 1, 0, "shelf"), Task("long", 5, 0, "shelf"), Task("other", 2, 1)])
    assert [task.what for task in (backlog.take(1), backlog.take(1, {"shelf"})) if task] == ["long", "other"]
    assert backlog.take(1, {"shelf"}) is None
    assert (task := backlog.take(0)) is not None  # a board costs the host nothing
    assert task.what == "short"


def test_a_plan_knows_that_boards_are_had_alone() -> None:
    tasks = [Task(number, 10.0, 0, "shelf") for number in range(3)]
    assert simulate(tasks, [1, 1]) == 30
    assert simulate([*tasks, Task(3, 25.0)], [1]) == 30


def test_a_task_that_never_fits_is_said() -> None:
    with pytest.raises(ValueError, match="more places"):
        simulate([Task("a", 1, 3)], [2, 2])


def test_real_durations_need_not_be_as_thought() -> None:
    assert simulate([Task("a", 1), Task("b", 1)], [1], {"a": 3, "b": 4}) == 7


def test_unknown_cells_are_thought_to_be_long() -> None:
    history = {"relay/a": 5.0, "relay/b": 9.0, "bench/a": 2.0}
    cells = {"relay/a": "relay", "relay/new": "relay", "bench/new": "bench", "other/new": "other"}
    assert expected(history, cells) == {"relay/a": 5, "relay/new": 9, "bench/new": 2, "other/new": 9}
    assert expected({}, {"relay/a": "relay"}) == {"relay/a": 0}


def jobs(queue: Queue, *kernels: str) -> list[Job]:
    return queue.jobs(queue.begin("m", [cell(kernel) for kernel in kernels], {}))


def test_the_queue_is_as_it_was_left(tmp_path: Path) -> None:
    with Queue(tmp_path / "q/queue.db") as queue:
        first, second, third = jobs(queue, "a", "b", "c")
        queue.finish(queue.start(queue.retry(queue.start(first))), Result(Outcome.PASS, "", "run", 3.5))
        queue.start(second)
    with Queue(tmp_path / "q/queue.db") as queue:
        matrix = queue.last()
        assert matrix == third.matrix
        one, two, three = queue.jobs(matrix)
        assert (one.state, one.attempt, one.flaky) == ("done", 2, True)
        assert one.result == Result(Outcome.PASS, "", "run", 3.5)
        assert (two.state, two.attempt, two.result) == ("running", 1, None)
        assert three == third


@pytest.mark.parametrize(
    ("outcome", "state", "attempt"),
    [
        (None, "waiting", 0),  # there is no record
        ("", "waiting", 0),  # it was killed
        ("INTERRUPTED", "waiting", 0),
        ("PASS", "done", 1),
        ("FAIL", "done", 1),
        ("INFRA", "waiting", 1),  # and this was the first attempt
    ],
)
def test_what_a_dead_controller_left_is_settled_by_the_records(
    tmp_path: Path, outcome: str | None, state: str, attempt: int
) -> None:
    with Queue(tmp_path / "queue.db") as queue:
        [job] = jobs(queue, "a")
        job = queue.start(job)
        run = PastRun("id", job.cell.name, "ended", outcome or "", "gcc", 4.0, "why")
        recorded = {} if outcome is None else {(job.cell.name, 1): run}
        [settled] = adopt(queue, [job], recorded)
        assert (settled.state, settled.attempt) == (state, attempt)
        if settled.result is not None:
            assert settled.result.reason == ("why" if outcome == "FAIL" else "")
        assert queue.jobs(job.matrix) == [settled]


def test_a_queue_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "queue.db").mkdir()
    with pytest.raises(InfraError, match=r"cannot work with the queue .*queue\.db"):
        Queue(tmp_path / "queue.db")


def test_a_queue_that_is_damaged_is_said_to_be_removable(tmp_path: Path) -> None:
    (tmp_path / "queue.db").write_bytes(bytes(range(256)) * 32)
    with pytest.raises(InfraError, match="not a database") as caught:
        Queue(tmp_path / "queue.db")
    assert caught.value.hint.startswith("remove it")


def job(outcome: Outcome, allowed: str = "") -> Job:
    return Job(
        matrix="m",
        position=0,
        cell=cell(allowed=allowed),
        estimate=None,
        state="done",
        attempt=1,
        result=Result(outcome),
        flaky=False,
    )


def test_the_worst_outcome_is_that_of_cells_that_may_not_fail() -> None:
    ends = [job(Outcome.PASS), job(Outcome.INFRA), job(Outcome.HANG), job(Outcome.FAIL, allowed="known")]
    assert worst(ends) == Outcome.HANG
    assert worst([job(Outcome.PASS), job(Outcome.PANIC, allowed="known")]) == Outcome.PASS
    assert worst([]) == Outcome.PASS
    assert {worst([job(outcome)]) for outcome in Outcome} == set(Outcome)


class Scarce:
    """Workers whose only one that fits is gone after its first run, which the host failed."""

    free = 1

    def __init__(self) -> None:
        self.gone = False
        self.running: list[Job] = []

    def places_for(self, job: Job) -> int:
        if self.gone or job.cell.kernel == "none":
            raise ConfigError(f"no worker has what {job.cell.kernel} needs")
        return 1

    def start(self, job: Job) -> None:
        self.running.append(job)

    def wait(self, timeout: float) -> list[tuple[Job, Result]]:  # noqa: ARG002 - it ends at once
        self.gone = True
        return [(self.running.pop(), Result(Outcome.INFRA, "lost"))]


class Listener:
    """Notes what a controller tells."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, bool]] = []

    def began(self, job: Job) -> None:
        pass

    def ended(self, job: Job, result: Result, *, again: bool) -> None:
        self.heard.append((job.cell.kernel, result.reason, again))

    def moment(self) -> None:
        pass


def test_what_no_worker_can_run_ends_and_nothing_is_built_for_it(tmp_path: Path) -> None:
    listener, built = Listener(), list[str]()
    with Queue(tmp_path / "queue.db") as queue:
        waiting = jobs(queue, "none", "once")
        carry_out(queue, waiting, Scarce(), listener, lambda job: built.append(job.cell.kernel))
        left = {job.cell.kernel: job for job in queue.jobs(waiting[0].matrix)}
    assert built == ["once"]
    assert listener.heard == [
        ("none", "no worker has what none needs", False),
        ("once", "lost", True),
        ("once", "no worker has what once needs", False),
    ]
    assert {kernel: (job.outcome, job.attempt) for kernel, job in left.items()} == {
        "none": (Outcome.CONFIG, 1),
        "once": (Outcome.CONFIG, 1),
    }


def test_who_stops_while_something_is_built_stops_the_matrix(tmp_path: Path) -> None:
    def ready(_: Job) -> None:
        raise Interrupted("stopped by SIGINT")

    listener = Listener()
    with Queue(tmp_path / "queue.db") as queue:
        waiting = jobs(queue, "once", "twice")
        with pytest.raises(Interrupted):
            carry_out(queue, waiting, Scarce(), listener, ready)
        assert [job.state for job in queue.jobs(waiting[0].matrix)] == ["waiting", "waiting"]
    assert listener.heard == []
