"""What the user says about a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from harness.core.errors import ConfigError
from harness.image.build import BuildOptions  # noqa: TC001 - msgspec reads annotations at run time
from harness.machine.kinds.kind import Kind, MachineRequest
from harness.machine.protocol import Firmware, Medium, Network
from harness.payload.chosen import PayloadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.stages.plan import Plan


class StageRange(msgspec.Struct, frozen=True):
    """The part of a plan that a run does."""

    start: str = ""  # the stage at which a checkpoint is resumed; empty for the plan's first
    save: tuple[str, ...] = ()  # stages at whose beginning the machine is saved
    until: str = ""  # the stage at whose beginning the machine is saved and the run stops; empty for none

    def check(self, plan: Plan) -> None:
        """Find out whether the plan can be cut so."""
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


WHOLE = StageRange()


class RunRequest(MachineRequest, frozen=True, kw_only=True):
    """What the user says about a run, and about the machine that it is done on."""

    recipe: str = "relay"  # what is run: a recipe by name or path, or the name of a checkout
    payload: PayloadRequest = PayloadRequest()  # about a checkout
    build: BuildOptions  # how images are built, and in which cache
    runs: Path  # directory for the run's record
    part: StageRange = WHOLE  # which part of the plan is done, and where the machine is saved
    patience: float = 1.0  # all budgets are multiplied with it
    force: bool = False  # whether it is booted although the checks before a boot object
    # Kept in the record; a matrix tells its cells by them.
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)

    def check(self, kind: Kind[Any]) -> None:
        """Find out whether the options go with the kind of machine, and with each other."""
        given = {
            "--kernel": self.build.kernel is not None,
            "--second": self.build.second is not None,
            "--accelerator": self.accelerator != "auto",
            "--memory": self.memory is not None,
            "--cpu": self.cpu is not None,
            "--append": bool(self.append),
            "--medium": self.medium != Medium.DIRECT,
            "--firmware": self.firmware != Firmware.BIOS,
            "--unpacked": self.unpacked is not None,
            "--network": self.network not in {None, Network.NONE},
            "--network none": self.network == Network.NONE,
            "--checkpoint, --from and --until": self.part != WHOLE,
        }
        for option, was_given in given.items():
            if was_given and not kind.takes(option):
                raise kind.refusal(option)
        if self.unpacked and self.medium != Medium.DIRECT:
            hint = "leave out one of --unpacked and --medium"
            raise ConfigError("a medium has its kernel as it is, and --unpacked cannot change it", hint=hint)
        if self.append and self.medium != Medium.DIRECT:
            hint = "change it in the recipe's image[].menu, or boot without --medium"
            raise ConfigError("a medium has its own command line, and --append cannot change it", hint=hint)
        if self.firmware == Firmware.UEFI and self.part != WHOLE:
            message = "a machine with UEFI is not saved: the variables in its flash would have to go with it"
            raise ConfigError(message, hint="boot by BIOS, without --firmware")
