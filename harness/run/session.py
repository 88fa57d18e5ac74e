"""A run between the opening of its record and its verdict: machine, console and plan put together."""

from __future__ import annotations

import shlex
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from harness.console.recorder import Recorder
from harness.core.errors import Interrupted
from harness.core.outcome import Outcome
from harness.machine.network.services import answering
from harness.machine.protocol import DirectBoot, NativeSpec, Network
from harness.machine.qemu import QemuMachine
from harness.record.record import MachineRecord, ProducedRecord
from harness.run.checkpointing import Saver
from harness.run.checkpoints import CONSOLE
from harness.stages.events import Gap, Resumed
from harness.stages.verdict import StageStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from harness.console.pacing import Pace
    from harness.core.progress import Progress
    from harness.image.factory import Build
    from harness.machine.board.document import Board
    from harness.machine.board.machine import BoardMachine
    from harness.machine.native import NativeMachine
    from harness.machine.protocol import Machine, MachineSpec
    from harness.record import gathering
    from harness.record.record import RunRecord
    from harness.run.checkpointing import StageRange
    from harness.run.checkpoints import Checkpoint
    from harness.run.interactive import InteractiveRun
    from harness.stages.events import Listener
    from harness.stages.plan import Plan
    from harness.stages.verdict import RunResult
    from harness.store import Store


