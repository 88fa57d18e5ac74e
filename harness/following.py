"""A run between the opening of its record and its verdict: machine, console and plan put together."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.checkpoints import CONSOLE
from harness.console.recorder import Recorder
from harness.errors import Interrupted
from harness.machine.qemu import QemuMachine
from harness.outcome import Outcome
from harness.report.record import MachineRecord
from harness.slices import Saver
from harness.stages.events import Resumed
from harness.stages.runner import Runner
from harness.stages.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.attendance import Attendance
    from harness.checkpoints import Checkpoint
    from harness.image.factory import Build
    from harness.machine.protocol import MachineSpec
    from harness.report.record import RunRecord
    from harness.slices import Slice
    from harness.stages.events import Listener
    from harness.stages.plan import Plan
    from harness.stages.verdict import RunResult
    from harness.store import Store


@dataclass(frozen=True, slots=True)
class Following:
    """A run whose record is open.

    Attributes:
        built: What it boots.
        spec: On which machine.
        plan: What is expected of it.
        record: Where it is written down.
        store: Where checkpoints are.
        start: The checkpoint that it goes on from.
        listener: Told of everything that happens.
        timed: Given the console's clock once there is one.
        part: Which part of the plan is done, and where the machine is saved.
        patience: All budgets are multiplied with it.
        attendance: The person who takes part.
    """

    built: Build
    spec: MachineSpec
    plan: Plan
    record: RunRecord
    store: Store
    start: Checkpoint | None
    listener: Listener
    timed: Callable[[Callable[[int], float]], None]
    part: Slice
    patience: float
    attendance: Attendance | None

    def follow(self) -> RunResult:
        """Let the machine run, and follow the plan to a verdict.

        Raises:
            ConfigError: QEMU cannot make the machine.
            InfraError: QEMU does not start.
        """
        directory, start = self.record.directory, self.start
        with (
            QemuMachine(self.spec, directory, saved=start.path if start else None) as machine,
            Recorder(
                machine.transport,
                directory / "console.raw",
                directory / "console.idx",
                typed=self.record.typed,
                earlier=start.path / CONSOLE if start else None,
            ) as recorder,
        ):
            self.record.watch(recorder)
            self.timed(recorder.seconds_at)
            self.record.update(machine=_machine_record(self.spec, machine.version))
            if start is not None:
                self.listener.event(Resumed(start.id, start.state.run, start.state.boundary.stage))
            if self.attendance is None:
                return self._to_a_verdict(machine, recorder)
            with self.attendance.at(recorder, self.listener):
                return self._to_a_verdict(machine, recorder)

    def _to_a_verdict(self, machine: QemuMachine, recorder: Recorder) -> RunResult:
        start = self.start
        saver = Saver(
            self.part,
            self.store,
            self.built,
            self.spec,
            self.plan,
            self.record.document.id,
            earlier=start.state.seconds if start else 0.0,
            machine=machine,
            recorder=recorder,
            listener=self.listener,
        )
        runner = Runner(
            self.plan,
            machine,
            recorder,
            accelerator=self.spec.accelerator,
            facts=_facts(self.built),
            listener=self.listener,
            person=self.attendance,
            patience=self.patience,
            resumed=start.state.boundary if start else None,
            reached=saver.reached,
        )
        try:
            result = runner.follow()
        except Interrupted:
            reason = f"the run was interrupted in stage {runner.stage}"
            return runner.result(Verdict(Outcome.INTERRUPTED, runner.stage, reason, "run it again"))
        if result.verdict.outcome != Outcome.PASS:
            machine.screenshot(self.record.directory / "screenshot.png")
            if self.attendance is not None and self.attendance.wants_broken:
                self.record.decide(result)  # whatever happens to us from here on
                with suppress(Interrupted):  # it is decided
                    gone = machine.poll() is not None or recorder.ended
                    prompt = None if gone else runner.restore_shell()
                    self.attendance.use_broken(result.verdict, gone=gone, prompt=prompt)
        return result


def _machine_record(spec: MachineSpec, version: str) -> MachineRecord:
    return MachineRecord(
        kind="qemu",
        accelerator=spec.accelerator,
        cpu=spec.cpu,
        memory=spec.memory,
        command_line=spec.boot.command_line,
        medium=spec.boot.medium,
        firmware=spec.firmware,
        network=spec.network,
        qemu=version,
    )


def _facts(built: Build) -> dict[str, str]:
    return {f"expected_{role}_kernel": kernel.image.version for role, kernel in built.kernels.items()}
