"""Runs without a kernel of their own: what they need, what they are refused, and what they run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.core.sizes import parse_size
from harness.machine.admission import check_fits
from harness.machine.protocol import MachineKind, NativeCall, NativeSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.image.factory import Build
    from harness.recipe import Recipe
    from harness.run.checkpointing import StageRange

# Where neither recipe nor user says how much a process may take.
DEFAULT_MEMORY = "2G"


def check(kind: MachineKind, part: StageRange, unfit: Mapping[str, bool]) -> None:
    """Find out, before anything is built, whether the host can do it and the options make sense.

    Args:
        kind: CHROOT or BWRAP.
        part: Which part of the plan is asked for.
        unfit: Whether each option was given that is about a machine with a kernel.

    Raises:
        ConfigError: It cannot, or they do not.
    """
    given = [option for option, was_given in unfit.items() if was_given]
    if part.start or part.save or part.until:
        given.append("--checkpoint, --from and --until")
    if given:
        raise ConfigError(
            f"the machine {kind} has no kernel, firmware or saved states: it has no use for {given[0]}",
            hint="leave it out, or take --machine qemu",
        )
    from harness.machine import native

    native.check_host(kind)


def needed_image(recipe: Recipe) -> str:
    """The image whose files become the root.

    Raises:
        ConfigError: The recipe says nothing about machines without a kernel.
    """
    return recipe.native.image


def spec(built: Build, kind: MachineKind, memory: int | None) -> NativeSpec:
    """What runs.

    Raises:
        ConfigError: The host has less memory than is asked for, or chroot cannot do what the recipe wants.
    """
    recipe = built.recipe
    boots = recipe.document.boot
    limit = memory or (boots.memory_bytes if boots else parse_size(DEFAULT_MEMORY))
    check_fits(limit)
    wanted = recipe.native
    if wanted.then and kind != MachineKind.BWRAP:
        raise recipe.wrong("native.then", "only bwrap starts one program after the other")
    calls = (
        NativeCall(wanted.program, wanted.environment),
        *(NativeCall(call.program, call.environment, call.root) for call in wanted.then),
    )
    return NativeSpec(kind, built.images[wanted.image].path, calls, limit, wanted.inner)
