"""Builds the report: pages of changed runs, and overview pages."""

from __future__ import annotations

import hashlib
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError, InfraError, explaining
from harness.core.files import remove, write_atomically
from harness.record.reading import RunState, read_run
from harness.report.site import chunks, facts
from harness.report.site.about_all import about_all
from harness.report.site.about_run import RecordFile, run_pages
from harness.report.site.pages import Pages, copy_assets
from harness.store.locks import held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.core.progress import Progress

_MARK = ".report"  # tells a report from other directories, and holds its lock
_STAMP = ".stamp.json"
_HERE = Path(__file__).parent
_COPIED = (
    "run.json",
    "inputs.lock.json",
    "manifest.sha256",
    "manifest.mtree",
    "screenshot.png",
    "qemu.cmd",
    "qemu.stderr",
)
_MUCH = 64 << 20  # bytes of consoles; below, a process costs more than it saves
_LINKED = ("console.log",)  # may be large; it takes no room where it is


class _Stamp(msgspec.Struct, frozen=True):
    """What a run's pages were made from; another value has them made again."""

    layout: str
    chunks: int
    state: str
    document: tuple[int, int]
    console: tuple[int, int]


class Built(msgspec.Struct, frozen=True):
    """What was done: runs that there are, those whose pages were made anew, and those that went."""

    runs: int
    rendered: int
    removed: int


def build(runs: Path, target: Path, *, progress: Progress) -> Built:
    """Bring a report up to date."""
    if not runs.is_dir():
        hint = "another directory is chosen with --runs DIR"
        raise ConfigError(f"there are no run records in {runs}", hint=hint)
    _claim(target)
    hint = "free some space, or choose another directory; what is written already is used again"
    with explaining(InfraError, f"cannot write the report in {target}", hint), held(target / _MARK):
        return _build(runs, target, progress)


def _build(runs: Path, target: Path, progress: Progress) -> Built:
    found = facts.all_runs(runs)
    copy_assets(target)
    changed = [run for run in found if _stamp_of(_place(target, run)) != _stamp(runs, run)]
    rendered = 0
    with progress.task(f"pages of {len(found)} runs") as task, ExitStack() as stack:
        for number, done in enumerate(_each(changed, runs, target, stack), 1):
            rendered += done
            task.update(number / len(changed), f"{rendered} anew")
    here = {run.id for run in found}
    gone = [path for path in (target / "runs").glob("*") if path.name not in here]
    for path in gone:
        remove(path)
    about_all(_pages(target), runs, facts.by_cell(runs, found), found)
    return Built(len(found), rendered, len(gone))


def _each(changed: list[facts.Run], runs: Path, target: Path, stack: ExitStack) -> Iterator[bool]:
    """Bring up what changed; where that is much, in a process for each core."""
    bring = partial(_bring_up, runs, target)
    cores = len(os.sched_getaffinity(0))
    size = sum(_look(runs / run.id / "console.raw")[1] for run in changed)
    if size < _MUCH or cores < 2 or len(changed) < 2:
        return map(bring, changed)
    # Fresh ones: the process that serves the report has threads.
    fresh = multiprocessing.get_context("spawn")
    pool = stack.enter_context(ProcessPoolExecutor(cores, fresh, initializer=_end_with_parent))
    stack.callback(pool.shutdown, cancel_futures=True)
    waiting = [pool.submit(bring, run) for run in changed]
    return (future.result() for future in as_completed(waiting))


def _end_with_parent() -> None:
    """In a process for a core: Ctrl-C is for its parent, with which it ends."""

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            multiprocessing.connection.wait([parent.sentinel])
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=wait, daemon=True).start()


def _bring_up(runs: Path, target: Path, run: facts.Run) -> bool:
    """Render the pages of a run that changed; whether its record could be read."""
    record, place = runs / run.id, _place(target, run)
    before, stamp = _stamp_of(place), _stamp(runs, run)
    try:
        reading = read_run(record)
    except ConfigError:
        return False  # it went meanwhile, or is of another version
    place.mkdir(parents=True, exist_ok=True)
    if before is not None and before.chunks != stamp.chunks:
        for old in ("log", "replay"):
            remove(place / old)
    log, replay = chunks.LogIndex(), None
    if reading.raw.exists():
        # A record of which only the console is as it was keeps its pieces: they are most of the work.
        same = before is not None and (before.chunks, before.console) == (stamp.chunks, stamp.console)
        kept = chunks.read_index(place / "log", chunks.LogIndex) if same else None
        log = kept or chunks.write_log(reading, place / "log")
        if reading.state != RunState.RUNNING:
            film = chunks.read_index(place / "replay", chunks.ReplayIndex) if same else None
            replay = film or chunks.write_replay(reading, place / "replay")
    files = _take_files(record, place / "files")
    run_pages(_pages(target), reading, run, log=log, replay=replay, files=files)
    write_atomically(place / _STAMP, msgspec.json.encode(stamp).decode())
    return True


def _take_files(record: Path, place: Path) -> list[RecordFile]:
    """Bring the record's files beside the pages; what is not brought is only named."""
    found = []
    for path in sorted(path for path in record.rglob("*") if path.is_file() and path.name[0] != "."):
        name = path.relative_to(record).as_posix()
        size = path.stat().st_size
        taken = name in _COPIED or name in _LINKED or name.startswith("files/")
        if taken:
            other = place / name
            other.parent.mkdir(parents=True, exist_ok=True)
            if not (other.exists() and other.samefile(path)):
                other.unlink(missing_ok=True)
                _bring(path, other, link=name in _LINKED)
        found.append(RecordFile(name, size, taken))
    return found


def _bring(path: Path, other: Path, *, link: bool) -> None:
    if link:
        try:
            other.hardlink_to(path)
        except OSError:  # another file system
            pass
        else:
            return
    shutil.copyfile(path, other)


def _claim(target: Path) -> None:
    """Make the directory ours; other files stay as they are."""
    hint = "choose a directory that is empty, or that holds a report already"
    with explaining(ConfigError, f"cannot make the report's directory {target}", hint):
        if not (target / _MARK).exists():
            if target.exists() and (not target.is_dir() or any(target.iterdir())):
                raise ConfigError(f"{target} is no report of ours, and not empty", hint=hint)
            target.mkdir(parents=True, exist_ok=True)
            (target / _MARK).touch()


@cache
def _pages(target: Path) -> Pages:
    """Each process reads the templates once."""
    return Pages(target)


def _place(target: Path, run: facts.Run) -> Path:
    return target / "runs" / run.id


def _stamp(runs: Path, run: facts.Run) -> _Stamp:
    """What a run's pages would be made from now."""
    record = runs / run.id
    console = _look(record / "console.raw")
    return _Stamp(_layout(), chunks.FORMAT, run.state, _look(record / "run.json"), console)


def _stamp_of(place: Path) -> _Stamp | None:
    try:
        return msgspec.json.decode((place / _STAMP).read_bytes(), type=_Stamp)
    except (OSError, msgspec.DecodeError):
        return None


def _look(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return status.st_mtime_ns, status.st_size


@cache
def _layout() -> str:
    """A hash of all that pages are made by: another one has them made anew."""
    parts = (
        path.read_bytes()
        for path in sorted(_HERE.rglob("*"))
        if path.suffix in {".py", ".html", ".css", ".js"}
    )
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
