"""The store, used as it is used: by many processes at once, some of which are killed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from threading import Barrier, Event
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError, InfraError
from harness.core.files import write_atomically
from harness.core.progress import Quiet
from harness.store import Store, locks
from harness.store.upkeep import verify

if TYPE_CHECKING:
    from collections.abc import Callable

INPUTS = {"what": "a thing", "parts": [1, 2]}


def files_below(cache: Path) -> list[str]:
    """What the store holds, whole or half."""
    return sorted(str(path.relative_to(cache)) for path in (cache / "store").rglob("*") if path.is_file())


def build(directory: Path) -> None:
    (directory / "content").write_text("built")


def get_and_count(cache: str) -> str:
    (Path(cache) / f"asks-{os.getpid()}").touch()

    def build_and_count(directory: Path) -> None:
        deadline = time.monotonic() + 60  # the others come while this one builds
        while len(list(Path(cache).glob("asks-*"))) < 8 and time.monotonic() < deadline:
            time.sleep(0.01)
        with Path(cache, "builds").open("a") as builds:
            builds.write(f"{os.getpid()}\n")
        build(directory)

    entry = Store(Path(cache)).get("thing", INPUTS, build_and_count)
    return str(entry) + (entry / "content").read_text()


def test_eight_processes_that_ask_at_once_build_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(8, mp_context=get_context("spawn")) as pool:
        answers = list(pool.map(get_and_count, [str(tmp_path)] * 8))
    assert len(list(tmp_path.glob("asks-*"))) == 8
    assert len(set(answers)) == 1
    assert len((tmp_path / "builds").read_text().splitlines()) == 1


def test_threads_that_ask_at_once_build_once(tmp_path: Path) -> None:
    store, together, builds = Store(tmp_path), Barrier(4), list[Path]()

    def build_slowly(directory: Path) -> None:
        time.sleep(0.2)
        builds.append(directory)

    def ask(_: int) -> Path:
        together.wait(timeout=10)
        return store.get("thing", INPUTS, build_slowly)

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
    assert sorted(path.name for path in entry.iterdir()) == ["content", "inputs.json", "seal.json"]
    assert len(files_below(tmp_path)) == 3, "what the killed one left is gone"


BUSY_BUILDER = """
import os, sys
from pathlib import Path
from harness.store import Store

def build(directory):
    (directory / "files").mkdir()
    for number in range(40):
        (directory / f"files/{number}").write_text("content")
        (directory / f"files/{number}").chmod(0o400)
    (directory / "content").write_text("built")
    (directory / "files").chmod(0o500)

