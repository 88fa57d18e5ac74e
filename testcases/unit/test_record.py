"""Run records: readable at any moment, whatever becomes of the run."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import harness
from harness.console.lines import Block
from harness.console.recorder import Recorder
from harness.console.transport import SocketTransport
from harness.core.errors import ConfigError, InfraError
from harness.core.outcome import Outcome
from harness.machine.protocol import MachineRecord
from harness.record.record import KernelRecord, RunDocument, RunRecord
from harness.stages.events import CheckEnded, Ended, StageBegan, StageEnded
from harness.stages.verdict import (
    CheckResult,
    Evidence,
    RunResult,
    StageResult,
    StageStatus,
    Verdict,
)

if TYPE_CHECKING:
    from pathlib import Path

INPUTS: dict[str, Any] = {"recipe": "relay", "plan": "relay", "recipe_sha256": "ab", "plan_sha256": "cd"}
KERNEL = KernelRecord(role="seed", name="debian-6.1-i686", version="6.1.0", bits=32, sha256="ef")
MACHINE = MachineRecord("qemu", "tcg", "", 1 << 30, "console=ttyS0", "7.2.0")
EVIDENCE = Evidence("console", "Kernel panic - not syncing: \x1b[31mgrüße", 123)
VERDICT = Verdict(Outcome.PANIC, "sysb", "the kernel panicked", "look", (EVIDENCE,))
STAGE = StageResult("sysa", StageStatus.PASSED, wall=1.5, cpu=1.25, start=0, end=100)
CHECK = CheckResult("shell", "nonce", passed=True, answer="42", seconds=0.5, offset=7)
RESULT = RunResult(VERDICT, (STAGE,), (CHECK,), {"gcc": "12.2.0"})


def document_of(record: RunRecord) -> RunDocument:
    return msgspec.json.decode((record.directory / "run.json").read_bytes(), type=RunDocument)


def test_a_record_begins_with_what_is_known(tmp_path: Path) -> None:
    with RunRecord(tmp_path / "runs", "relay-debian-6.1", kernels=(KERNEL,), **INPUTS) as record:
        document = document_of(record)
    assert document == record.document
    assert (document.recipe, document.kernels, document.pid) == ("relay", (KERNEL,), os.getpid())
    assert document.harness == harness.__version__
    assert document.id == record.directory.name
    assert document.host.cores == len(os.sched_getaffinity(0))
    assert document.host.memory > 0
    assert document.started.endswith("Z")
    assert (document.ended, document.verdict, document.stages) == ("", None, ())


def test_a_record_ends_with_the_verdict_and_all_that_led_to_it(tmp_path: Path) -> None:
    with RunRecord(tmp_path, "relay", **INPUTS) as record:
        record.update(machine=MACHINE)
        record.finish(RESULT)
    document = document_of(record)
    assert (document.machine, document.verdict, document.stages) == (MACHINE, VERDICT, (STAGE,))
    assert (document.checks, document.facts) == ((CHECK,), {"gcc": "12.2.0"})
    assert document.ended >= document.started


def test_run_json_is_whole_at_any_moment(tmp_path: Path) -> None:
    done, seen = Flag(), set[str]()
    with RunRecord(tmp_path, "relay", **INPUTS) as record:

        def read() -> None:
            while not done.is_set():
                seen.add(document_of(record).facts.get("number", "none"))

        reader = Thread(target=read)
        reader.start()
        for number in range(400):
            record.update(facts={"number": str(number), "ballast": "x" * 50_000})
        done.set()
        reader.join(timeout=30)
    assert not reader.is_alive()
    assert len(seen) > 5
    assert sorted(path.name for path in record.directory.iterdir()) == [
        "console.log",
        "events.jsonl",
        "run.json",
    ]


def test_events_are_lines_of_json_with_their_kind_and_time(tmp_path: Path) -> None:
    events = [StageBegan("sysa", 0), CheckEnded(CHECK), StageEnded(STAGE), Ended(VERDICT)]
    with RunRecord(tmp_path, "relay", **INPUTS) as record:
        for event in events:
            record.event(event)
            written = (record.directory / "events.jsonl").read_text().splitlines()[-1]
            assert json.loads(written)["event"] == type(event).__name__, "it is there at once"
        record.typed("echo ü\n".encode() + b"\xff\x03", 9, by_hand=False)
        record.typed(b"ls\r", 10, by_hand=True)
    lines = (record.directory / "events.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert json.loads(lines[0]) == {"seconds": 0.0, "event": "StageBegan", "stage": "sysa", "offset": 0}
    assert json.loads(lines[3])["verdict"]["evidence"][0]["text"] == EVIDENCE.text
    assert json.loads(lines[4])["text"] == "echo ü\n\\xff\x03"
    assert bytes.fromhex(json.loads(lines[4])["bytes"]) == "echo ü\n".encode() + b"\xff\x03"
    by_hand = {"seconds": 0.0, "event": "Typed", "text": "ls\r", "offset": 10, "by_hand": True, "bytes": ""}
    assert json.loads(lines[5]) == by_hand


def test_times_are_those_of_the_recorder(tmp_path: Path) -> None:
    ours, guests = socket.socketpair()
    with (
        RunRecord(tmp_path, "relay", **INPUTS) as record,
        Recorder(SocketTransport(ours), tmp_path / "console.raw", tmp_path / "console.idx") as recorder,
        guests,
    ):
        record.watch(recorder)
        guests.sendall(b"one\n")
        deadline = time.monotonic() + 10
        while recorder.seconds_at(0) == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        record.heard(Block(b"one\n", 0))
        record.event(StageBegan("sysa", 4))
        came, now = recorder.seconds_at(0), recorder.seconds
    assert (record.directory / "console.log").read_text() == f"{came:12.6f} one\n"
    [event] = (record.directory / "events.jsonl").read_text().splitlines()
    assert came < json.loads(event)["seconds"] <= now


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(
            [(1, b"one\ntwo"), (2, b"\nthree\n\n"), (3, b"four\n")],
            [
                ["1.000000", "one"],
                ["1.000000", "two"],
                ["2.000000", "three"],
                ["2.000000"],
                ["3.000000", "four"],
            ],
            id="first byte",
        ),
        pytest.param(
            [(1, b"a\n"), (1.004, b"b\n"), (1.012, b"c\n"), (1.015, b"d\n"), (1.03, b"e\n")],
            [["1.000000", "a"], ["1.000000", "b"], ["1.012000", "c"], ["1.012000", "d"], ["1.030000", "e"]],
            id="within a moment",
        ),
    ],
)
def test_each_line_has_the_time_of_its_first_byte(
    tmp_path: Path, said: list[tuple[float, bytes]], expected: list[list[str]]
) -> None:
    now = 0.0
    ours, guests = socket.socketpair()
    raw, index = tmp_path / "console.raw", tmp_path / "console.idx"
    with (
        RunRecord(tmp_path, "relay", **INPUTS) as record,
        Recorder(SocketTransport(ours), raw, index, clock=lambda: now) as recorder,
        guests,
    ):
        record.watch(recorder)
        for moment, data in said:
            now = moment
            size = recorder.size + len(data)
            guests.sendall(data)
            while recorder.size < size:
                assert recorder.read(recorder.size, timeout=30)
        record.heard(Block(b"".join(data for _, data in said), 0))
    lines = (record.directory / "console.log").read_text().splitlines()
    assert [line.split() for line in lines] == expected


def test_runs_at_the_same_moment_have_records_of_their_own(tmp_path: Path) -> None:
    records = [RunRecord(tmp_path, "relay", **INPUTS) for _ in range(8)]
    assert len({record.directory for record in records}) == 8
    assert {record.directory.name[:15] for record in records} <= {
        record.document.started.replace("-", "").replace(":", "").replace("T", "-")[:15] for record in records
    }


@pytest.mark.parametrize("name", ["relay-../../etc/passwd", "a b\nc", "x" * 500, "ü"])
def test_any_name_makes_one_directory_below_the_runs(tmp_path: Path, name: str) -> None:
    record = RunRecord(tmp_path, name, **INPUTS)
    assert record.directory.parent == tmp_path
    assert record.directory.is_dir()
    assert len(os.fsencode(record.directory.name)) <= 255
    assert " " not in record.directory.name


def test_runs_that_cannot_be_made_are_the_users_affair(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        ConfigError, match=f"cannot create the run record directory {tmp_path}/file"
    ) as caught:
        RunRecord(tmp_path / "file", "relay", **INPUTS)
    assert "--runs" in caught.value.hint


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_runs_that_may_not_be_written_to_are_the_users_affair(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(ConfigError, match=f"the run record directory {tmp_path}/locked is not writable"):
        RunRecord(tmp_path / "locked", "relay", **INPUTS)


@pytest.mark.parametrize("file", ["events.jsonl", "console.log"])
def test_a_disk_that_fills_up_is_the_hosts_fault(tmp_path: Path, file: str) -> None:
    record = RunRecord(tmp_path, "relay", **INPUTS)
    (record.directory / file).symlink_to("/dev/full")
    record.__enter__()
    with pytest.raises(InfraError, match=r"cannot write the run record .*No space left") as caught:
        record.heard(Block(b"line\n", 0)) if file == "console.log" else record.event(StageBegan("sysa", 0))
    assert "--runs" in caught.value.hint
    with suppress(InfraError):  # what could not be written is tried once more
        record.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("machine", "title"),
    [
        (MachineRecord("qemu", "tcg", "", 1, "", "7.2.22"), "QEMU 7.2.22, tcg"),
        (MachineRecord("chroot", "native", "", 1, "", ""), "chroot"),
        (MachineRecord("board", "native", "", 1, "", "", board="shelf"), "board shelf"),
    ],
)
def test_machines_are_called_what_they_are(machine: MachineRecord, title: str) -> None:
    assert machine.title == title
