"""However a run is stopped, no QEMU stays behind, and the record says how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.core.outcome import Outcome
from harness.record.record import RunDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.image.factory import Build

_LIMIT = 120.0  # seconds until a run must have started, and until it must have ended


@pytest.fixture
def started(relay: Build, harness_cache: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`harness run` in a process of its own, with its guest talking."""
    del relay  # built before the clock runs
    command = [sys.executable, "-m", "harness", "run", "--runs", str(tmp_path), "--cache", str(harness_cache)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        _wait_until(lambda: any(raw.stat().st_size for raw in tmp_path.glob("*/console.raw")))
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(started: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals) -> None:
    qemu = _qemu_of(started.pid)
    started.send_signal(number)
    _, stderr = started.communicate(timeout=_LIMIT)
    assert started.returncode == Outcome.INTERRUPTED.exit_code
    assert b"interrupted in stage sysa" in stderr
    assert b"Traceback" not in stderr
    assert not _alive(qemu)
    document = _document(tmp_path)
    assert document.verdict is not None
    assert document.verdict.outcome == Outcome.INTERRUPTED
    assert document.ended


def test_killed(started: subprocess.Popen[bytes], tmp_path: Path) -> None:
    qemu = _qemu_of(started.pid)
    started.kill()
    started.wait(_LIMIT)
    _wait_until(lambda: not _alive(qemu))
    document = _document(tmp_path)
    assert document.verdict is None, "nobody could say how it ended"
    assert document.pid == started.pid
    assert document.kernels
    assert next(tmp_path.glob("*/console.raw")).stat().st_size > 0
    assert next(tmp_path.glob("*/events.jsonl")).read_text().splitlines()


@pytest.mark.thorough
def test_two_at_once_do_not_meet(relay: Build, harness_cache: Path, tmp_path: Path) -> None:
    del relay
    command = [sys.executable, "-m", "harness", "run", "--runs", str(tmp_path), "--cache", str(harness_cache)]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    for process in runs:
        stdout, stderr = process.communicate(timeout=600)
        assert process.returncode == 0, stdout + stderr
    documents = [
        msgspec.json.decode(path.read_bytes(), type=RunDocument) for path in tmp_path.glob("*/run.json")
    ]
    assert len({document.id for document in documents}) == 2
    assert len({document.facts["nonce"] for document in documents}) == 2
    assert {image.sha256 for image in documents[0].images} == {image.sha256 for image in documents[1].images}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk, which only root may")
def test_on_a_disk_that_fills_up(relay: Build, harness_cache: Path, tmp_path: Path) -> None:
    del relay
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", tmp_path], check=True)
    harness, runs = [sys.executable, "-m", "harness"], ["--runs", str(tmp_path)]
    command = [*harness, "run", *runs, "--cache", str(harness_cache)]
    try:
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            _wait_until(
                lambda: any(b"Linux version" in raw.read_bytes() for raw in tmp_path.glob("*/console.raw"))
            )
            with suppress(OSError), (tmp_path / "others").open("wb", 0) as file:
                while file.write(bytes(4096)):
                    pass
            stdout, stderr = process.communicate(timeout=_LIMIT)
        assert process.returncode == Outcome.INFRA.exit_code, stdout + stderr
        assert b"No space left on device" in stdout + stderr
        assert b"Traceback" not in stderr
        document = _document(tmp_path)
        assert document.verdict is not None
        assert (document.verdict.outcome, document.verdict.stage) == (Outcome.INFRA, "sysa")
        assert document.verdict.reason.endswith("No space left on device")
        assert document.ended
        log = subprocess.run([*harness, "log", *runs, document.id], capture_output=True, check=True)
        assert b"Linux version" in log.stdout
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def _document(runs: Path) -> RunDocument:
    return msgspec.json.decode(next(runs.glob("*/run.json")).read_bytes(), type=RunDocument)


def _qemu_of(pid: int) -> int:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            if b"qemu-system" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    pytest.fail("the run has no QEMU")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
