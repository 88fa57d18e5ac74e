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
from harness.stages.silent import from_power_on
from harness.stages.verdict import Verdict
from testcases.support.machines import (
    KILLED,
    POWERED_OFF,
    PROMPT,
    RELAY,
    RESET,
    Audience,
    FakeMachine,
    follow,
    host_facts,
    programs,
    recorded,
    recorded_until,
    relay_on_this_host,
    relay_without_checks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.console.lines import Block
    from harness.machine.protocol import End
    from harness.stages.events import Event
    from harness.stages.verdict import RunResult
    from testcases.support.machines import Guest

GOOD = recorded("good")
WATCHED = relay_without_checks()
REST = GOOD[len(recorded_until("sysa")) :]
PANIC = "[   20.000000] Kernel panic - not syncing: Fatal exception in interrupt"


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
        guest.clock.run(0)
        guest.wait(0.7)
        guest.play(REST)
        return POWERED_OFF

    assert follow(plan, FakeMachine(script), tmp_path).verdict.outcome == Outcome.PASS


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
    with patch("harness.stages.clock._AWAY", away):
        verdict = follow(WATCHED, machine, tmp_path, listener=Stopped()).verdict
    assert verdict.outcome == outcome


def test_guest_that_talks_for_ever_times_out(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.play(recorded_until("switch_root"))
        guest.hurry(200)
        while not guest.wait(0.01):
            guest.say("still at it")

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


def test_relay_passes_with_all_stages_and_checks(tmp_path: Path) -> None:
    audience = Audience()
    result = follow(
        relay_on_this_host(tmp_path),
        FakeMachine(boot(programs(tmp_path / "bin"))),
        tmp_path,
        facts=host_facts(),
        listener=audience,
    )
    assert result.verdict == Verdict(Outcome.PASS, "power-off", "every stage and check of the plan passed")
    assert [(part.name, part.status) for part in result.stages] == [(s.name, "passed") for s in RELAY.stages]
    assert [(part.name, part.passed) for part in result.checks] == [
        (part.name, True) for s in RELAY.stages for part in s.checks
    ]
    assert result.facts["gcc"] == "12.2.0"
    assert result.facts["gcc_target"] == "i686-linux-gnu"
    assert result.facts["root_disk"] == "/dev/sda"
    answers = {part.name: part.answer for part in result.checks}
    assert answers["exit-status"] == "exit status 42"
    assert answers["floating-point"] == f"{result.facts['nonce_plus_one']}.643934567"
    kinds = [type(event) for event in audience.events]
    assert kinds.count(events.StageBegan) == kinds.count(events.StageEnded) == len(RELAY.stages)
    assert kinds.count(events.CheckBegan) == kinds.count(events.CheckEnded) == len(result.checks)
    assert kinds[-1] == events.StageEnded
    raw = (tmp_path / "console.raw").read_bytes()
    assert sum(part.end - part.start for part in result.stages) == len(raw)
    assert b"".join(text.encode() for text, _ in audience.lines[:3]) in raw.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    ("program", "failing", "got"),
    [
        ({"uname": "echo 6.1.0-50-686"}, "second-kernel", "an answer that does not match"),
        ({"gcc": "echo gcc: not found >&2; exit 127"}, "version", "exit status 127"),
    ],
)
def test_relay_fails_with_the_check_that_fails(
    tmp_path: Path, program: dict[str, str], failing: str, got: str
) -> None:
    machine = FakeMachine(boot(programs(tmp_path / "bin", **program)))
    result = follow(relay_on_this_host(tmp_path), machine, tmp_path, facts=host_facts())
    verdict = result.verdict
    (found,) = [s.name for s in RELAY.stages for part in s.checks if part.name == failing]
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, found)
    assert verdict.reason.startswith(f"check {failing} (")
    assert got in verdict.reason
    assert verdict.hint
    assert (result.checks[-1].name, result.checks[-1].passed) == (failing, False)
    assert result.stages[-1].status == "not reached"


