"""Adapts a plan to chroot and bwrap: drops the stages about kernels."""

from __future__ import annotations

import msgspec

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.machine.protocol import EndCause
from harness.stages.plan import Failure, Plan, Stage

# What bwrap says when it cannot go on; with chroot, what starts the payload tells us directly.
_REFUSED = Failure(
    pattern=r"^bwrap: (?P<problem>.+)$",
    outcome=Outcome.INFRA,
    reason="bwrap cannot start the payload: {problem}",
    hint="the program may be missing in the image (recipe key native.program), be for another processor, or "
    "want an interpreter that is not there",
)


def without_kernel(plan: Plan) -> Plan:
    """Leave out what the plan's table `native` names; the end is that of the first process, or a line."""
    if plan.native is None:
        message = f"the plan {plan.name} cannot be followed without a kernel: it has no table native"
        raise ConfigError(message, hint="run it with --machine qemu")
    left_out = plan.native.not_applicable
    first, *others = (_without(left_out, stage) for stage in plan.stages if stage.name not in left_out)
    if (
        first.begins and not first.prompt
    ):  # it begins with the machine, and what its line says is still a fact
        first = msgspec.structs.replace(first, begins="", notes=(*first.notes, first.begins))
    *most, last = first, *others
    last = msgspec.structs.replace(last, types=plan.native.last_words)
    return msgspec.structs.replace(
        plan,
        stages=(*most, last),
        failures=(_REFUSED, *plan.failures),
        end="line" if plan.native.end_line else EndCause.EXITED,
        end_line=plan.native.end_line,
        not_applicable=left_out,
        order=tuple(stage.name for stage in plan.stages),
    )


def _without(left_out: tuple[str, ...], stage: Stage) -> Stage:
    checks = tuple(check for check in stage.checks if f"{stage.name}.{check.name}" not in left_out)
    produced = () if f"{stage.name}.produced" in left_out else stage.produced
    return msgspec.structs.replace(stage, checks=checks, produced=produced)
