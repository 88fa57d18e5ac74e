"""Listing, tidying up and checking a store, while others use it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.core.progress import Quiet
from harness.store import Store, upkeep
from harness.store.upkeep import contents, tidy, verify

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86400.0


def fill(directory: Path) -> None:
    """What a package looks like: many files below, one beside them."""
    (directory / "content").write_bytes(b"x" * 10_000)
    (directory / "files/bin").mkdir(parents=True)
    (directory / "files/bin/tool").write_bytes(b"a tool")
    (directory / "files/bin/link").symlink_to("tool")
    (directory / "files/bin" / os.fsdecode(b"\xff")).symlink_to(os.fsdecode(b"\xff/target"))


def add(cache: Path, name: str, *, days: float = 0) -> Path:
    """Have another process build an entry, and make it look unused for so many days."""
    script = f"""
import sys
from pathlib import Path
from harness.store import Store
from testcases.system.test_upkeep import fill
print(Store(Path({str(cache)!r})).get("deb", {{"package": {name!r}}}, fill))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    entry = Path(run.stdout.strip())
    then = time.time() - days * DAY
    os.utime(entry / "seal.json", (then, then))
    return entry


@contextmanager
def in_use_elsewhere(cache: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that was given an entry and still runs."""
    script = f"""
import time
from pathlib import Path
from harness.store import Store
Store(Path({str(cache)!r})).get("deb", {{"package": {name!r}}}, None)
print("given", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "given\n"
        try:
            yield process
        finally:
            process.kill()


def names(store: Store) -> list[str]:
    return [entry.name for entry in contents(store)]


def tidied(store: Store, **how: object) -> list[str]:
    options = {"older_than": None, "keep": None, "everything": False, "dry_run": False, **how}
    return [entry.name for entry in tidy(store, **options).entries]  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    cache = tmp_path / "cache"
    add(cache, "old", days=40)
    add(cache, "older", days=50)
    add(cache, "new")
    return Store(cache)


def test_entries_are_listed_by_their_last_use(store: Store) -> None:
    entries = contents(store)
    assert [entry.name for entry in entries] == ["older", "old", "new"]
    assert {entry.kind for entry in entries} == {"deb"}
    for entry in entries:
        on_disk = subprocess.run(["du", "-s", "-B1", entry.path], capture_output=True, text=True, check=True)
        assert abs(int(on_disk.stdout.split()[0]) - entry.size) <= 16384, "directories and the seal itself"
        assert abs(time.time() - entry.built) < 60
    assert time.time() - entries[0].used == pytest.approx(50 * DAY, abs=60)


def test_an_image_a_request_and_something_else_have_names(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.get("disk", {"image": {"name": "sysc"}}, fill)
    store.get("resolution", {"suite": "sid", "architecture": "i386", "request": ["a", "b"]}, fill)
    other = store.get("other", {}, fill)
    assert sorted(names(store)) == sorted(["sysc", "sid/i386: a b", other.name])


def test_what_was_not_used_for_long_goes(store: Store) -> None:
    assert tidied(store, older_than=45 * DAY, dry_run=True) == ["older"]
    assert names(store) == ["older", "old", "new"], "a dry run removes nothing"
    assert tidied(store, older_than=45 * DAY) == ["older"]
    assert names(store) == ["old", "new"]
    assert tidied(store, older_than=45 * DAY) == []


def test_the_least_recently_used_goes_first_until_the_rest_fits(store: Store) -> None:
    sizes = {entry.name: entry.size for entry in contents(store)}
    assert tidied(store, keep=sum(sizes.values())) == []
    assert tidied(store, keep=sum(sizes.values()) - 1) == ["older"]
    assert tidied(store, keep=sizes["new"]) == ["old"]
    assert tidied(store, keep=0) == ["new"]


def test_a_use_makes_an_entry_young(store: Store) -> None:
    with in_use_elsewhere(store.cache, "older"):
        pass
    assert names(store)[0] == "old"


def test_what_a_process_uses_stays_until_the_process_ends(store: Store) -> None:
    with in_use_elsewhere(store.cache, "old") as process:
        assert [entry.name for entry in contents(store) if entry.in_use] == ["old"]
        for dry_run in (True, False):
            assert tidied(store, everything=True, dry_run=dry_run) == ["older", "new"]
        assert names(store) == ["old"]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert tidied(store, everything=True) == ["old"]
    assert list((store.cache / "uses").iterdir()) == []


def test_what_somebody_begins_to_use_at_the_last_moment_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as others:

        def begin_to_use(*_: object, **__: object) -> list[object]:
            others.enter_context(in_use_elsewhere(store.cache, "old"))
            return []

        monkeypatch.setattr(upkeep, "_leftovers", begin_to_use)  # after the choice, before the removal
        assert tidied(store, everything=True) == ["older", "new"]
        assert names(store) == ["old"]


def test_nobody_is_given_an_entry_while_it_is_taken_away(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask_meanwhile(directory: Path) -> set[str]:
        asked.append(pool.submit(store.has, "deb", {"package": "old"}))
        if len(asked) == 1:  # the first look only chooses
            assert asked[0].result(timeout=200)
        else:
            with pytest.raises(TimeoutError):
                asked[1].result(timeout=0.3)
        return set()

    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(upkeep, "names_in_use", ask_meanwhile)
        tidied(store, everything=True)
        assert not asked[1].result(timeout=200)


def test_an_entry_that_is_being_built_stays(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from harness.store import Store
def build(directory):
    print("building", flush=True)
    time.sleep(60)
Store(Path({str(tmp_path)!r})).get("deb", {{}}, build)
"""
    store = Store(tmp_path)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        builder.stdout.readline()
        tidied(store, everything=True)
        assert list(tmp_path.glob("store/deb/*.unfinished"))
        builder.kill()
        builder.wait()
    leftovers = tidy(store, older_than=None, keep=None, everything=False, dry_run=False).leftovers
    assert [path.suffix for path in leftovers] == [".unfinished"]
    assert list(tmp_path.glob("store/deb/*")) == []
    assert list(tmp_path.glob("locks/*")) == []


def test_what_a_crash_left_of_apts_downloads_goes_unless_apt_runs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    archive = tmp_path / "apt/sid-i386/archives/partial/a_1_i386.deb"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"half")
    with store.lock("apt-sid-i386"):
        tidied(store, everything=True)
        assert archive.exists()
    tidied(store)
    assert not archive.exists()
    assert (tmp_path / "apt/sid-i386").is_dir(), "the index stays"
    tidied(store, everything=True)
    assert not (tmp_path / "apt/sid-i386").exists()


def test_tidying_while_others_ask_takes_nothing_away_from_them(tmp_path: Path) -> None:
    ask = f"""
from pathlib import Path
from harness.store import Store
from testcases.system.test_upkeep import fill
store = Store(Path({str(tmp_path)!r}))
for number in range(150):
    entry = store.get("deb", {{"package": str(number % 10)}}, fill)
    assert (entry / "files/bin/tool").read_bytes() == b"a tool"
"""
    with (
        subprocess.Popen([sys.executable, "-c", ask]) as first,
        subprocess.Popen([sys.executable, "-c", ask]) as second,
    ):
        store, rounds = Store(tmp_path), 0
        while first.poll() is None or second.poll() is None:
            tidied(store, everything=True)
            rounds += 1
    assert (first.returncode, second.returncode) == (0, 0)
    assert rounds > 3


def test_a_sound_store_is_found_sound(store: Store) -> None:
    assert verify(store, Quiet()) == []
    assert len(names(store)) == 3


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda entry: (entry / "files/bin/tool").write_bytes(b"a fool"),
            "files/bin/tool has another content",
        ),
        (lambda entry: (entry / "files/bin/tool").chmod(0o755), "files/bin/tool has the mode 100755, not"),
        (lambda entry: (entry / "files/bin/tool").unlink(), "files/bin/tool is missing"),
        (lambda entry: (entry / "files/bin/new").touch(), "files/bin/new was added"),
        (lambda entry: shutil.rmtree(entry / "files"), "files is missing"),
        (lambda entry: (entry / "content").write_bytes(b"y" * 10_000), "content has another content"),
        (lambda entry: (entry / "content").write_bytes(b"x"), "content has 1 bytes, not 10000"),
        (lambda entry: (entry / "below.sums").write_bytes(b""), "below.sums has 0 bytes"),
        (lambda entry: (entry / "seal.json").write_text("{"), "seal.json is missing or no seal"),
    ],
)
def test_damage_is_named_removed_and_built_anew(store: Store, damage: object, said: str) -> None:
    victim = next(entry for entry in contents(store) if entry.name == "old")
    damage(victim.path)  # type: ignore[operator]
    [found] = verify(store, Quiet())
    assert found.entry.name in {"old", victim.path.name}
    assert found.problems[0].startswith(said)
    assert not victim.path.exists()
    assert add(store.cache, "old") == victim.path
    assert verify(store, Quiet()) == []


def run(cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "store", *words, "--store", str(cache)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_lists_tidies_and_checks(store: Store) -> None:
    words = run(store.cache, "ls").stdout
    assert [line.split()[:2] for line in words.splitlines()[1:4]] == [
        ["deb", n] for n in ("older", "old", "new")
    ]
    assert "40 d ago" in words or "6 w ago" in words
    listed = json.loads(run(store.cache, "ls", "--json").stdout)
    assert [entry["name"] for entry in listed["entries"]] == ["older", "old", "new"]
    assert listed["size"] == sum(entry["size"] for entry in listed["entries"])
    would = run(store.cache, "gc", "--dry-run", "--older-than", "45d").stdout.splitlines()
    assert would[0].startswith("deb          older")
    assert would[-1].startswith("1 entry, ")
    (contents(store)[-1].path / "content").write_text("damaged")
    verified = run(store.cache, "verify")
    assert verified.returncode == 1
    assert "deb new was damaged and is removed" in verified.stdout
    assert run(store.cache, "verify").returncode == 0
    removed = json.loads(run(store.cache, "gc", "--json").stdout)
    assert [entry["name"] for entry in removed["removed"]] == ["older", "old"]
    add(store.cache, "another")
    assert run(store.cache, "gc", "--all").returncode == 0
    assert contents(store) == []


@pytest.mark.parametrize(
    ("option", "value"), [("--older-than", "soon"), ("--older-than", "30"), ("--keep", "a lot")]
)
def test_a_wrong_age_or_size_is_named(tmp_path: Path, option: str, value: str) -> None:
    refused = run(tmp_path, "gc", option, value)
    assert refused.returncode == 2
    assert option in refused.stderr
