"""Budgets, ends and shells: how a run goes on, and how it does not."""

from __future__ import annotations

import re
import resource
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

import msgspec
import pytest

from harness.console.recorder import Recorder
from harness.console.transport import SocketTransport
from harness.core.errors import InfraError, Interrupted
from harness.core.outcome import Outcome
from harness.stages import events
from harness.stages.plan import Check, Failure, Plan, Stage
from harness.stages.runner import Runner
from harness.stages.verdict import Verdict
from testcases.support.machines import (
    POWERED_OFF,
    PROMPT,
    RELAY,
    RESET,
    Audience,
    FakeMachine,
    follow,
    recorded,
    recorded_until,
    relay_without_checks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.console.lines import Block
    from harness.machine.protocol import End
    from harness.stages.events import Event
    from harness.stages.verdict import RunResult
    from testcases.support.machines import Guest, Script

GOOD = recorded("good")
WATCHED = relay_without_checks()
REST = GOOD[len(recorded_until("sysa")) :]


def stage(name: str, **settings: object) -> Stage:
    known: dict[str, object] = {"title": name, "budget": 120.0, "silence": 60.0, "hint": f"mend {name}"}
    return msgspec.convert({"name": name, **known, **settings}, Stage)


def check(run: str, **settings: object) -> Check:
    return msgspec.convert({"name": "it", "proves": "that it works", "run": run, **settings}, Check)


def shell_plan(*checks: Check, failures: tuple[Failure, ...] = RELAY.failures) -> Plan:
    """A prompt, checks, and the end."""
    begin = stage("boot")
    shell = stage("shell", begins="^bash-[0-9.]+# ?$", prompt=True, checks=checks)
    off = stage("power-off", types="echo o >/proc/sysrq-trigger")
    return Plan("shell", (begin, shell, off), failures, "guest-shutdown", {})


# Budgets.


def test_silence_budget_is_the_guests_time(tmp_path: Path) -> None:
    """A guest that gets no processor is not declared hung, however long that takes."""
    plan = msgspec.structs.replace(
        WATCHED, stages=tuple(msgspec.structs.replace(s, silence=0.5) for s in WATCHED.stages)
    )

    def script(guest: Guest) -> End:
        guest.play(recorded_until("sysa"))
        guest.settle()
        guest.wait(0.7)
        guest.play(REST)
        return POWERED_OFF

    assert follow(plan, FakeMachine(script, rate=0), tmp_path).verdict.outcome == Outcome.PASS


def test_guest_that_gets_its_time_and_says_nothing_hangs(tmp_path: Path) -> None:
    plan = msgspec.structs.replace(
        WATCHED, stages=tuple(msgspec.structs.replace(s, silence=0.5) for s in WATCHED.stages)
    )
    machine = FakeMachine(lambda guest: guest.play(recorded_until("sysa")))
    verdict = follow(plan, machine, tmp_path).verdict
    assert (verdict.outcome, verdict.stage, verdict.hint) == (Outcome.HANG, "sysa", plan.stages[0].hint)


@pytest.mark.parametrize(
    ("accelerator", "patience", "silence", "outcome"),
    [
        ("tcg", 1.0, 40, Outcome.PASS),
        ("tcg", 1.0, 50, Outcome.HANG),
        ("kvm", 1.0, 20, Outcome.PASS),
        ("kvm", 1.0, 25, Outcome.HANG),
        ("kvm", 2.0, 40, Outcome.PASS),
        ("kvm", 2.0, 50, Outcome.HANG),
        ("tcg", 0.1, 4, Outcome.PASS),
        ("tcg", 0.1, 5, Outcome.HANG),
    ],
)
def test_budgets_scale_with_accelerator_and_patience(
    tmp_path: Path, accelerator: str, patience: float, silence: int, outcome: Outcome
) -> None:
    assert (RELAY.stages[0].silence, RELAY.scale) == (45, {"kvm": 0.5})

    def script(guest: Guest) -> End | None:
        guest.play(recorded_until("sysa"))
        guest.settle()
        guest.clock.advance(silence)
        guest.settle()
        if outcome == Outcome.HANG:
            return None
        guest.play(REST)
        return POWERED_OFF

    machine = FakeMachine(script, rate=0)
    result = follow(WATCHED, machine, tmp_path, accelerator=accelerator, patience=patience)
    assert result.verdict.outcome == outcome


@pytest.mark.parametrize(("away", "outcome"), [(0.05, Outcome.PASS), (1000, Outcome.TIMEOUT)])
def test_time_in_which_we_are_stopped_is_nobodys_budget(
    tmp_path: Path, away: float, outcome: Outcome
) -> None:
    """As by Ctrl-Z: the guest's time goes on, and nobody takes what it says."""

    def script(guest: Guest) -> End:
        guest.play(recorded_until("sysa"))
        guest.settle()
        guest.say("stop now")
        guest.settle()
        guest.play(REST)
        return POWERED_OFF

    class Stopped(Audience):
        def heard(self, block: Block) -> None:
            super().heard(block)
            if self.lines[-1][0] == "stop now":
                machine.clock.advance(10_000)
                time.sleep(0.1)

    machine = FakeMachine(script, rate=0)
    with patch("harness.stages.stage_state._AWAY", away):
        verdict = follow(WATCHED, machine, tmp_path, listener=Stopped()).verdict
    assert verdict.outcome == outcome


def test_guest_that_talks_for_ever_times_out(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.play(recorded_until("switch_root"))
        guest.hurry(200)
        while not guest.wait(0):
            guest.say("still at it")
            guest.settle()

    verdict = follow(RELAY, FakeMachine(script), tmp_path).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.TIMEOUT, "switch_root")
    assert re.match(r"it did not end within \d+ s", verdict.reason)
    assert verdict.hint == RELAY.stages[3].hint


def test_budget_of_a_stage_starts_with_it(tmp_path: Path) -> None:
    def script(guest: Guest) -> End:
        log = b""
        for name in ("sysa", "kexec", "sysb", "switch_root", "sysc", "shell"):
            guest.clock.advance(25)
            guest.play(recorded_until(name)[len(log) :])
            log = recorded_until(name)
            guest.settle()
            guest.clock.advance(25)
            guest.settle()
        return POWERED_OFF

    assert follow(WATCHED, FakeMachine(script, rate=0), tmp_path).verdict.outcome == Outcome.PASS


# Last words.


def test_failed_guest_may_explain_itself_for_three_seconds(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.play(recorded_until("sysa"))
        guest.say("relay: sysa: failed: kexec --load ended with status 255")
        guest.settle()
        guest.clock.advance(2.9)
        guest.settle()
        guest.say("Cannot determine the file type of /sysb/vmlinuz")
        guest.settle()
        guest.clock.advance(0.2)

    result = follow(RELAY, FakeMachine(script, rate=0), tmp_path)
    assert result.verdict.reason.startswith("/sysb/vmlinuz, which kexec was to load, is no kernel")
    assert len(result.verdict.evidence) == 2


def test_failed_guest_is_not_waited_for_any_longer(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.play(recorded_until("sysa"))
        guest.say("relay: sysa: failed: nobody knows why")
        guest.settle()
        guest.clock.advance(3.1)

    verdict = follow(RELAY, FakeMachine(script, rate=0), tmp_path).verdict
    assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, "/init of sysa gave up: nobody knows why")


def test_clue_explains_silence(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.play(recorded_until("sysa"))
        guest.say("Cannot determine the file type of /sysb/vmlinuz")
        guest.hurry()

    verdict = follow(RELAY, FakeMachine(script), tmp_path).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "sysa")
    assert "is no kernel" in verdict.reason


# Markers.


def test_begin_of_a_stage_is_no_note_and_no_failure_of_the_one_before(tmp_path: Path) -> None:
    anything = Failure(pattern="^Linux version 2", outcome=Outcome.FAIL, reason="two", hint="-")
    first = stage("first", notes=["^Linux version (?P<seed>\\S+)", "^(?P<seed>ready)"])
    second = stage("second", begins="^Linux version (?P<seed_of_second>2\\S*)")
    plan = Plan("plan", (first, second), (anything,), "guest-shutdown", {})

    def script(guest: Guest) -> End:
        guest.say("[    0.000000] Linux version 1.0", "[    0.000000] Linux version 2.0", "ready")
        return POWERED_OFF

    result = follow(plan, FakeMachine(script), tmp_path)
    assert result.verdict.outcome == Outcome.PASS
    assert (result.facts["seed"], result.facts["seed_of_second"]) == ("1.0", "2.0")


def test_line_that_is_a_note_and_a_failure_fails(tmp_path: Path) -> None:
    bad = Failure(pattern="^ready (?P<what>.*)", outcome=Outcome.FAIL, reason="not {what}", hint="-")
    plan = Plan("plan", (stage("first", notes=["^ready (?P<note>.*)"]),), (bad,), "guest-shutdown", {})

    def script(guest: Guest) -> End:
        guest.say("ready now")
        return POWERED_OFF

    assert follow(plan, FakeMachine(script), tmp_path).verdict.reason == "not now"


# The whole relay, with a bash.


def boot(wrappers: Path, log: bytes = GOOD) -> Callable[[Guest], End]:
    def script(guest: Guest) -> End:
        guest.play(log[: log.rindex(PROMPT.encode())])
        guest.bash(wrappers)
        guest.say("[   11.498354] sysrq: Power Off", "[   11.501785] reboot: Power down")
        return POWERED_OFF

    return script


# Small shells.


def talk(guest: Guest, seconds: float) -> None:
    """Say something every half second of the guest's time."""
    for number in range(round(seconds * 2)):
        guest.say(f"word {number}")
        guest.settle()
        guest.clock.advance(0.5)


@pytest.mark.parametrize(
    ("progress", "limit", "outcome"),
    [
        ((), 0.0, Outcome.TIMEOUT),  # talking is no reason to wait where the plan does not say so
        (("output",), 0.0, Outcome.TIMEOUT),  # the budget is the limit
        (("output",), 2.0, Outcome.TIMEOUT),
        (("output",), 60.0, Outcome.PASS),
    ],
)
def test_output_lets_a_used_budget_go_on_up_to_the_limit(
    tmp_path: Path, progress: tuple[str, ...], limit: float, outcome: Outcome
) -> None:
    busy = stage("busy", budget=1.0, silence=0.8, progress=progress, limit=limit)
    plan = Plan("talk", (busy,), (), "guest-shutdown", {})

    def script(guest: Guest) -> End:
        guest.clock.run(0)
        talk(guest, 4.0)
        return POWERED_OFF

    verdict = follow(plan, FakeMachine(script), tmp_path).verdict
    assert verdict.outcome == outcome, verdict


def test_a_used_budget_is_not_extended_by_what_was_said_before(tmp_path: Path) -> None:
    busy = stage("busy", budget=1.0, silence=5.0, progress=("output",), limit=60.0)
    plan = Plan("talk", (busy,), (), "guest-shutdown", {})

    def script(guest: Guest) -> None:
        guest.clock.run(0)
        talk(guest, 2.0)  # extends it by 5 seconds, once
        while not guest.wait(0):
            guest.settle()
            guest.clock.advance(1)

    verdict = follow(plan, FakeMachine(script), tmp_path).verdict
    assert verdict.outcome in {Outcome.HANG, Outcome.TIMEOUT}
    assert (found := re.search(r"(\d+) s", verdict.reason))
    assert 5 <= int(found[1]) <= 9


def test_prompt_that_nobody_reads_at_hangs(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.play(GOOD)
        guest.hurry(200)

    verdict = follow(RELAY, FakeMachine(script), tmp_path).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "shell")
    assert "did not come back from answering" in verdict.reason
    assert verdict.hint == RELAY.stages[5].hint


class SlowToEnd(SocketTransport):
    """A console whose end is read a little later than it can be felt by typing."""

    def read(self, limit: int) -> bytes | None:
        data = super().read(limit)
        if data == b"":
            time.sleep(0.015)
        return data


class SlowlyEndingMachine(FakeMachine):
    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.transport = SlowToEnd(self._ours)


def test_end_while_we_type_is_the_machines_end(tmp_path: Path) -> None:
    def script(guest: Guest) -> End:
        guest.play(PROMPT.encode())
        return RESET

    for number in range(5):
        directory = tmp_path / str(number)
        directory.mkdir()
        verdict = follow(shell_plan(check("true")), SlowlyEndingMachine(script), directory).verdict
        assert (verdict.outcome, verdict.stage) == (Outcome.PANIC, "shell")


def test_wrong_end_in_the_last_stage_does_not_pass(tmp_path: Path) -> None:
    def script(guest: Guest) -> End:
        guest.play(GOOD)
        return RESET

    verdict = follow(WATCHED, FakeMachine(script), tmp_path).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.PANIC, "shell")


def test_expected_panic_at_the_end_passes_where_the_plan_says_so(tmp_path: Path) -> None:
    def script(guest: Guest) -> End:
        guest.play(GOOD)
        return RESET

    assert (
        follow(
            msgspec.structs.replace(WATCHED, end="guest-reset"), FakeMachine(script), tmp_path
        ).verdict.outcome
        == "PASS"
    )


# The host.


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_the_hosts_failure(tmp_path: Path) -> None:
    def script(guest: Guest) -> End:
        guest.play(GOOD)
        return POWERED_OFF

    with file_size_limit(20_000):
        verdict = follow(WATCHED, FakeMachine(script), tmp_path).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.INFRA, "sysa")
    assert "cannot record the console" in verdict.reason
    assert str(tmp_path) in verdict.reason
    assert "space" in verdict.hint


