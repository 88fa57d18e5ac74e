"""What is found out before anything boots: whether kernels, images and plan fit together."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.core.paths import data_root
from harness.core.sizes import format_size, parse_size
from harness.machine.protocol import Bus, DirectBoot, DiskBoot, MediumBoot
from harness.run.options import start_of
from harness.stages.plan_file import load_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.image.checks.kernel_checks import Finding
    from harness.image.factory import Build
    from harness.kernel.image import KernelImage
    from harness.run.pipeline import RunOptions
    from harness.store import Store

_PROGRAM = Path(__file__).parents[1]
# Where the checks are, and the facts that they go by.
_CHECKS = (
    "core/*.py",
    "formats/**/*.py",
    "image/*.py",
    "image/checks/*.py",
    "kernel/*.py",
    "run/*.py",
    "stages/*.py",
)
_FACTS = "kernels/features/*.toml"


def check_images(built: Build, options: RunOptions, store: Store) -> tuple[str, ...]:
    """Find out what would keep the kernels from starting init without a word, or fail the plan for sure.

    That nothing would is kept in the store, and not found out again for the same kernels, images and plan.

    Returns:
        Remarks, a sentence each: what is not as it should be, and fails nothing.

    Raises:
        ConfigError: Something would.
    """
    if not options.machine.has_kernel:
        return ()
    spec = start_of(built, options)
    if isinstance(spec, DiskBoot):
        _check_memory(built, options)
        return ()  # what it holds is checked where it is made

    def build(directory: Path) -> None:
        remarks = _check(built, options, spec)
        (directory / "remarks.json").write_text(json.dumps(remarks), encoding="utf-8")

    kept = store.get("fitness", _inputs(built, options, spec), build) / "remarks.json"
    return tuple(json.loads(kept.read_text(encoding="utf-8")))


def _inputs(built: Build, options: RunOptions, spec: DirectBoot | MediumBoot) -> dict[str, object]:
    """All that the answer depends on."""
    booted = spec.image if isinstance(spec, MediumBoot) else spec.initramfs
    return {
        "checks": _version_of_checks(),
        "image": next((image.sha256 for image in built.images.values() if image.path == booted), ""),
        "names": [booted.name if booted else "", built.recipe.plan.stem],
        "medium": isinstance(spec, MediumBoot),
        "command-line": spec.command_line,
        "disk": _disk_needs(options),
        "cpu": built.recipe.boot.cpu if options.cpu is None else options.cpu,
        "memory": options.memory or built.recipe.boot.memory_bytes,
        "kernels": {
            role: [kernel.name, kernel.image.path.name, kernel.image.sha256, _config_of(kernel.image)]
            for role, kernel in built.kernels.items()
        },
        "bare": built.recipe.boot.initramfs is None,
        "needs": repr(load_plan(built.recipe.plan).needs),
    }


def _disk_needs(options: RunOptions) -> list[str]:
    """What a kernel needs for the machine's own disk; nobody knows a board's controller."""
    return [] if options.board is not None else [str(Bus.of_disk(options.firmware))]


def _on_machine(names: Iterable[str], options: RunOptions) -> tuple[str, ...]:
    """Needs of a plan on this machine: it says `ide` for the machine's own disk, wherever that is."""
    return tuple(need for name in names for need in (_disk_needs(options) if name == Bus.IDE else [name]))


def _config_of(image: KernelImage) -> str:
    """The hash of the configuration beside a kernel; one that is embedded is part of the kernel."""
    from harness.kernel import config

    path = config.path_beside(image)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""


def _version_of_checks() -> str:
    """What changes whenever a check does: size and time of all files that have to do with them."""
    files = [path for pattern in _CHECKS for path in _PROGRAM.glob(pattern)]
    looks = [(path, path.stat()) for path in sorted([*files, *data_root().glob(_FACTS)])]
    known = [(str(path), look.st_size, look.st_mtime_ns) for path, look in looks]
    return hashlib.sha256(repr(known).encode()).hexdigest()


def _check(built: Build, options: RunOptions, spec: DirectBoot | MediumBoot) -> tuple[str, ...]:
    from harness.formats.opened import open_image
    from harness.image.checks.verify import problems_for_boot, verify

    if isinstance(spec, MediumBoot):
        with open_image(spec.image) as image:
            problems = [finding for finding in verify(image) if finding.good is False]
        name = spec.image.name
    elif spec.initramfs is None:
        problems, name = [], ""  # the kernel mounts its root itself, and says what it does not find
    else:
        cpu = built.recipe.boot.cpu if options.cpu is None else options.cpu
        problems = problems_for_boot(
            spec.initramfs, built.kernels["seed"].image, command_line=spec.command_line, cpu=cpu
        )
        name = spec.initramfs.name
    if problems:
        hint = f"{problems[0].hint}; --force boots it all the same"
        raise ConfigError(f"{name}: {problems[0].what}", hint=hint)
    remarks = []
    for role in built.kernels:
        findings = list(_needs(built, options, role, spec.command_line if role == "seed" else ""))
        bad = [finding for finding in findings if finding.good is False]
        kernel = f"the {role} kernel {built.kernels[role].name} ({built.kernels[role].image.version})"
        if bad:
            also = f" (and {len(bad) - 1} more: `harness kernel inspect` lists them)" if bad[1:] else ""
            message = f"{kernel} does not fit the plan {built.recipe.plan.stem}: {bad[0].what}{also}"
            raise ConfigError(message, hint=f"{bad[0].hint}; --force boots it all the same")
        remarks += [
            f"{kernel}: {finding.what} ({finding.hint})" for finding in findings if finding.good is None
        ]
    return tuple(remarks)


def _check_memory(built: Build, options: RunOptions) -> None:
    """Without a kernel of Linux there is nobody who would say that memory is short."""
    plan = built.recipe.plan
    needed = load_plan(plan).needs.memory
    memory = options.memory or built.recipe.boot.memory_bytes
    if needed and memory < parse_size(needed):
        raise ConfigError(
            f"the plan {plan.stem} needs {needed} of memory, and the machine has {format_size(memory)}",
            hint=f"leave out --memory, or give --memory {needed}; --force boots it all the same",
        )


def _needs(built: Build, options: RunOptions, role: str, command_line: str) -> Iterator[Finding]:
    from harness.image.checks.kernel_checks import check_kernel, check_needs, seed

    known = seed(built.kernels[role].image)
    cpu = built.recipe.boot.cpu if options.cpu is None else options.cpu
    # Nothing loads modules for a seed kernel that mounts its root itself, and nothing has to unpack archives.
    bare = role == "seed" and built.recipe.boot.initramfs is None
    yield from (finding for finding in check_kernel(known, cpu, archives=not bare) if finding.good is False)
    needs = load_plan(built.recipe.plan).needs.of(role)
    built_in, modular = (_on_machine(names, options) for names in (needs.built_in, needs.modular))
    yield from check_needs(
        known,
        built_in=(*built_in, *(modular if bare else ())),
        modular=() if bare else modular,
        memory=options.memory or built.recipe.boot.memory_bytes,
        command_line=command_line,
    )
