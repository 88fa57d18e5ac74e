"""Runs whose shell is a real bash: checks, facts, persons and ends in the middle of commands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from harness.console.recorder import Recorder
from harness.core.outcome import Outcome
from harness.stages import events
from harness.stages.events import Operator
from harness.stages.plan import Plan
from harness.stages.runner import Runner
from harness.stages.verdict import Verdict
from testcases.support.machines import (
    KILLED,
    POWERED_OFF,
    RELAY,
    RESET,
    Audience,
    FakeMachine,
    follow,
    host_facts,
    programs,
    relay_on_this_host,
)
from testcases.unit.test_runner import boot, check, file_size_limit, shell_plan, stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.machine.protocol import End
    from harness.stages.verdict import RunResult
    from testcases.support.machines import Guest


PANIC = "[   20.000000] Kernel panic - not syncing: Fatal exception in interrupt"


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


class Somebody(Operator):
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

    verdict = in_the_middle(tmp_path, then).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.PANIC, "shell")
    assert verdict.reason == "the kernel panicked: Fatal exception in interrupt"


def test_command_that_does_not_come_back_hangs(tmp_path: Path) -> None:
    verdict = in_the_middle(tmp_path, lambda guest: guest.hurry(200)).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.HANG, "shell")
    assert verdict.reason.startswith("the shell did not come back from check it: ")


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


def test_full_disk_in_the_middle_of_a_command_is_the_hosts_failure(tmp_path: Path) -> None:
    def then(guest: Guest) -> None:
        with file_size_limit((tmp_path / "console.raw").stat().st_size + 100):
            guest.say("x" * 1000)
            guest.wait(1)

    verdict = in_the_middle(tmp_path, then).verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.INFRA, "shell")
    assert "cannot record the console" in verdict.reason
