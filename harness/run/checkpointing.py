"""A run in slices: where it begins, where it is saved, and where it stops."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.machine.protocol import Firmware
from harness.run import checkpoints
from harness.stages.events import Saved

if TYPE_CHECKING:
    from pathlib import Path

    from harness.console.recorder import Recorder
    from harness.image.factory import Build
    from harness.machine.protocol import MachineSpec
    from harness.machine.qemu import QemuMachine
    from harness.run.checkpoints import Checkpoint
    from harness.stages.boundary import Boundary
    from harness.stages.events import Listener
    from harness.stages.plan import Plan
    from harness.store import Store


class StageRange(msgspec.Struct, frozen=True):
    """The part of a plan that a run does.

    Attributes:
        start: The stage at which a checkpoint is resumed; empty for the plan's first.
        save: Stages at whose beginning the machine is saved.
        until: The stage at whose beginning the machine is saved and the run stops; empty for none.
    """

    start: str = ""
    save: tuple[str, ...] = ()
    until: str = ""

    def check(self, plan: Plan, firmware: Firmware) -> None:
        """Find out whether the plan can be cut so.

        Raises:
            ConfigError: It cannot.
        """
        names = [stage.name for stage in plan.stages]
        ends = [*self.save, *filter(None, [self.until])]
        for stage in (*ends, *filter(None, [self.start])):
            if stage not in names:
                message = f"the plan {plan.name} has no stage {stage!r}"
                raise ConfigError(message, hint=f"it has {', '.join(names)}")
            if stage == names[0]:
                message = f"{stage} begins with the machine: there is nothing to save or to resume yet"
                raise ConfigError(message, hint=f"name one of {', '.join(names[1:])}")
        for stage in ends:
            if self.start and names.index(stage) <= names.index(self.start):
                raise ConfigError(f"a run from {self.start} does not come to the beginning of {stage}")
            if self.until and names.index(stage) > names.index(self.until):
                raise ConfigError(f"a run until {self.until} does not come to the beginning of {stage}")
        if firmware == Firmware.UEFI and (ends or self.start):
            raise ConfigError(
                "a machine with UEFI is not saved: the variables in its flash would have to go with it",
                hint="boot by BIOS, without --firmware",
            )


WHOLE = StageRange()


class Saver(msgspec.Struct, frozen=True):
    """Saves a run's machine where its slice says so.

    Attributes:
        part: Where.
        store: Into which store.
        built: What the run boots.
        spec: On which machine.
        plan: What it follows.
        run: The run's name.
        earlier: Host seconds that the runs took which it goes on from.
        machine: The machine, running.
        recorder: Its console.
        listener: Told what was saved.
    """

    part: StageRange
    store: Store
    built: Build
    spec: MachineSpec
    plan: Plan
    run: str
    earlier: float
    machine: QemuMachine
    recorder: Recorder
    listener: Listener

    def reached(self, boundary: Boundary) -> bool:
        """Save the machine if this stage was named; whether the run stops here.

        Raises:
            InfraError: It cannot be saved.
        """
        stop = boundary.stage == self.part.until
        if stop or boundary.stage in self.part.save:
            self._save(boundary)
        return stop

    def _save(self, boundary: Boundary) -> None:
        began = time.monotonic()
        state = checkpoints.State(
            run=self.run,
            saved=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            seconds=self.earlier + sum(stage.wall for stage in boundary.stages),
            boundary=boundary,
        )
        known = checkpoints.identity(self.built, self.spec, self.plan, boundary.stage)
        saved = checkpoints.save(self.store, known, state, self._save_machine)
        self.listener.event(
            Saved(
                saved.id,
                boundary.stage,
                seconds=round(time.monotonic() - began, 3),
                size=saved.size,
                new=saved.state == state,
            )
        )

    def _save_machine(self, directory: Path) -> None:
        self.machine.pause()
        self.recorder.settle()
        self.machine.save(directory)
        # Not before: what QEMU still held back for the console is not in what it saved.
        self.recorder.settle()
        shutil.copyfile(self.recorder.raw, directory / checkpoints.CONSOLE)
        self.machine.start()


def found(part: StageRange, store: Store, built: Build, spec: MachineSpec, plan: Plan) -> Checkpoint | None:
    """The checkpoint with which a slice begins; None where it begins with the machine.

    Raises:
        ConfigError: There is none that fits.
        InfraError: It is damaged.
    """
    if not part.start:
        return None
    return checkpoints.find(store, checkpoints.identity(built, spec, plan, part.start))