@pytest.mark.parametrize("log", [GOOD, b"Linux version 6.1.0\r\nKernel panic - not syncing: no\r\n"])
def test_disk_that_is_full_only_at_the_end(tmp_path: Path, log: bytes) -> None:
    """Nothing but a PASS gives way to it: what the guest did wrong is worth more to know."""

    def script(guest: Guest) -> End:
        guest.play(log)
        return POWERED_OFF

    last = WATCHED.stages[-1].name if log == GOOD else "sysa"
    told: list[Event] = []

    def full(now: Event) -> None:
        if isinstance(now, events.StageEnded) and now.result.name == last and not told:
            told.append(now)
            raise InfraError("cannot write the run record: No space left on device")

    result = follow(WATCHED, FakeMachine(script), tmp_path, listener=Audience(on_event=full))
    assert told
    assert result.verdict.stage == last
    assert result.verdict.outcome == (Outcome.INFRA if log == GOOD else Outcome.PANIC)
    assert ("No space left" in result.verdict.reason) == (log == GOOD)


class StopHere:
    """Raises an interruption when the nth event comes."""

    def __init__(self, number: int) -> None:
        self._left = number

    def __call__(self, _event: Event) -> None:
        self._left -= 1
        if self._left == 0:
            raise Interrupted("stopped by SIGINT")


