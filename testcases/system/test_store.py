"""The store, used by many processes at once, some of which are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random

import pytest

from harness.core.files import write_atomically
from harness.core.progress import Quiet
from harness.store import Store
from harness.store.upkeep import verify
from testcases.unit.test_store import INPUTS, build, files_below


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
            entry = waiting.result(timeout=200)
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
            assert taken.result(timeout=200)


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
