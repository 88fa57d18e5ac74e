"""Follows a plan stage by stage to a verdict."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.console.shell import Shell, ShellGone, ShellTimeout
from harness.core.errors import InfraError
from harness.core.outcome import Outcome
from harness.stages import events, judge
from harness.stages.events import Listener, Operator
from harness.stages.observer import Observer
from harness.stages.verdict import CheckResult, Decided, RunResult, StageResult, StageStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from harness.console.recorder import Recorder
    from harness.machine.protocol import Machine
    from harness.stages.plan import Check, Plan, Stage
    from harness.stages.verdict import Boundary

_POLL = 0.1  # host seconds between looks at the clock in a silent stage
_CONSOLE_END_TIMEOUT = 0.2  # seconds that the end of the console may take to arrive after typing failed


class Runner:
    """Follows one run of a machine.

    Args:
        plan: What is expected.
        machine: Prepared and not yet started.
        recorder: Its console, already recording; what is taken out of the guest comes beside the recording.
        accelerator: Scales the plan's budgets.
        facts: What is known beforehand and may be filled into checks.
        listener: Told of everything that happens.
        person: Has the shell when the checks are done, if they want it.
        patience: All budgets are multiplied with it.
        resumed: Where another run was whose machine this one goes on with; the recorder begins with its
            console.
        reached: Called when a stage has begun, unless the run itself begins there; may save the machine.
            Whether to stop there.
    """

    def __init__(
        self,
        plan: Plan,
        machine: Machine,
        recorder: Recorder,
        *,
        accelerator: str,
        facts: Mapping[str, str],
        listener: Listener,
        person: Operator | None = None,
        patience: float = 1.0,
        resumed: Boundary | None = None,
        reached: Callable[[Boundary], bool] | None = None,
    ) -> None:
        self._plan = plan
        self._machine = machine
        self._recorder = recorder
        self._listener = listener
        self._person = person or Operator()
        self._resumed = resumed
        self._reached = reached
        self._stopped = False
        self._scale = plan.scale.get(accelerator, 1.0) * patience
        self._observer = Observer(plan, machine, recorder, scale=self._scale, listener=listener)
        nonce = int.from_bytes(os.urandom(4)) % 10**6
        self._observer.facts |= {"nonce": str(nonce), "nonce_plus_one": str(nonce + 1), **facts}
        self._shell: Shell | None = None
        self._asking = False  # whether the shell owes us an answer
        self._checks: list[CheckResult] = []

    def follow(self) -> RunResult:
        """Start the machine and follow it to its end.

        All that the guest, the machine or the host do becomes a verdict; only interruptions and our own
        mistakes leave as exceptions, and `result` tells then how far the run came.
        """
        try:
            self._machine.start()
            if self._resumed is not None:
                self._observer.resume(self._resumed)
            begin = self._resumed.stage if self._resumed else self._plan.stages[0].name
            names = [stage.name for stage in self._plan.stages]
            for stage in self._plan.stages[names.index(begin) :]:
                if stage.begins:
                    self._person.watch()
                self._observer.enter(stage)
                if stage.name != begin:
                    self._reach()
                self._carry_out(stage)
            self._person.watch()
            self._observer.await_end()
        except Decided as decided:
            verdict = decided.verdict
        except InfraError as error:
            verdict = self._trouble(error)
        return self.result(verdict)

    def result(self, verdict: Verdict) -> RunResult:
        """Close the current stage, and sum up.

        What goes wrong then, such as a disk that is full only now, can do no more than spoil a PASS.
        """
        try:
            return self._result(verdict)
        except InfraError as error:  # a full disk is told once: the record leaves out what follows
            return self._result(self._trouble(error) if verdict.outcome == Outcome.PASS else verdict)

    def _trouble(self, error: InfraError) -> Verdict:
        return Verdict(Outcome.INFRA, self._observer.stage.name, error.message, error.hint)

    def _result(self, verdict: Verdict) -> RunResult:
        ended = StageStatus.PASSED if verdict.outcome == Outcome.PASS else StageStatus.FAILED
        self._observer.leave(StageStatus.NOT_REACHED if self._stopped else ended)
        return RunResult(
            verdict,
            all_stages(self._plan, self._observer.stages),
            tuple(self._checks),
            dict(self._observer.facts),
            self._plan.not_applicable,
        )

    @property
    def stage(self) -> str:
        """Name of the stage that the run is in."""
        return self._observer.stage.name

    def _reach(self) -> None:
        """Let the machine be saved where a stage begins, and stop there if that is wanted."""
        if self._reached is None:
            return
        boundary = self._observer.boundary
        self._stopped = self._reached(boundary)
        self._observer.restart_clocks()
        if self._stopped:
            reason = f"every stage before {boundary.stage} passed; the run was to stop there, and is saved"
            raise Decided(Verdict(Outcome.PASS, boundary.stage, reason))

    def _carry_out(self, stage: Stage) -> None:
        """Do what the stage asks of us; most only want to be watched."""
        if self._plan.is_timed(stage):
            until = self._observer.advance() + stage.unheard * self._scale
            while self._observer.advance() < until:
                time.sleep(_POLL)
        if stage.checks:
            shell = self._enter_shell(stage)
            for check in stage.checks:
                self._check(shell, check)
        if stage.produced or stage.fetches:
            self._take_out(self._enter_shell(stage), stage)
        if stage is self._plan.last_at_shell and self._person.wants_shell:
            self._hand_over(self._enter_shell(stage))
        if stage.types:
            shell = self._enter_shell(stage)
            if not self._recorder.ended:  # a person may have powered the machine off
                shell.send_line(stage.types)

    def _take_out(self, shell: Shell, stage: Stage) -> None:
        from harness.stages.outputs import Outputs

        outputs = Outputs(shell, self._machine.bulk, self._recorder.raw.parent, self._listener)
        with self._shell_trouble("handing files over"):
            outputs.take(stage, timeout=stage.budget * self._scale)

    def _hand_over(self, shell: Shell) -> None:
        """Let a person have the shell; their time counts for no budget."""
        with self._shell_trouble("getting ready for you"):
            shell.restore(window=self._person.window)
        self._person.use_shell(shell.offset)
        if self._recorder.ended:
            return
        self._observer.skip()
        with self._shell_trouble("what was left running by hand"):
            shell.regain(timeout=self._observer.stage.silence * self._scale)

    def restore_shell(self) -> int | None:
        """Give the shell of a guest that failed a check its prompt back.

        Gives the raw offset after which the prompt comes; None when no shell waits for us.
        """
        if self._shell is None or self._asking:
            return None
        self._person.listen()
        try:
            self._shell.restore(window=self._person.window)
        except (ShellTimeout, ShellGone, InfraError, Decided):
            return None
        return self._shell.offset

    def _enter_shell(self, stage: Stage) -> Shell:
        self._person.listen()
        if self._shell is None:
            self._shell = Shell(self._recorder, self._observer.offset, clock=self._observer.advance)
            with self._shell_trouble("answering"):
                self._shell.enter(timeout=stage.silence * self._scale)
            for warning in self._shell.warnings:
                self._listener.event(events.Seen("shell", warning, self._shell.offset))
        return self._shell

    def _check(self, shell: Shell, check: Check) -> None:
        stage = self._observer.stage.name
        self._listener.event(events.CheckBegan(stage, check.name))
        began = time.monotonic()
        with self._shell_trouble(f"check {check.name}"):
            reply = shell.run(_fill(check.run, self._observer.facts), timeout=check.budget * self._scale)
        output = reply.text.rstrip("\n")
        expected = _fill(check.output, {key: re.escape(value) for key, value in self._observer.facts.items()})
        match = re.fullmatch(expected, output)
        passed = reply.status == check.status and match is not None
        learned = {key: value for key, value in match.groupdict().items() if value} if match else {}
        self._observer.facts |= learned
        answer = ", ".join(learned.values()) or output.partition("\n")[0] or f"exit status {reply.status}"
        seconds = time.monotonic() - began
        result = CheckResult(stage, check.name, passed, answer, seconds, reply.start)
        self._checks.append(result)
        self._listener.event(events.CheckEnded(result))
        if not passed:
            raise Decided(judge.refuted(self._observer.stage, check, expected, reply))

    @contextmanager
    def _shell_trouble(self, doing: str) -> Iterator[None]:
        """A shell that fails us ends the run."""
        self._asking = True
        try:
            yield
            self._asking = False
        except ShellTimeout:
            self._observer.give_up(Outcome.HANG, f"the shell did not come back from {doing}")
        except (ShellGone, InfraError):
            self._recorder.read(
                sys.maxsize, timeout=_CONSOLE_END_TIMEOUT
            )  # the end, which typing may notice first
            if not self._recorder.ended:
                raise
            self._observer.await_end()  # the machine's end explains more than the shell can


def all_stages(plan: Plan, known: Iterable[StageResult]) -> tuple[StageResult, ...]:
    """What is known of each stage of a plan, in order, those that it never comes to included."""
    found = {stage.name: stage for stage in known}
    missing = {
        name: StageStatus.NOT_APPLICABLE if name in plan.not_applicable else StageStatus.NOT_REACHED
        for name in plan.order or [stage.name for stage in plan.stages]
    }
    return tuple(found.get(name) or StageResult(name, status) for name, status in missing.items())


def _fill(template: str, facts: Mapping[str, str]) -> str:
    """Fill in `{facts}`; other braces, which shells and patterns are full of, stay."""
    return re.sub(r"\{([a-z0-9_]+)\}", lambda match: facts.get(match[1], match[0]), template)