def interrupted_at(tmp_path: Path, number: int) -> RunResult:
    def script(guest: Guest) -> End:
        guest.play(GOOD)
        return POWERED_OFF

    machine = FakeMachine(script)
    with (
        machine,
        Recorder(machine.transport, tmp_path / "raw", tmp_path / "index") as recorder,
    ):
        listener = Audience(on_event=StopHere(number))
        runner = Runner(WATCHED, machine, recorder, accelerator="tcg", facts={}, listener=listener)
        with pytest.raises(Interrupted):
            runner.follow()
        return runner.result(Verdict(Outcome.INTERRUPTED, runner.stage, "interrupted"))


# StageBegan, Seen twice, StageEnded, StageBegan, StageEnded, …
@pytest.mark.parametrize("number", range(1, 16))
def test_interrupted_run_says_how_far_it_came(tmp_path: Path, number: int) -> None:
    result = interrupted_at(tmp_path, number)
    assert result.verdict.outcome == Outcome.INTERRUPTED
    assert [part.name for part in result.stages] == [s.name for s in WATCHED.stages]
    order = {"passed": 0, "failed": 1, "not reached": 2}
    statuses = [order[part.status] for part in result.stages]
    assert statuses == sorted(statuses)
    assert statuses.count(1) <= 1
    assert result.verdict.stage in {part.name for part in result.stages if part.status != "not reached"}