# Small shells.


def run_shell(tmp_path: Path, plan: Plan, **settings: object) -> RunResult:
    def script(guest: Guest) -> End:
        guest.say("up")
        guest.bash(programs(tmp_path / "bin"))
        return POWERED_OFF

    return follow(plan, FakeMachine(script), tmp_path, **settings)  # type: ignore[arg-type]


def test_wrong_exit_status_names_the_check(tmp_path: Path) -> None:
    verdict = run_shell(tmp_path, shell_plan(check("echo why; exit 3"))).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "shell")
    assert verdict.reason == "check it (that it works) got exit status 3"
    assert "echo why" in verdict.hint
    (evidence,) = verdict.evidence
    assert evidence.text == "why"
    raw = (tmp_path / "console.raw").read_bytes()
    assert evidence.offset is not None
    assert b"@" in raw[evidence.offset :]


def test_wrong_answer_names_the_check(tmp_path: Path) -> None:
    verdict = run_shell(tmp_path, shell_plan(check("echo 41", output="42"))).verdict
    assert verdict.outcome == Outcome.FAIL
    assert verdict.reason == "check it (that it works) got an answer that does not match '42'"


def test_answer_must_match_as_a_whole(tmp_path: Path) -> None:
    assert run_shell(tmp_path, shell_plan(check("echo 421", output="42"))).verdict.outcome == Outcome.FAIL


def test_facts_in_answers_are_no_patterns(tmp_path: Path) -> None:
    plan = shell_plan(check("echo xay", output="x{dot}y"))
    assert run_shell(tmp_path, plan, facts={"dot": "."}).verdict.outcome == Outcome.FAIL


def test_answers_of_checks_are_facts_of_later_ones(tmp_path: Path) -> None:
    first = check("echo is 7", output="is (?P<seven>\\d)")
    second = check("echo $(({seven} + ${#HOME} * 0)) {unknown}", output="{seven} {unknown}")
    result = run_shell(tmp_path, shell_plan(first, second))
    assert result.verdict.outcome == Outcome.PASS
    assert result.facts["seven"] == "7"
    assert [part.answer for part in result.checks] == ["7", "7 {unknown}"]


def test_what_commands_say_and_what_is_typed_is_no_failure(tmp_path: Path) -> None:
    words = (
        "relay: sysa: failed: no; Kernel panic - not syncing: no; kexec_load failed: Operation not permitted"
        "; System is deadlocked on memory; Failed to execute /init (error -8)"
    )
    echo = "".join(f"echo '{word}'\n" for word in (PANIC, words, *words.split("; ")))
    plan = shell_plan(check(echo, output="(?s).*panic.*"))
    result = run_shell(tmp_path, plan)
    assert result.verdict.outcome == Outcome.PASS


def test_person_at_the_shell_uses_no_budget(tmp_path: Path) -> None:
    offsets = []

    def script(guest: Guest) -> End:
        guest.bash(programs(tmp_path / "bin"))
        guest.settle()
        return POWERED_OFF

    machine = FakeMachine(script)

    def use(offset: int) -> None:
        offsets.append(offset)
        machine.clock.advance(10_000)

    person = Somebody(use)
    result = follow(shell_plan(check("true")), machine, tmp_path, person=person)
    assert result.verdict.outcome == Outcome.PASS
    assert len(offsets) == 1
    assert person.told == ["watch", "listen", "listen", "shell", "listen", "watch"]


