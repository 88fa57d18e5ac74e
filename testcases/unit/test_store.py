"""The store, used as it is used: by many processes at once, some of which are killed."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier

import pytest

from harness.errors import ConfigError, InfraError
from harness.store import Store, write_atomically

INPUTS = {"what": "a thing", "parts": [1, 2]}


def files_below(cache: Path) -> list[str]:
    """What the store holds, without its locks."""
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock")


def build(directory: Path) -> None:
    (directory / "content").write_text("built")


def get_and_count(cache: str) -> str:
    def build_and_count(directory: Path) -> None:
        with Path(cache, "builds").open("a") as builds:
            builds.write(f"{os.getpid()}\n")
        build(directory)

    entry = Store(Path(cache)).get("thing", INPUTS, build_and_count)
    return str(entry) + (entry / "content").read_text()


def test_eight_processes_that_ask_at_once_build_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(8, mp_context=get_context("spawn")) as pool:
        answers = list(pool.map(get_and_count, [str(tmp_path)] * 8))
    assert len(set(answers)) == 1
    assert len((tmp_path / "builds").read_text().splitlines()) == 1


def test_threads_that_ask_at_once_build_once(tmp_path: Path) -> None:
    store, together, builds = Store(tmp_path), Barrier(4), list[Path]()

    def ask(_: int) -> Path:
        together.wait(timeout=10)
        return store.get("thing", INPUTS, builds.append)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(4)))) == 1
    assert len(builds) == 1


def test_an_entry_says_what_it_was_built_from(tmp_path: Path) -> None:
    entry = Store(tmp_path).get("thing", INPUTS, build)
    assert json.loads((entry / "inputs.json").read_text()) == INPUTS
    assert (entry / "content").read_text() == "built"


def test_other_inputs_or_another_kind_are_another_entry(tmp_path: Path) -> None:
    store = Store(tmp_path)
    places = {
        store.get("thing", INPUTS, build),
        store.get("thing", {**INPUTS, "more": 1}, build),
        store.get("other", INPUTS, build),
    }
    assert len(places) == 3


def test_the_order_of_keys_does_not_matter(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.get("thing", INPUTS, build) == store.get("thing", dict(reversed(INPUTS.items())), build)


def test_has_tells_what_get_would_find(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.has("thing", INPUTS)
    store.get("thing", INPUTS, build)
    assert store.has("thing", INPUTS)


@pytest.mark.parametrize("problem", [ValueError("bad"), KeyboardInterrupt(), ConfigError("wrong")])
def test_a_builder_that_fails_leaves_nothing_and_the_next_one_builds(
    tmp_path: Path, problem: BaseException
) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").write_text("writ")
        raise problem

    store = Store(tmp_path)
    with pytest.raises(type(problem)):
        store.get("thing", INPUTS, fail)
    assert files_below(tmp_path) == []
    assert not store.has("thing", INPUTS)
    assert (store.get("thing", INPUTS, build) / "content").read_text() == "built"


KILLED_BUILDER = """
import sys, time
from pathlib import Path
from harness.store import Store

def build(directory):
    (directory / "half").write_text("writ")
    print("building", flush=True)
    time.sleep(60)

Store(Path(sys.argv[1])).get("thing", {"what": "a thing", "parts": [1, 2]}, build)
"""


def test_a_builder_that_is_killed_leaves_no_entry_and_the_next_one_builds(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_BUILDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "building\n"
        with ThreadPoolExecutor(1) as pool:  # somebody waits for the entry while its builder dies
            waiting = pool.submit(Store(tmp_path).get, "thing", INPUTS, build)
            builder.send_signal(signal.SIGKILL)
            entry = waiting.result(timeout=20)
    assert sorted(path.name for path in entry.iterdir()) == ["content", "inputs.json"]
    assert len(files_below(tmp_path)) == 2, "what the killed one left is gone"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_the_hosts_fault_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    def fill(directory: Path) -> None:
        (directory / "half").write_text("writ")
        raise OSError(number, os.strerror(number))

    with pytest.raises(
        InfraError, match=rf"the disk of the cache {tmp_path} is full \(\d+ MiB left\)"
    ) as caught:
        Store(tmp_path).get("thing", INPUTS, fill)
    assert "--cache" in caught.value.hint
    assert files_below(tmp_path) == []


def test_another_error_of_the_builders_files_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Store(tmp_path).get("thing", INPUTS, lambda directory: (directory / "none").unlink())
    assert files_below(tmp_path) == []


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_not_be_written_to_is_the_users_affair(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    with pytest.raises(ConfigError, match=f"the cache directory {locked} is not writable") as caught:
        Store(locked)
    assert "HARNESS_CACHE" in caught.value.hint
    with pytest.raises(ConfigError, match=f"cannot create the cache directory {locked}/below: Permission"):
        Store(locked / "below")


def test_a_cache_that_cannot_be_made_is_the_users_affair(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"cannot create the cache directory {tmp_path}/file/cache: Not a"):
        Store(tmp_path / "file/cache")


def test_a_lock_keeps_others_out_until_its_holder_dies(tmp_path: Path) -> None:
    hold = f"""
import time
from pathlib import Path
from harness.store import Store
with Store(Path({str(tmp_path)!r})).lock("it"):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        def take() -> int | None:
            with Store(tmp_path).lock("it"):
                return holder.poll()

        with ThreadPoolExecutor(1) as pool:
            taken = pool.submit(take)
            with pytest.raises(TimeoutError):
                taken.result(timeout=0.3)
            holder.kill()
            holder.wait()
            assert taken.result(timeout=10) == -signal.SIGKILL


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    texts = {letter * 100_000 for letter in "ab"}
    write_atomically(path, "a" * 100_000)
    writer = f"""
from pathlib import Path
from harness.store import write_atomically
for _ in range(300):
    for letter in "ab":
        write_atomically(Path({str(path)!r}), letter * 100_000)
"""
    reads = 0
    with subprocess.Popen([sys.executable, "-c", writer]) as process:
        while process.poll() is None:
            assert path.read_text() in texts
            reads += 1
    assert process.returncode == 0
    assert reads > 10
    assert [found.name for found in tmp_path.iterdir()] == ["file.json"]


def test_two_writers_do_not_take_each_others_unfinished_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    writer = f"""
from pathlib import Path
from harness.store import write_atomically
for _ in range(300):
    write_atomically(Path({str(path)!r}), "text")
"""
    writers = [subprocess.Popen([sys.executable, "-c", writer]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in writers] == [0, 0]
    assert path.read_text() == "text"