def test_interrupted_run_knows_its_facts(tmp_path: Path) -> None:
    assert interrupted_at(tmp_path, 4).facts["seed_kernel"] == "6.1.0-50-686"


# Stages of which nothing comes over the console by design.


@pytest.mark.parametrize(("unheard", "outcome"), [(0.0, Outcome.HANG), (5.0, Outcome.PASS)])
def test_silence_by_design_is_no_hang(tmp_path: Path, unheard: float, outcome: Outcome) -> None:
    stages = (stage("firmware", silence=0.3, unheard=unheard), stage("system", begins="^up$"))
    plan = Plan("dark", stages, (), "guest-shutdown", {})

    def script(guest: Guest) -> End:
        guest.settle()
        guest.clock.advance(1.0)
        guest.settle()
        guest.say("up")
        return POWERED_OFF

    assert follow(plan, FakeMachine(script, rate=0), tmp_path).verdict.outcome == outcome


def test_silence_after_it_is_one(tmp_path: Path) -> None:
    stages = (stage("firmware", silence=0.3, unheard=0.5), stage("system", begins="^up$"))
    plan = Plan("dark", stages, (), "guest-shutdown", {})
    assert plan.unheard == 0.5
    verdict = follow(plan, FakeMachine(lambda _: None), tmp_path).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "firmware")


def test_time_ends_a_stage_that_no_line_ends(tmp_path: Path) -> None:
    stages = (stage("firmware", unheard=0.6), stage("system", silence=0.4))
    plan = Plan("dark", stages, (), "guest-shutdown", {})

    def script(guest: Guest) -> End:
        guest.settle()
        guest.clock.advance(0.7)
        guest.settle()
        guest.say("up")
        return POWERED_OFF

    result = follow(plan, FakeMachine(script, rate=0), tmp_path)
    assert result.verdict.outcome == Outcome.PASS
    assert [part.status for part in result.stages] == ["passed", "passed"]
