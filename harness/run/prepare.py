"""Prepares a run: payload, plan, images and machine, checked before anything boots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from harness.core import paths
from harness.core.errors import ConfigError
from harness.image.build import BuildOptions, build
from harness.machine.kinds import find_kind
from harness.payload.chosen import Payload, chosen
from harness.run import checkpoints
from harness.run.preflight import check_images
from harness.run.request import WHOLE, RunRequest
from harness.stages.kernelless import without_kernel
from harness.stages.plan_file import load_plan
from harness.store import Store

if TYPE_CHECKING:
    from harness.core.progress import Progress
    from harness.image.factory import Build
    from harness.machine.kinds.kind import Kind
    from harness.machine.spec import MachineSpec, Spec
    from harness.recipe import Recipe
    from harness.run.checkpoints import Checkpoint
    from harness.stages.plan import Plan


class PreparedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that can begin."""

    request: RunRequest  # what the user said
    kind: Kind[Any]  # the kind of its machine
    payload: Payload  # what is run, and what is expected of it
    built: Build  # its kernels and images
    plan: Plan  # what is expected, as the plan's file says it
    followed: Plan  # what of it such a machine can follow
    spec: Spec  # what the machine is made of
    # The checkpoint that the run goes on from; None where it begins with the machine.
    start: Checkpoint | None

    @property
    def store(self) -> Store:
        """Where images and checkpoints are."""
        return Store(self.request.build.cache)

    @property
    def variant(self) -> str:
        """What the run's name says beside the recipe's: the seed kernel, or what there is instead."""
        seed = self.built.kernels.get("seed")
        return seed.name.rpartition("/")[2] if seed else "bios" if self.kind.kernels else self.kind.kind


def prepare(
    request: RunRequest, progress: Progress, payload: Payload | None = None, built: Build | None = None
) -> PreparedRun:
    """Do all that comes before a run: find mistakes, build, and check what was built.

    The caller may have payload and build already.
    """
    kind = find_kind(request.machine)
    request.check(kind)
    if payload is None:
        asked = msgspec.structs.replace(request.payload, mode=kind.kind.value, kernel=request.build.kernel)
        payload = chosen(request.recipe, asked, request.build.cache, progress)
    recipe = payload.recipe
    plan = load_plan(recipe.plan)
    if payload.derivation is not None:
        plan = plan.with_phases("build", payload.derivation.phases, payload.derivation.programs)
    request.part.check(plan)
    paths.check_writable(request.runs, "run record", "choose another directory with --runs DIR")
    store = Store(request.build.cache)
    asked_for = msgspec.structs.replace(request, architecture=recipe.architecture)
    settled = kind.settled(asked_for, store, progress.note)
    if built is None:
        built = build(recipe, to_build(request, recipe), progress)
    if payload.derivation is not None and "seed" in built.kernels:
        payload.derivation.check_kernel(built.kernels["seed"].name, built.kernels["seed"].image.bits)
    if recipe.document.boot and recipe.boot.drive and request.part != WHOLE:
        message = f"a machine of the recipe {recipe.name} is not saved: it has further disks (boot.drive)"
        raise ConfigError(message, hint="run it as a whole, without --checkpoint, --from and --until")
    spec = kind.spec(built, settled, store, plan.takes_out)
    start = None
    if request.part.start:  # only machines of QEMU are saved
        known = checkpoints.identity(built, cast("MachineSpec", spec), plan, request.part.start)
        start = checkpoints.find(store, known)
    if not request.force:
        for remark in check_images(built, plan, spec, store):
            progress.note(remark)
    kind.equip(built, spec, progress)
    return PreparedRun(
        request=request,
        kind=kind,
        payload=payload,
        built=built,
        plan=plan,
        followed=plan if kind.kernels else without_kernel(plan),
        spec=spec,
        start=start,
    )


def to_build(request: RunRequest, recipe: Recipe) -> BuildOptions:
    """How the images are built that such a run needs, and no others."""
    kind = find_kind(request.machine)
    return msgspec.structs.replace(request.build, names=kind.images(recipe, request), kernels=kind.kernels)