class Following(msgspec.Struct, frozen=True):
    """A run whose record is open.

    Attributes:
        built: What it boots.
        spec: On which machine.
        plan: What is expected of it.
        record: Where it is written down.
        store: Where checkpoints are.
        start: The checkpoint that it goes on from.
        listener: Told of everything that happens.
        progress: Where waiting and cleaning up are shown.
        timed: Given the console's clock once there is one, if anybody wants it.
        part: Which part of the plan is done, and where the machine is saved.
        patience: All budgets are multiplied with it.
        expected: The sha256 that files must have in the end, by path.
        attendance: The person who takes part.
        board: The real machine that it is, if it is one.
        offered: Files that a guest on the restricted network can fetch, by name or address.
    """

    built: Build
    spec: MachineSpec | NativeSpec
    plan: Plan
    record: RunRecord
    store: Store
    start: Checkpoint | None
    listener: Listener
    progress: Progress
    timed: Callable[[Callable[[int], float]], None] | None
    part: StageRange
    patience: float
    expected: Mapping[str, str]
    attendance: InteractiveRun | None
    board: Board | None = None
    offered: Mapping[str, Path] = msgspec.field(default_factory=dict)

    def follow(self) -> RunResult:
        """Let the machine run, and follow the plan to a verdict.

        Raises:
            ConfigError: QEMU cannot make the machine.
            InfraError: QEMU does not start.
        """
        directory, start = self.record.directory, self.start
        with (
            self._machine(directory) as machine,
            Recorder(
                machine.transport,
                directory / "console.raw",
                directory / "console.idx",
                typed=self.record.typed,
                earlier=start.path / CONSOLE if start else None,
                pace=self._pace(machine),
            ) as recorder,
        ):
            self.record.watch(recorder)
            if self.timed is not None:
                self.timed(recorder.seconds_at)
            version = machine.version if isinstance(machine, QemuMachine) else ""
            self.record.update(machine=_machine_record(self.spec, version, self.board))
            if start is not None:
                self.listener.event(Resumed(start.id, start.state.run, start.state.boundary.stage))
            if self.attendance is None:
                result = self._to_a_verdict(machine, recorder)
            else:
                with self.attendance.at(recorder, self.listener):
                    result = self._to_a_verdict(machine, recorder)
        return self._proved(result)

    def _proved(self, result: RunResult) -> RunResult:
        """Compare what was produced with what should have been; what a console showed becomes a manifest."""
        from harness.record import gathering, produced
        from harness.stages import products

        directory = self.record.directory
        wraps = max(stage.wraps for stage in self.plan.stages)
        shown = gathering.shown(directory / "console.raw", wraps=wraps)
        known = products.read(directory)
        if known is None and shown.sums:
            products.write_sums(known := dict(shown.sums), directory)
        wrong = produced.disproved(self.expected, known or {}, shown.approved)
        if not wrong or result.verdict.outcome != Outcome.PASS:
            return result
        hint = "compare the programs with those of a good run; console.log has the commands that made them"
        stages = tuple(
            msgspec.structs.replace(stage, status=StageStatus.FAILED)
            if stage.name == result.verdict.stage
            else stage
            for stage in result.stages
        )
        verdict = Verdict(Outcome.FAIL, result.verdict.stage, wrong, hint)
        return msgspec.structs.replace(result, verdict=verdict, stages=stages)

    def _machine(self, directory: Path) -> AbstractContextManager[QemuMachine | NativeMachine | BoardMachine]:
        if self.board is not None:
            from harness.machine.board.machine import BoardMachine
            from harness.machine.board.power import ask_on_terminal
            from harness.stages.silent import from_power_on

            return BoardMachine(
                self.board,
                ask=ask_on_terminal,
                told=lambda gap: self.listener.event(Gap(gap.seconds, gap.offset)),
                quiet=from_power_on(self.plan) * self.patience,
            )
        if isinstance(self.spec, NativeSpec):
            from harness.run import rootfs

            return rootfs.machine(self.spec, self.store.cache, directory, self.progress.note, self._list)
        return self._qemu(self.spec, directory)

    def _pace(self, machine: Machine) -> Pace | None:
        """Boards are typed to slowly: their serial ports cannot say that they are full."""
        if self.board is None:
            return None
        from harness.machine.board.machine import BoardMachine

        return machine.pace if isinstance(machine, BoardMachine) else None

    @contextmanager
    def _qemu(self, spec: MachineSpec, directory: Path) -> Iterator[QemuMachine]:
        saved = self.start.path if self.start else None
        if spec.network != Network.RESTRICTED:
            with QemuMachine(spec, directory, saved=saved) as machine:
                yield machine
            return
        with (
            answering(self.offered, directory) as answers,
            QemuMachine(spec, directory, saved=saved, http=answers.port, asked=answers.asked) as machine,
        ):
            yield machine

    def _list(self, root: Path, before: Mapping[str, gathering.State]) -> None:
        """List what is new in a root, unless the payload's shell has listed what the plan says."""
        from harness.record import gathering
        from harness.stages import products

        directory, began = self.record.directory, time.monotonic()
        if (directory / products.SUMS).exists():
            return
        files = gathering.gathered(root, before)
        products.write(files, directory)
        self.record.update(
            produced=ProducedRecord(
                stage="",
                files=len(files),
                size=sum(file.size for file in files),
                seconds=round(time.monotonic() - began, 3),
                fast=False,
            )
        )

    def _saver(self, machine: Machine, recorder: Recorder) -> Saver | None:
        if isinstance(self.spec, NativeSpec) or not isinstance(machine, QemuMachine):
            return None
        return Saver(
            self.part,
            self.store,
            self.built,
            self.spec,
            self.plan,
            self.record.document.id,
            earlier=self.start.state.seconds if self.start else 0.0,
            machine=machine,
            recorder=recorder,
            listener=self.listener,
        )

    def _to_a_verdict(self, machine: Machine, recorder: Recorder) -> RunResult:
        from harness.stages.runner import Runner  # and all that a guest which is just starting has no use for

        start, saver = self.start, self._saver(machine, recorder)
        runner = Runner(
            self.plan,
            machine,
            recorder,
            accelerator=self.spec.accelerator,
            facts=_facts(self.built),
            listener=self.listener,
            person=self.attendance,
            patience=self.patience * (self.board.document.budgets if self.board else 1.0),
            resumed=start.state.boundary if start else None,
            reached=saver.reached if saver else None,
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


def _machine_record(spec: MachineSpec | NativeSpec, version: str, board: Board | None) -> MachineRecord:
    if isinstance(spec, NativeSpec):
        return MachineRecord(
            kind=spec.kind,
            accelerator=spec.accelerator,
            cpu="",
            memory=spec.memory,
            command_line="; ".join(shlex.join(call.program) for call in spec.calls),
            medium="none",
            firmware="none",
            qemu="",
        )
    return MachineRecord(
        kind="board" if board else "qemu",
        board=board.name if board else "",
        accelerator=spec.accelerator,
        cpu=spec.cpu,
        memory=spec.memory,
        command_line=spec.boot.command_line,
        medium=spec.boot.medium,
        firmware=spec.firmware,
        network=spec.network,
        unpacked=isinstance(spec.boot, DirectBoot) and spec.boot.unpacked,
        qemu=version,
    )


def _facts(built: Build) -> dict[str, str]:
    return {f"expected_{role}_kernel": kernel.image.version for role, kernel in built.kernels.items()}
