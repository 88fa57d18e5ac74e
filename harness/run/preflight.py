"""Checks before a boot: whether kernels, images and plan fit together."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.core.paths import data_root
from harness.core.sizes import format_size, parse_size
from harness.machine.protocol import Firmware, Medium
from harness.machine.spec import Bus, DirectBoot, DiskBoot, MachineSpec, MediumBoot, Spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.image.checks.kernel_checks import Finding
    from harness.image.factory import Build
    from harness.kernel.bzimage import KernelImage
    from harness.stages.plan import Plan
    from harness.store import Store

_PROGRAM = Path(__file__).parents[1]
_FACTS = "kernels/features"  # what the checks go by


def check_images(built: Build, plan: Plan, spec: Spec, store: Store) -> tuple[str, ...]:
    """Find out what would keep the kernels from starting init without a word, or fail the plan for sure.

    That nothing would is kept in the store, and not found out again for the same kernels, images and plan.
    Gives remarks, a sentence each: what is not as it should be, and fails nothing.
    """
    boot = spec.boot
    if boot is None:
        return ()
    _check_memory(plan, spec.memory)
    if isinstance(boot, DiskBoot):
        return ()  # what the disk holds is checked where it is made

    def build(directory: Path) -> None:
        remarks = _check(built, plan, spec, boot)
        (directory / "remarks.json").write_text(json.dumps(remarks), encoding="utf-8")

    kept = store.get("fitness", _inputs(built, plan, spec, boot), build) / "remarks.json"
    return tuple(json.loads(kept.read_text(encoding="utf-8")))


def _inputs(built: Build, plan: Plan, spec: Spec, boot: DirectBoot | MediumBoot) -> dict[str, object]:
    """All that the answer depends on."""
    booted = boot.image if isinstance(boot, MediumBoot) else boot.initramfs
    return {
        "checks": _version_of_checks(),
        "image": next((image.digest for image in built.images.values() if image.path == booted), ""),
        "names": [booted.name if booted else "", plan.name],
        "medium": _way(boot, spec) if isinstance(boot, MediumBoot) else "",
        "command-line": boot.command_line,
        "disk": spec.bus or "",
        "cpu": spec.cpu,
        "memory": spec.memory,
        "kernels": {
            role: [kernel.name, kernel.image.path.name, kernel.image.sha256, _config_of(kernel.image)]
            for role, kernel in built.kernels.items()
        },
        "bare": built.recipe.boot.initramfs is None,
        "needs": repr(plan.needs),
    }


def _on_bus(names: Iterable[str], bus: Bus | None) -> tuple[str, ...]:
    """Needs of a plan on this machine: it says `ide` for the machine's own disk, wherever that is."""
    own = () if bus is None else ("virtio-disk" if bus == Bus.VIRTIO else bus.value,)
    return tuple(need for name in names for need in (own if name == Bus.IDE else [name]))


def _config_of(image: KernelImage) -> str:
    """The hash of the configuration beside a kernel; one that is embedded is part of the kernel."""
    from harness.kernel import config

    path = config.path_beside(image)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""


def _version_of_checks() -> str:
    """What changes whenever a check may: size and time of all sources of the harness, and of the facts."""
    known = []
    for top in (_PROGRAM, data_root() / _FACTS):
        for directory, _, names in os.walk(top):
            for name in names:
                if name.endswith((".py", ".toml")):
                    look = os.stat(path := f"{directory}/{name}")  # noqa: PTH116 - of hundreds, before each boot
                    known.append((path, look.st_size, look.st_mtime_ns))
    return hashlib.sha256(repr(sorted(known)).encode()).hexdigest()


def _way(boot: MediumBoot, spec: Spec) -> str:
    """In which way the firmware must be able to boot a medium, as `checks.iso` calls it."""
    firmware = spec.firmware if isinstance(spec, MachineSpec) else Firmware.BIOS
    return f"from {'CD' if boot.medium == Medium.CD else 'USB'} by {firmware.upper()}"


def _check(built: Build, plan: Plan, spec: Spec, boot: DirectBoot | MediumBoot) -> tuple[str, ...]:
    from harness.formats.opened import open_image
    from harness.image.checks.verify import problems_for_boot, verify

    if isinstance(boot, MediumBoot):
        with open_image(boot.image) as image:
            problems = [each for each in verify(image, ways=(_way(boot, spec),)) if each.good is False]
        name = boot.image.name
    elif boot.initramfs is None:
        problems, name = [], ""  # the kernel mounts its root itself, and says what it does not find
    else:
        problems = problems_for_boot(
            boot.initramfs, built.kernels["seed"].image, command_line=boot.command_line, cpu=spec.cpu
        )
        name = boot.initramfs.name
    if problems:
        hint = f"{problems[0].hint}; --force boots it all the same"
        raise ConfigError(f"{name}: {problems[0].what}", hint=hint)
    remarks = []
    for role, kernel in built.kernels.items():
        findings = list(_needs(built, plan, spec, role))
        bad = [finding for finding in findings if finding.good is False]
        named = f"the {role} kernel {kernel.name} ({kernel.image.version})"
        if bad:
            also = f" (and {len(bad) - 1} more: `harness kernel inspect` lists them)" if bad[1:] else ""
            message = f"{named} does not fit the plan {plan.name}: {bad[0].what}{also}"
            raise ConfigError(message, hint=f"{bad[0].hint}; --force boots it all the same")
        remarks += [
            f"{named}: {finding.what} ({finding.hint})" for finding in findings if finding.good is None
        ]
    return tuple(remarks)


def _check_memory(plan: Plan, memory: int) -> None:
    """A kernel says that memory is short when it is too late; without one no program says it."""
    needed = plan.needs.memory
    if needed and memory < parse_size(needed):
        raise ConfigError(
            f"the plan {plan.name} needs {needed} of memory, and the machine has {format_size(memory)}",
            hint=f"leave out --memory, or give --memory {needed}; --force boots it all the same",
        )


def _needs(built: Build, plan: Plan, spec: Spec, role: str) -> Iterator[Finding]:
    from harness.image.checks.kernel_checks import check_kernel, check_needs, seed

    known = seed(built.kernels[role].image)
    # Nothing loads modules for a seed kernel that mounts its root itself, and nothing has to unpack archives.
    bare = role == "seed" and built.recipe.boot.initramfs is None
    found = check_kernel(known, spec.cpu, archives=not bare)
    yield from (finding for finding in found if finding.good is False)
    needs = plan.needs.of(role)
    built_in, modular = (_on_bus(names, spec.bus) for names in (needs.built_in, needs.modular))
    yield from check_needs(
        known,
        built_in=(*built_in, *(modular if bare else ())),
        modular=() if bare else modular,
        memory=spec.memory,
        command_line=spec.boot.command_line if spec.boot and role == "seed" else "",
    )
