"""Checkpoints: machines saved where a stage begins, and found again.

`docs/checkpoints.md` describes them. A checkpoint is an entry of the store, named like all others by the hash
of what determines it, so a run finds only those that are of its own images, machine and QEMU.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError, InfraError
from harness.core.sizes import format_size
from harness.machine.command import device_words, qemu_version
from harness.machine.protocol import Accelerator
from harness.machine.spec import DirectBoot, MachineSpec, MediumBoot
from harness.record.record import processor
from harness.stages.verdict import Boundary  # noqa: TC001 - msgspec reads annotations at run time
from harness.store import Store, seal
from harness.store.upkeep import contents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from harness.image.factory import Build
    from harness.stages.plan import Plan

KIND = "checkpoint"
CONSOLE = "console.raw"
_STATE = "state.json"
_FORMAT = 1
_NAME = 12  # letters of an entry's name that people see and type


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is saved beside the machine, as `state.json`."""

    run: str  # the run that saved it
    saved: str  # when, in UTC as ISO 8601
    seconds: float  # host seconds that the run had taken to get there, those of runs that it resumed included
    boundary: Boundary  # where the run was


class Checkpoint(msgspec.Struct, frozen=True):
    """A saved machine."""

    id: str  # what it is called
    path: Path  # its directory
    size: int  # bytes of disk space that it takes
    identity: dict[str, str | int]  # what it was saved with, which a run must share to go on from it
    state: State  # what is known about the run


def identity(built: Build, spec: MachineSpec, plan: Plan, stage: str) -> dict[str, str | int]:
    """All that a run must share with a saved one to go on from it at a stage.

    The plan counts as far as it leads there: what comes after may be changed between save and resume.
    """
    way: list[object] = []
    for step in plan.stages:
        way.append((step.name, step.begins, step.prompt))
        if step.name == stage:
            break
    recipe, boot = built.recipe, spec.boot
    direct = isinstance(boot, DirectBoot)
    unpacked = " unpacked" if isinstance(boot, DirectBoot) and boot.unpacked else ""
    return {
        "format": _FORMAT,
        "recipe": recipe.name,
        "stage": stage,
        "way": hashlib.sha256(msgspec.json.encode(way)).hexdigest(),
        "kernel": built.kernels["seed"].image.sha256 + unpacked if direct else "",
        "initramfs": built.images[recipe.boot.initramfs].digest if direct and recipe.boot.initramfs else "",
        "medium": boot.medium,
        "image": built.images[recipe.boot.medium or ""].digest if isinstance(boot, MediumBoot) else "",
        "command_line": boot.command_line,
        "disk": built.images[recipe.boot.disk].digest if recipe.boot.disk and spec.disk else "",
        "firmware": spec.firmware,
        "memory": spec.memory,
        "cpu": spec.cpu,
        "accelerator": spec.accelerator,
        # KVM shows the guest the host's own processor.
        "processor": processor() if spec.accelerator == Accelerator.KVM else "",
        "devices": " ".join(device_words(spec)),
        "qemu": qemu_version(spec.architecture),
    }


def save(
    store: Store, known: Mapping[str, str | int], state: State, machine: Callable[[Path], None]
) -> Checkpoint:
    """Save a machine with its console by calling `machine`, unless one of this identity is there already.

    Raises:
        InfraError: It cannot be saved; nothing is left of it.
    """

    def build(directory: Path) -> None:
        machine(directory)
        (directory / _STATE).write_bytes(msgspec.json.format(msgspec.json.encode(state)))

    path = store.get(KIND, known, build)
    found = _read(path)
    if found is None:
        raise InfraError(f"{path} vanished from the store while it was used", hint="run again")
    return found


def saved(store: Store) -> list[Checkpoint]:
    """All that there are, the oldest first."""
    found = [_read(path) for path in places(store).values()]
    return sorted(filter(None, found), key=lambda checkpoint: (checkpoint.state.saved, checkpoint.id))


