"""The store, used as it is used: by many processes at once, some of which are killed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError, InfraError
from harness.store import Store, locks

if TYPE_CHECKING:
    from collections.abc import Callable

INPUTS = {"what": "a thing", "parts": [1, 2]}


def files_below(cache: Path) -> list[str]:
    """What the store holds, whole or half."""
    return sorted(str(path.relative_to(cache)) for path in (cache / "store").rglob("*") if path.is_file())


def build(directory: Path) -> None:
    (directory / "content").write_text("built")


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