store = Store(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(10**6):
    store.get("thing", {"number": number}, build)
"""


def test_killed_at_any_moment_nothing_half_looks_whole(tmp_path: Path) -> None:
    random = Random(4711)  # noqa: S311 - moments, not secrets
    for _ in range(12):
        command = [sys.executable, "-c", BUSY_BUILDER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
            assert builder.stdout is not None
            assert builder.stdout.readline() == "ready\n"
            time.sleep(random.uniform(0.0, 0.3))
            builder.kill()
    store = Store(tmp_path)
    entries = [path for path in tmp_path.glob("store/thing/*") if path.suffix != ".unfinished"]
    assert len(entries) > 5
    assert verify(store, Quiet()) == []
    assert all(len(list((entry / "files").iterdir())) == 40 for entry in entries)
    store.get("thing", {"another": "one"}, build)
    assert list(tmp_path.glob("store/thing/*.unfinished")) == [], "the next one that builds cleans up"


def cut_off_at_the_same_moment(path: Path) -> None:
    """What a host's crash leaves that lost the content and kept the time."""
    status = path.stat()
    path.write_bytes(b"")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / "content").unlink(),
        lambda entry: (entry / "content").write_text("bu"),
        lambda entry: (entry / "content").write_text("BUILT"),
        lambda entry: cut_off_at_the_same_moment(entry / "content"),
        lambda entry: (entry / "inputs.json").unlink(),
        lambda entry: (entry / "seal.json").unlink(),
        lambda entry: (entry / "seal.json").write_text("garbage"),
        lambda entry: ((entry / "content").unlink(), (entry / "content").mkdir()),
    ],
)
def test_damage_is_seen_at_the_next_use_and_mended(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    store = Store(tmp_path)
    entry = store.get("thing", INPUTS, build)
    damage(entry)
    assert not store.has("thing", INPUTS)
    assert store.get("thing", INPUTS, build) == entry
    assert (entry / "content").read_text() == "built"
    assert store.has("thing", INPUTS)


def test_a_copied_cache_is_as_good_as_the_first(tmp_path: Path) -> None:
    entry = Store(tmp_path / "first").get("thing", INPUTS, build)
    shutil.copytree(tmp_path / "first", tmp_path / "second", copy_function=shutil.copyfile)
    store = Store(tmp_path / "second")
    assert store.has("thing", INPUTS)
    status = (tmp_path / "second" / entry.relative_to(tmp_path / "first") / "content").stat()
    found = store.get("thing", INPUTS, lambda _: pytest.fail("it is there"))
    assert store.file(found, "content").mtime_ns == status.st_mtime_ns, "not read again"


def test_what_the_builder_knows_is_not_hashed_again(tmp_path: Path) -> None:
    def know(directory: Path) -> dict[str, str]:
        build(directory)
        return {"content": "a hash"}

    store = Store(tmp_path)
    entry = store.get("thing", INPUTS, know)
    assert store.file(entry, "content").digest == "a hash"
    assert store.file(entry, "content").size == len("built")


FILLING = """
import sys
from pathlib import Path
from harness.core.errors import HarnessError
from harness.store import Store

def build(directory):
    with (directory / "content").open("wb") as file:
        for _ in range(100):
            file.write(bytes(1 << 20))

try:
    Store(Path(sys.argv[1])).get("thing", {}, build)
except HarnessError as error:
    print(error.outcome, error.message)
print(*Path(sys.argv[1]).rglob("content*"))
"""


def test_a_disk_that_really_fills_up_leaves_nothing(tmp_path: Path) -> None:
    script = tmp_path / "filling.py"
    script.write_text(FILLING)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=4M tmpfs {disk} && exec {sys.executable} {script} {disk}/cache"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if not result.stdout and ("unshare" in result.stderr or "mount" in result.stderr):
        pytest.skip(f"this host gives no mount of our own: {result.stderr.strip()}")
    told = f"INFRA the disk of the cache {disk}/cache is full (0 MiB left)"
    assert result.stdout.splitlines() == [told, ""], result.stderr


def test_a_program_that_met_a_full_disk_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise InfraError("`mke2fs` ended with status 1")

    with pytest.raises(InfraError, match="mke2fs"):
        Store(tmp_path).get("thing", INPUTS, fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    with pytest.raises(InfraError, match="is full"):
        Store(tmp_path).get("thing", INPUTS, fail)


def test_a_cache_that_refuses_is_named(tmp_path: Path) -> None:
    def refuse(directory: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory / "content"))

    def elsewhere(_: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/etc/shadow")

    with pytest.raises(InfraError, match=rf"cannot use the cache: {tmp_path}.*content: Permission denied"):
        Store(tmp_path).get("thing", INPUTS, refuse)
    with pytest.raises(PermissionError):
        Store(tmp_path).get("thing", INPUTS, elsewhere)


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

        def take() -> bool:
            with Store(tmp_path).lock("it"):
                return True

        with ThreadPoolExecutor(1) as pool:
            taken = pool.submit(take)
            with pytest.raises(TimeoutError):
                taken.result(timeout=0.3)
            holder.kill()
            holder.wait()
            assert taken.result(timeout=10)


def test_a_lock_whose_file_was_removed_while_somebody_waited_still_locks(tmp_path: Path) -> None:
    path, entered, done = tmp_path / "it.lock", Event(), Event()

    def wait() -> None:
        with locks.held(path):
            entered.set()
            done.wait(timeout=10)

    with ThreadPoolExecutor(1) as pool:
        with locks.held(path):
            waiting = pool.submit(wait)
            assert not entered.wait(timeout=0.3)
            path.unlink()  # as `harness store gc` does while it holds a lock
        assert entered.wait(timeout=10)
        with locks.held_if_free(path) as free:
            assert not free
        done.set()
        waiting.result(timeout=10)
    with locks.held_if_free(path) as free:
        assert free


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    texts = {letter * 100_000 for letter in "ab"}
    write_atomically(path, "a" * 100_000)
    writer = f"""
from pathlib import Path
from harness.core.files import write_atomically
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
from harness.core.files import write_atomically
for _ in range(300):
    write_atomically(Path({str(path)!r}), "text")
"""
    writers = [subprocess.Popen([sys.executable, "-c", writer]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in writers] == [0, 0]
    assert path.read_text() == "text"
