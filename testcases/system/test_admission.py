"""Places for guests: shared by processes that know nothing of each other, and freed by those that die."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.machine.admission import admitted

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
CORES = sorted(os.sched_getaffinity(0))[:2]
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

# What a process does: it takes a place on a host of these cores, says so, holds it, and says so again.
HOLDER = f"""
import os, sys, time
from pathlib import Path
os.sched_setaffinity(0, {CORES})
from harness.machine.admission import admitted

def say(word):
    with open(sys.argv[2], "a", buffering=1) as log:
        log.write(word + "\\n")

with admitted(Path(sys.argv[1]), int(sys.argv[3]), waiting=lambda: None):
    say("in")
    print("in", flush=True)
    time.sleep(float(sys.argv[4]))
    say("out")
"""


def holder(places: Path, *, memory: int = MIB, seconds: float = 60) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-c",
        HOLDER,
        str(places),
        str(places.parent / "log"),
        str(memory),
        str(seconds),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def is_in(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "in\n"


def enter(places: Path, memory: int = MIB) -> tuple[float, int]:
    """Seconds until there was a place, and how often one was told to wait; on the holders' cores."""
    told = list[int]()
    os.sched_setaffinity(0, CORES)  # of this thread only
    began = time.monotonic()
    with admitted(places, memory, waiting=lambda: told.append(1)):
        return time.monotonic() - began, len(told)


def entered(places: Path, memory: int = MIB) -> tuple[float, int]:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(enter, places, memory).result(timeout=30)


def test_never_more_guests_at_once_than_places(tmp_path: Path) -> None:
    holders = [holder(tmp_path / "places", seconds=0.1) for _ in range(6)]
    for process in holders:
        with process:
            assert process.wait(timeout=60) == 0
    running = most = 0
    for word in (tmp_path / "log").read_text().split():
        running += {"in": 1, "out": -1}[word]
        most = max(most, running)
    assert running == 0
    assert most <= len(CORES)


def test_a_free_place_is_taken_at_once_and_silently(tmp_path: Path) -> None:
    assert entered(tmp_path / "places")[1] == 0
    assert entered(tmp_path / "places")[1] == 0, "the place was given back"


def test_who_has_to_wait_is_told_once_and_gets_the_place_of_a_killed_holder(tmp_path: Path) -> None:
    holders = [holder(tmp_path / "places") for _ in CORES]
    assert all(is_in(process) for process in holders)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(enter, tmp_path / "places")
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.6)
        holders[0].kill()
        assert waiting.result(timeout=200)[1] == 1
    for process in holders:
        process.kill()
        with process:
            process.wait()


def test_a_large_guest_takes_the_places_of_several(tmp_path: Path) -> None:
    with holder(tmp_path / "places", memory=int(MEMORY * 0.6)) as large:
        assert is_in(large)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(enter, tmp_path / "places")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            large.kill()
            waiting.result(timeout=200)


def test_a_place_is_given_back_whatever_happens(tmp_path: Path) -> None:
    kept = []  # errors keep the frames that they went through, and all that these hold
    for _ in range(len(os.sched_getaffinity(0)) + 1):
        with (
            pytest.raises(RuntimeError, match="boom") as caught,
            admitted(tmp_path, MIB, waiting=lambda: pytest.fail("all places are taken")),
        ):
            raise RuntimeError("boom")
        kept.append(caught)


def test_a_guest_that_this_host_can_never_carry_is_the_users_affair(tmp_path: Path) -> None:
    places = tmp_path / "places"
    with (
        pytest.raises(ConfigError, match=r"a guest with .* does not fit this host's .* of memory") as caught,
        admitted(places, MEMORY, waiting=lambda: None),
    ):
        pytest.fail("there is no such place")
    assert "--memory" in caught.value.hint
    assert not places.exists()


def test_the_largest_guest_that_fits_is_admitted(tmp_path: Path) -> None:
    assert entered(tmp_path, int(MEMORY * 0.8) - 256 * MIB)[1] == 0