def test_person_has_the_last_shell_of_a_plan_that_ends_with_a_line(tmp_path: Path) -> None:
    """Nothing is typed at the end of such a plan; the shell is a person's when its checks are done."""
    shell = stage("shell", begins="^bash-[0-9.]+# ?$", prompt=True, checks=(check("true"),))
    plan = Plan("line", (stage("boot"), shell), (), "line", {}, end_line="^the end$")

    machine = FakeMachine(lambda guest: guest.bash(programs(tmp_path / "bin")))
    offsets: list[int] = []

    def use(offset: int) -> None:
        offsets.append(offset)
        machine.transport.write(b"(sleep 2; echo; echo the end) &\n")
        time.sleep(1)  # Ctrl-C, which follows, takes back what nobody has read

    result = follow(plan, machine, tmp_path, person=Somebody(use))
    assert result.verdict.outcome == Outcome.PASS
    assert len(offsets) == 1


def test_what_a_person_left_running_is_named(tmp_path: Path) -> None:
    """A program that does not end on Ctrl-C keeps the shell from its last words: that is no pass."""

    def script(guest: Guest) -> None:
        guest.bash(programs(tmp_path / "bin"))

    machine = FakeMachine(script)

    def use(offset: int) -> None:
        machine.transport.write(b"trap '' INT; sleep 1000\n")
        machine.clock.run(20)
        time.sleep(0.5)

    verdict = follow(shell_plan(check("true")), machine, tmp_path, person=Somebody(use)).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "power-off")
    assert "did not come back from what was left running by hand" in verdict.reason


@pytest.mark.parametrize("run", ["false", "sleep 1000"])
def test_shell_of_a_guest_that_failed_has_its_prompt_again_where_it_waits(tmp_path: Path, run: str) -> None:
    machine = FakeMachine(lambda guest: guest.bash(programs(tmp_path / "bin")))
    with (
        machine,
        Recorder(machine.transport, tmp_path / "console.raw", tmp_path / "console.idx") as recorder,
    ):
        runner = Runner(
            shell_plan(check(run, budget=2)),
            machine,
            recorder,
            accelerator="tcg",
            facts={},
            listener=Audience(),
            person=Somebody(),
        )
        verdict = runner.follow().verdict
        offset = runner.restore_shell()
        if run == "false":
            assert verdict.outcome == Outcome.FAIL
            assert offset is not None
            assert recorder.read(offset, timeout=60).endswith(b"# ")
        else:
            assert verdict.outcome == Outcome.HANG
            assert offset is None, "nothing is typed to what hangs"


class Somebody:
    """A person who wants the shell, and what they are told."""

    wants_shell = True
    window = None

    def __init__(self, use: Callable[[int], object] | None = None) -> None:
        self._use = use
        self.told: list[str] = []

    def watch(self) -> None:
        self.told.append("watch")

    def listen(self) -> None:
        self.told.append("listen")

    def use_shell(self, offset: int) -> None:
        self.told.append("shell")
        if self._use is not None:
            self._use(offset)


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


def in_the_middle(tmp_path: Path, then: Callable[[Guest], End | None]) -> RunResult:
    """A run whose guest stops to answer while the first check is on its way."""

    def script(guest: Guest) -> End | None:
        guest.bash(programs(tmp_path / "bin"), until=b" 1 ")  # the call of the first script
        return then(guest)

    return follow(shell_plan(check("echo 42")), FakeMachine(script), tmp_path)


@pytest.mark.parametrize(
    ("end", "outcome", "reason"),
    [
        (RESET, Outcome.PANIC, "the machine reset itself without a word"),
        (POWERED_OFF, Outcome.FAIL, "powered itself off too early"),
        (KILLED, Outcome.INFRA, "killed by signal 9"),
    ],
)
def test_end_in_the_middle_of_a_command(tmp_path: Path, end: End, outcome: Outcome, reason: str) -> None:
    result = in_the_middle(tmp_path, lambda _: end)
    assert (result.verdict.outcome, result.verdict.stage) == (outcome, "shell")
    assert reason in result.verdict.reason
    assert [part.status for part in result.stages] == ["passed", "failed", "not reached"]