def find(store: Store, known: Mapping[str, str | int]) -> Checkpoint:
    """The checkpoint that a run can go on from; all of it was read and is as it was saved."""
    store.has(KIND, known)  # notes that it is used, so that it is not removed meanwhile
    path = store.place(KIND, known)
    if not path.is_dir():
        raise _none_fits(known, saved(store))
    problems = seal.damage(path)
    found = _read(path)
    if problems or found is None:
        name = path.name[:_NAME]
        hint = f"remove it with `harness checkpoint rm {name}`, and save it anew"
        raise InfraError(f"the checkpoint {name} is damaged: {'; '.join(problems)}", hint=hint)
    return found


def places(store: Store) -> dict[str, Path]:
    """The directories of all that there are, damaged ones too, by what they are called."""
    return {entry.path.name[:_NAME]: entry.path for entry in contents(store) if entry.kind == KIND}


def named(store: Store, name: str) -> str:
    """What the checkpoint is called whose name begins so."""
    there = sorted(places(store))
    found = [known for known in there if known.startswith(name)] if name else []
    if len(found) != 1:
        how_many = "several checkpoints begin" if found else "there is no checkpoint that begins"
        raise ConfigError(f"{how_many} with {name!r}", hint=f"known: {', '.join(there) or 'none'}")
    return found[0]


def differences(then: Mapping[str, str | int], now: Mapping[str, str | int]) -> list[str]:
    """Why a saved machine does not fit, in words that follow on its name."""
    reasons = []
    for key in sorted(then.keys() | now.keys(), key=_ORDER.index):
        before, after = then.get(key, ""), now.get(key, "")
        if before == after:
            continue
        if key == "memory":
            before, after = format_size(int(before)), format_size(int(after))
        reasons.append(_REASONS[key].format(then=before or "the default", now=after or "the default"))
    return reasons


_REASONS = {
    "recipe": "is of the recipe {then}",
    "stage": "is at {then}",
    "format": "is of another version of the harness",
    "way": "followed a plan with other stages up to there",
    "kernel": "has another seed kernel",
    "initramfs": "has another initramfs",
    "medium": "was booted by way of {then}, and this run by {now}",
    "image": "has another boot medium",
    "command_line": 'has the command line "{then}", and this run "{now}"',
    "disk": "has another disk",
    "firmware": "has the firmware {then}, and this run {now}",
    "memory": "has {then} of memory, and this run {now}",
    "cpu": "has the processor model {then}, and this run {now}",
    "accelerator": "ran under {then}, and this run is under {now}",
    "processor": "ran on another processor ({then}; this host has {now})",
    "devices": "has other devices",
    "qemu": "was saved by QEMU {then}, and this is {now}",
}
_ORDER = list(_REASONS)


def _none_fits(known: Mapping[str, str | int], there: Sequence[Checkpoint]) -> ConfigError:
    stage, recipe = known["stage"], known["recipe"]
    hint = f"save one with `harness run {recipe} --checkpoint {stage}` and the other options of this run"
    ours = [checkpoint for checkpoint in there if checkpoint.identity.get("recipe") == recipe]
    there_already = [checkpoint for checkpoint in ours if checkpoint.state.boundary.stage == stage]
    if not there_already:
        others = ", ".join(f"{other.state.boundary.stage} ({other.id})" for other in ours) or "none at all"
        return ConfigError(f"there is no checkpoint of {recipe} at {stage}; there are: {others}", hint=hint)
    reasons = (f"{one.id} {' and '.join(differences(one.identity, known))}" for one in there_already)
    return ConfigError(f"no checkpoint at {stage} fits this run: {'; '.join(reasons)}", hint=hint)


def _read(path: Path) -> Checkpoint | None:
    """A checkpoint, whole or not; None for what is none, or of another version of the harness."""
    sealed = seal.read(path)
    try:
        return Checkpoint(
            id=path.name[:_NAME],
            path=path,
            size=sealed.space if sealed else 0,
            identity=msgspec.json.decode((path / "inputs.json").read_bytes(), type=dict[str, str | int]),
            state=msgspec.json.decode((path / _STATE).read_bytes(), type=State),
        )
    except (OSError, msgspec.DecodeError):
        return None
