"""Checkpoints without a guest: what fits, what is said when nothing does, damage, slices, resumed runs."""

from __future__ import annotations

import json
import os
import time
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import program
from harness.console.recorder import Recorder
from harness.core.architecture import DEFAULT, load_architecture
from harness.core.errors import ConfigError, InfraError
from harness.core.outcome import Outcome
from harness.image.build import BuildOptions
from harness.machine.kinds import find_kind
from harness.machine.protocol import Accelerator, Firmware
from harness.machine.spec import DirectBoot, MachineSpec
from harness.report.progress import TerminalProgress
from harness.run import checkpoints
from harness.run.checkpoints import State
from harness.run.request import RunRequest, StageRange
from harness.stages.events import Saved, StageBegan, StageEnded
from harness.stages.runner import Runner
from harness.stages.verdict import Boundary, StageResult, StageStatus
from harness.store import Store
from testcases.support.machines import (
    POWERED_OFF,
    RELAY,
    Audience,
    FakeMachine,
    Guest,
    recorded,
    recorded_until,
    relay_without_checks,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.image.factory import Build
    from harness.machine.protocol import End
    from harness.stages.plan import Plan
    from harness.stages.verdict import RunResult

STATE = State(
    run="20260101-000000-relay-a-0000",
    saved="2026-01-01T00:00:00Z",
    seconds=12.5,
    boundary=Boundary("sysb", 100, {"nonce": "1"}, (StageResult("sysa", StageStatus.PASSED, wall=12.5),)),
)


def built(tmp_path: Path, **hashes: str) -> Build:
    """What identities are made of."""
    known = {"kernel": "k1", "sysa": "a1", "sysc": "c1", **hashes}
    boot = SimpleNamespace(initramfs="sysa", disk="sysc", medium=None)
    images = {name: SimpleNamespace(digest=known[name], path=tmp_path / name) for name in ("sysa", "sysc")}
    seed = SimpleNamespace(image=SimpleNamespace(sha256=known["kernel"]))
    recipe = SimpleNamespace(name="relay", boot=boot)
    return cast("Build", SimpleNamespace(recipe=recipe, kernels={"seed": seed}, images=images))


def spec_of(tmp_path: Path, command_line: str = "console=ttyS0") -> MachineSpec:
    boot = DirectBoot(tmp_path / "kernel", tmp_path / "sysa", command_line)
    return MachineSpec(boot, Firmware.BIOS, tmp_path / "sysc", 1 << 30, "", Accelerator.TCG)


def identity(
    tmp_path: Path,
    stage: str = "sysb",
    plan: Plan = RELAY,
    *,
    command_line: str = "console=ttyS0",
    qemu: str = "7.2.22",
    **other: Any,
) -> dict[str, str | int]:
    hashes = {key: other.pop(key) for key in ("kernel", "sysa", "sysc") if key in other}
    spec = msgspec.structs.replace(spec_of(tmp_path, command_line), **other)
    with patch("harness.run.checkpoints.qemu_version", return_value=qemu):
        return checkpoints.identity(built(tmp_path, **hashes), spec, plan, stage)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def save(store: Store, known: dict[str, str | int], stage: str = "sysb") -> checkpoints.Checkpoint:
    def machine(directory: Path) -> None:
        (directory / "memory.zst").write_bytes(b"m" * 5000)
        (directory / "console.raw").write_bytes(b"c" * 200)

    boundary = msgspec.structs.replace(STATE.boundary, stage=stage)
    return checkpoints.save(store, known, msgspec.structs.replace(STATE, boundary=boundary), machine)


def test_what_was_saved_is_found_again(store: Store, tmp_path: Path) -> None:
    saved = save(store, identity(tmp_path))
    assert checkpoints.find(Store(store.cache), identity(tmp_path)) == saved
    assert saved.state == STATE
    assert saved.size >= 5200
    assert checkpoints.named(store, saved.id[:4]) == saved.id


def test_an_equal_one_stays(store: Store, tmp_path: Path) -> None:
    first = save(store, identity(tmp_path))

    def never(_: Path) -> None:
        pytest.fail("it is there already")

    later = msgspec.structs.replace(STATE, run="another")
    assert checkpoints.save(store, identity(tmp_path), later, never) == first


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"memory": 512 << 20}, "has 1.0 GiB of memory, and this run 512 MiB"),
        ({"cpu": "Nehalem"}, "has the processor model the default, and this run Nehalem"),
        ({"kernel": "k2"}, "has another seed kernel"),
        ({"sysa": "a2"}, "has another initramfs"),
        ({"sysc": "c2"}, "has another disk"),
        ({"disk": None}, "has another disk"),
        ({"command_line": "quiet"}, 'has the command line "console=ttyS0", and this run "quiet"'),
        ({"accelerator": Accelerator.KVM}, "ran under tcg, and this run is under kvm"),
    ],
)
def test_another_machine_is_refused_with_the_reason(
    store: Store, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    saved = save(store, identity(tmp_path))
    with pytest.raises(ConfigError) as caught:
        checkpoints.find(store, identity(tmp_path, **change))
    assert caught.value.message.startswith(f"no checkpoint at sysb fits this run: {saved.id} {reason}")
    assert "--checkpoint sysb" in caught.value.hint


def test_another_qemu_and_other_devices_are_refused(store: Store, tmp_path: Path) -> None:
    save(store, identity(tmp_path))
    now = identity(tmp_path, qemu="99.1.0")
    with pytest.raises(ConfigError, match=r"was saved by QEMU 7\.2\.22, and this is 99\.1\.0"):
        checkpoints.find(store, now)
    pc = load_architecture(DEFAULT)
    other_pc = msgspec.structs.replace(pc, qemu=msgspec.structs.replace(pc.qemu, machine=("-vga", "cirrus")))
    with patch("harness.machine.command.load_architecture", return_value=other_pc):
        now = identity(tmp_path)
    for other in (now, identity(tmp_path, bulk=True)):
        with pytest.raises(ConfigError, match="has other devices"):
            checkpoints.find(store, other)


def test_every_part_of_an_identity_has_a_reason(tmp_path: Path) -> None:
    known = identity(tmp_path)
    for key in known:
        changed = known | {key: 7 if key in {"memory", "format"} else "another"}
        [reason] = checkpoints.differences(known, changed)
        assert "{" not in reason


def test_the_plan_counts_as_far_as_it_leads_there(tmp_path: Path) -> None:
    def changed(name: str) -> Plan:
        stages = [
            msgspec.structs.replace(stage, begins="other", budget=1) if stage.name == name else stage
            for stage in RELAY.stages
        ]
        return msgspec.structs.replace(RELAY, stages=tuple(stages))

    assert identity(tmp_path, plan=changed("sysc")) == identity(tmp_path)
    assert identity(tmp_path, plan=changed("kexec")) != identity(tmp_path)
    assert identity(tmp_path, plan=changed("sysb")) != identity(tmp_path)


def test_none_at_this_stage(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at sysb; there are: none at all"):
        checkpoints.find(store, identity(tmp_path))
    saved = save(store, identity(tmp_path, "shell"), "shell")
    with pytest.raises(ConfigError, match=rf"at sysb; there are: shell \({saved.id}\)"):
        checkpoints.find(store, identity(tmp_path))


@pytest.mark.parametrize("name", ["memory.zst", "console.raw", "state.json"])
def test_damage_is_found_before_use(store: Store, tmp_path: Path, name: str) -> None:
    saved = save(store, identity(tmp_path))
    file = saved.path / name
    status = file.stat()
    data = bytearray(file.read_bytes())
    data[data.index(b"m" if name == "memory.zst" else b"c") + 1] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a disk that forgets would
    with pytest.raises(InfraError, match=f"{saved.id} is damaged: {name} has another content") as caught:
        checkpoints.find(store, identity(tmp_path))
    assert f"checkpoint rm {saved.id}" in caught.value.hint


def test_cut_off(store: Store, tmp_path: Path) -> None:
    saved = save(store, identity(tmp_path))
    (saved.path / "memory.zst").write_bytes(b"m" * 100)
    with pytest.raises(InfraError, match=r"memory\.zst has 100 bytes, not 5000"):
        checkpoints.find(store, identity(tmp_path))


def test_a_failed_save_leaves_nothing(store: Store, tmp_path: Path) -> None:
    def machine(directory: Path) -> None:
        (directory / "memory.zst").write_bytes(b"half")
        raise InfraError("QEMU is gone")

    with pytest.raises(InfraError, match="QEMU is gone"):
        checkpoints.save(store, identity(tmp_path), STATE, machine)
    assert checkpoints.saved(store) == []
    assert [path for path in store.entries.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (StageRange(start="sysd"), "has no stage 'sysd'"),
        (StageRange(save=("sysb", "sysd")), "has no stage 'sysd'"),
        (StageRange(until="sysa"), "sysa begins with the machine"),
        (StageRange(start="sysc", save=("sysb",)), "a run from sysc does not come to the beginning of sysb"),
        (StageRange(start="sysc", until="sysc"), "a run from sysc does not come to the beginning of sysc"),
        (StageRange(until="sysb", save=("sysc",)), "a run until sysb does not come to the beginning of sysc"),
    ],
)
def test_slices_that_cannot_be(part: StageRange, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        part.check(RELAY)


def test_slices_that_can_be(tmp_path: Path) -> None:
    StageRange("sysb", ("sysc", "gcc"), "gcc").check(RELAY)
    build = BuildOptions(cache=tmp_path)
    request = RunRequest(build=build, runs=tmp_path, firmware=Firmware.UEFI)
    request.check(find_kind("qemu"))
    with pytest.raises(ConfigError, match="UEFI is not saved"):
        msgspec.structs.replace(request, part=StageRange(until="sysc")).check(find_kind("qemu"))


# Runs on fake machines: the relay's console up to a stage, and the rest of it in another machine.


def follow(
    machine: FakeMachine,
    directory: Path,
    plan: Plan,
    listener: Audience,
    *,
    earlier: Path | None = None,
    resumed: Boundary | None = None,
    reached: Callable[[Boundary], bool] | None = None,
) -> RunResult:
    directory.mkdir()
    with (
        patch("harness.stages.observer._POLL", 0.02),
        machine,
        Recorder(
            machine.transport, directory / "console.raw", directory / "console.idx", earlier=earlier
        ) as recorder,
    ):
        return Runner(
            plan,
            machine,
            recorder,
            accelerator="tcg",
            facts={"expected_second_kernel": "x"},
            listener=listener,
            resumed=resumed,
            reached=reached,
        ).follow()


def plays(data: bytes) -> Callable[[Guest], End | None]:
    def script(guest: Guest) -> End:
        guest.play(data)
        return POWERED_OFF

    return script


def waits_after(data: bytes) -> Callable[[Guest], End | None]:
    def script(guest: Guest) -> None:
        guest.play(data)

    return script


@pytest.mark.parametrize("stage", ["kexec", "sysb", "switch_root", "sysc", "shell"])
@pytest.mark.parametrize("cut", [-3, 0, 7], ids=["in the line", "behind it", "in the next line"])
def test_a_resumed_run_sees_what_a_whole_one_sees(tmp_path: Path, stage: str, cut: int) -> None:
    plan, log = relay_without_checks(), recorded("good")
    whole_audience, audience = Audience(), Audience()
    boundaries: dict[str, Boundary] = {}

    def note(boundary: Boundary) -> bool:
        boundaries[boundary.stage] = boundary
        return False

    whole = follow(FakeMachine(plays(log)), tmp_path / "whole", plan, whole_audience, reached=note)
    # The guest may have been paused anywhere near the line with which the stage begins.
    paused = len(recorded_until(stage)) + cut
    (tmp_path / "earlier").write_bytes(log[:paused])
    boundary = boundaries.pop(stage)
    later = [name for name in boundaries if name not in {one.name for one in boundary.stages}]
    boundaries.clear()
    result = follow(
        FakeMachine(plays(log[paused:])),
        tmp_path / "resumed",
        plan,
        audience,
        earlier=tmp_path / "earlier",
        resumed=boundary,
        reached=note,
    )
    assert list(boundaries) == later, "where it begins, nothing is to be saved"
    assert result.verdict.outcome == whole.verdict.outcome == Outcome.PASS
    assert result.verdict == whole.verdict
    assert (tmp_path / "resumed/console.raw").read_bytes() == log
    assert audience.lines == whole_audience.lines
    names = [one.name for one in plan.stages]
    before = names.index(stage)
    assert [one.status for one in result.stages] == [StageStatus.RESUMED] * before + [StageStatus.PASSED] * (
        len(names) - before
    )
    assert [(one.name, one.start, one.end) for one in result.stages] == [
        (one.name, one.start, one.end) for one in whole.stages
    ]
    assert all(one.wall == one.cpu == 0 for one in result.stages[:before])
    assert result.facts.keys() == whole.facts.keys()
    assert result.facts["nonce"] != whole.facts["nonce"], "a nonce is of one run"
    same = {key for key in whole.facts if not key.startswith("nonce")}
    assert {key: result.facts[key] for key in same} == {key: whole.facts[key] for key in same}
    began = [event for event in audience.events if isinstance(event, StageBegan)]
    assert began == [event for event in whole_audience.events if isinstance(event, StageBegan)]


def test_a_failure_before_the_checkpoint_is_not_of_the_resumed_run(tmp_path: Path) -> None:
    plan, log = relay_without_checks(), recorded("good")
    offset = log.index(b"relay: sysc: up")
    (tmp_path / "earlier").write_bytes(b"relay: sysb: failed: x\r\n".rjust(offset, b".") + log[offset:])
    stages = tuple(StageResult(stage.name, StageStatus.PASSED) for stage in plan.stages[:4])
    result = follow(
        FakeMachine(plays(b"")),
        tmp_path / "resumed",
        plan,
        Audience(),
        earlier=tmp_path / "earlier",
        resumed=Boundary("sysc", offset, {}, stages),
    )
    assert result.verdict.outcome == Outcome.PASS


def test_a_resumed_run_fails_like_any(tmp_path: Path) -> None:
    plan, log = relay_without_checks(), recorded_until("sysc")
    (tmp_path / "earlier").write_bytes(log)
    stages = tuple(StageResult(stage.name, StageStatus.PASSED) for stage in plan.stages[:4])
    result = follow(
        FakeMachine(plays(b"relay: sysc: failed: no more\r\n")),
        tmp_path / "resumed",
        plan,
        Audience(),
        earlier=tmp_path / "earlier",
        resumed=Boundary("sysc", log.index(b"relay: sysc: up"), {}, stages),
    )
    assert result.verdict.outcome == Outcome.FAIL
    assert result.verdict.stage == "sysc"
    [evidence] = result.verdict.evidence
    assert evidence.offset == len(log)


def test_until_stops_where_the_stage_begins(tmp_path: Path) -> None:
    audience = Audience()
    machine = FakeMachine(waits_after(recorded_until("sysb")))
    result = follow(
        machine,
        tmp_path / "run",
        relay_without_checks(),
        audience,
        reached=lambda boundary: boundary.stage == "sysb",
    )
    assert result.verdict.outcome == Outcome.PASS
    assert "every stage before sysb passed" in result.verdict.reason
    statuses = {stage.name: stage.status for stage in result.stages}
    assert statuses["kexec"] == StageStatus.PASSED
    assert {statuses[name] for name in ("sysb", "switch_root", "sysc", "shell")} == {StageStatus.NOT_REACHED}


def test_time_in_which_the_machine_is_saved_is_nobodys_budget(tmp_path: Path) -> None:
    log = recorded("good")
    sysb = len(recorded_until("sysb"))

    def script(guest: Guest) -> End:
        guest.play(log[:sysb])
        guest.settle()
        guest.play(log[sysb:])
        return POWERED_OFF

    machine = FakeMachine(script)

    def saving(boundary: Boundary) -> bool:
        if boundary.stage == "sysb":
            machine.clock.advance(10_000)
        return False

    result = follow(machine, tmp_path / "run", relay_without_checks(), Audience(), reached=saving)
    assert result.verdict.outcome == Outcome.PASS


def test_all_that_has_arrived_is_recorded(tmp_path: Path) -> None:
    machine = FakeMachine(lambda _: None)
    with machine, Recorder(machine.transport, tmp_path / "raw", tmp_path / "idx") as recorder:
        for size in (1, 999, 5000, 100_000):
            before = recorder.size
            machine.guest.play(bytes(size))
            recorder.settle()
            assert recorder.size == before + size
            assert (tmp_path / "raw").stat().st_size == before + size


def test_what_was_read_and_is_not_recorded_yet_is_waited_for(tmp_path: Path) -> None:
    record = Recorder._record

    def slowly(recorder: Recorder, data: bytes, seconds: float) -> None:
        time.sleep(0.2)
        record(recorder, data, seconds)

    machine = FakeMachine(lambda _: None)
    with (
        patch.object(Recorder, "_record", slowly),
        machine,
        Recorder(machine.transport, tmp_path / "raw", tmp_path / "idx") as recorder,
    ):
        machine.guest.play(b"last words")
        recorder.settle()
        assert recorder.size == len("last words")


def test_an_earlier_console_came_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "earlier").write_bytes(b"x" * 70_000)
    machine = FakeMachine(lambda _: None)
    with (
        machine,
        Recorder(
            machine.transport, tmp_path / "raw", tmp_path / "idx", earlier=tmp_path / "earlier"
        ) as recorder,
    ):
        while recorder.seconds < 0.01:  # what comes within a millisecond shares an entry of the index
            pass
        machine.guest.play(b"new")
        while recorder.size < 70_003:
            pass
        assert recorder.seconds_at(69_999) == 0.0
        assert recorder.seconds_at(70_000) > 0.0
    assert (tmp_path / "raw").read_bytes() == b"x" * 70_000 + b"new"


def test_progress_says_what_was_resumed_and_saved() -> None:
    text = StringIO()
    progress = TerminalProgress(Console(file=text, width=100))
    progress.event(StageBegan("sysa", 0))
    progress.event(StageEnded(StageResult("sysa", StageStatus.RESUMED)))
    progress.event(Saved("0123456789ab", "sysb", 0.4, 50 << 20, new=True))
    progress.event(Saved("0123456789ab", "sysc", 0.0, 50 << 20, new=False))
    progress.event(StageEnded(StageResult("gcc", StageStatus.NOT_REACHED)))
    lines = [line.split() for line in text.getvalue().splitlines()]
    assert lines[0] == ["↻", "sysa", "resumed"]
    assert lines[1] == ["✓", "saved", "at", "sysb", "50.0", "MiB", "in", "0.4", "s"]
    assert lines[2] == ["✓", "saved", "at", "sysc", "was", "there", "already"]
    assert lines[3] == ["·", "gcc", "the", "run", "stops", "here"]


def harness(store: Store, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(program(), ["checkpoint", *words, "--cache", str(store.cache)])
    if isinstance(result.exception, ConfigError):
        return 2, result.exception.message
    return result.exit_code, result.stdout


def test_commands(store: Store, tmp_path: Path) -> None:
    first = save(store, identity(tmp_path))
    second = save(store, identity(tmp_path, "shell"), "shell")
    code, text = harness(store, "ls", "--json")
    listed = json.loads(text)["checkpoints"]
    assert code == 0
    assert {one["id"] for one in listed} == {first.id, second.id}
    code, text = harness(store, "ls")
    assert f"{first.id}  relay   sysb" in text
    assert harness(store, "verify")[0] == 0
    (second.path / "memory.zst").write_bytes(b"")
    code, text = harness(store, "verify")
    assert code == Outcome.FAIL.exit_code
    assert f"{first.id} is as it was saved" in text
    assert f"{second.id} is damaged: memory.zst has 0 bytes" in text
    assert harness(store, "verify", first.id)[0] == 0
    assert harness(store, "rm", "none") == (2, "there is no checkpoint that begins with 'none'")
    assert harness(store, "rm")[0] == 2
    code, text = harness(store, "rm", second.id)
    assert (code, f"{second.id} is in use, and stays" in text) == (1, True), "this very process has saved it"
    (second.path / "state.json").write_bytes(b"")  # such a one must go away, too
    for uses in store.uses.iterdir():
        uses.unlink()
    code, text = harness(store, "rm", second.id)
    assert (code, f"{second.id} is removed" in text) == (0, True)
    assert [one.id for one in checkpoints.saved(store)] == [first.id]