@pytest.mark.parametrize("end", [RESET, None], ids=["ends", "stays"])
def test_panic_in_the_middle_of_a_command(tmp_path: Path, end: End | None) -> None:
    def then(guest: Guest) -> End | None:
        guest.say(PANIC)
        if end is None:
            guest.settle()
            guest.clock.advance(3.5)
        return end

    began = time.monotonic()
    verdict = in_the_middle(tmp_path, then).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.PANIC, "shell")
    assert verdict.reason == "the kernel panicked: Fatal exception in interrupt"
    assert time.monotonic() - began < 40


def test_command_that_does_not_come_back_hangs(tmp_path: Path) -> None:
    verdict = in_the_middle(tmp_path, lambda guest: guest.hurry(200)).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "shell")
    assert verdict.reason.startswith("the shell did not come back from check it: ")


class SlowToEnd(SocketTransport):
    """A console whose end is read a little later than it can be felt by typing."""

    def read(self, limit: int) -> bytes | None:
        data = super().read(limit)
        if data == b"":
            time.sleep(0.015)
        return data


class SlowlyEndingMachine(FakeMachine):
    @property
    def transport(self) -> SocketTransport:
        return SlowToEnd(self._ours)


def test_end_while_we_type_is_the_machines_end(tmp_path: Path) -> None:
    def script(guest: Guest) -> End:
        guest.play(PROMPT.encode())
        return RESET

    for number in range(5):
        directory = tmp_path / str(number)
        directory.mkdir()
        verdict = follow(shell_plan(check("true")), SlowlyEndingMachine(script), directory).verdict
        assert (verdict.outcome, verdict.stage) == (Outcome.PANIC, "shell")


def test_stage_budget_counts_while_a_command_runs(tmp_path: Path) -> None:
    plan = shell_plan(check("echo 42", budget=1000))

    def script(guest: Guest) -> None:
        guest.bash(programs(tmp_path / "bin"), until=b" 1 ")
        guest.hurry(300)

    verdict = follow(plan, FakeMachine(script), tmp_path).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.TIMEOUT, "shell")


def test_machine_that_stays_on_hangs_in_the_last_stage(tmp_path: Path) -> None:
    def script(guest: Guest) -> None:
        guest.bash(programs(tmp_path / "bin"))
        guest.hurry(300)

    verdict = follow(shell_plan(check("true")), FakeMachine(script), tmp_path).verdict
    assert (verdict.outcome, verdict.stage, verdict.hint) == (Outcome.HANG, "power-off", "mend power-off")


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


def test_full_disk_in_the_middle_of_a_command_is_the_hosts_failure(tmp_path: Path) -> None:
    def then(guest: Guest) -> None:
        with file_size_limit((tmp_path / "console.raw").stat().st_size + 100):
            guest.say("x" * 1000)
            guest.wait(1)

    verdict = in_the_middle(tmp_path, then).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.INFRA, "shell")
    assert "cannot record the console" in verdict.reason


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
        guest.wait(1.0)
        guest.say("up")
        return POWERED_OFF

    assert follow(plan, FakeMachine(script), tmp_path).verdict.outcome == outcome


def test_silence_after_it_is_one(tmp_path: Path) -> None:
    stages = (stage("firmware", silence=0.3, unheard=0.5), stage("system", begins="^up$"))
    plan = Plan("dark", stages, (), "guest-shutdown", {})
    assert from_power_on(plan) == 0.5
    verdict = follow(plan, FakeMachine(lambda _: None), tmp_path).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "firmware")


def test_time_ends_a_stage_that_no_line_ends(tmp_path: Path) -> None:
    stages = (stage("firmware", unheard=0.6), stage("system", silence=0.4))
    plan = Plan("dark", stages, (), "guest-shutdown", {})

    def script(guest: Guest) -> End:
        guest.wait(0.8)
        guest.say("up")
        return POWERED_OFF

    result = follow(plan, FakeMachine(script), tmp_path)
    assert result.verdict.outcome == Outcome.PASS
    assert 0.6 <= result.stages[0].wall < 0.8
