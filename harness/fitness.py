"""What is found out before anything boots: whether kernels, images and plan fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import ConfigError
from harness.machine.protocol import DiskBoot, MediumBoot
from harness.size import format_size, parse_size
from harness.stages.plan_file import load_plan
from harness.starting import start_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.image.factory import Build
    from harness.image.inspect.kernel_checks import Finding
    from harness.pipeline import RunOptions


def check_images(built: Build, options: RunOptions) -> tuple[str, ...]:
    """Find out what would keep the kernels from starting init without a word, or fail the plan for sure.

    Returns:
        Remarks, a sentence each: what is not as it should be, and fails nothing.

    Raises:
        ConfigError: Something would.
    """
    from harness.image.inspect.opened import open_image
    from harness.image.inspect.verify import problems_for_boot, verify

    if not options.machine.has_kernel:
        return ()
    spec = start_of(built, options)
    if isinstance(spec, DiskBoot):
        _check_memory(built, options)
        return ()  # what it holds is checked where it is made
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
    from harness.image.inspect.kernel_checks import check_kernel, check_needs, seed

    known = seed(built.kernels[role].image)
    cpu = built.recipe.boot.cpu if options.cpu is None else options.cpu
    # Nothing loads modules for a seed kernel that mounts its root itself, and nothing has to unpack archives.
    bare = role == "seed" and built.recipe.boot.initramfs is None
    yield from (finding for finding in check_kernel(known, cpu, archives=not bare) if finding.good is False)
    needs = load_plan(built.recipe.plan).needs.of(role)
    yield from check_needs(
        known,
        built_in=(*needs.built_in, *(needs.modular if bare else ())),
        modular=() if bare else needs.modular,
        memory=options.memory or built.recipe.boot.memory_bytes,
        command_line=command_line,
    )
