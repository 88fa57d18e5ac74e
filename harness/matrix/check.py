"""Checks which keys of a matrix file make sense together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.kernel.catalogue import is_path, kernel_files
from harness.machine.kinds import find_kind
from harness.payload.chosen import WITHOUT_LINUX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.matrix.document import MatrixDocument


def check(path: Path, document: MatrixDocument) -> None:
    """Find mistakes of single tables, before anything is combined."""
    _check_checkouts(path, document)
    _check_includes(path, document)
    _check_rules(path, document)


def kernel_notes(path: Path, document: MatrixDocument) -> Iterator[str]:
    """Kernels that the catalogue has not: their cells end as CONFIG, which a rule may allow; others go on."""
    known = kernel_files()
    for key, name in document.kernel_names():
        if name not in known and name != WITHOUT_LINUX and not name.endswith(".toml") and not is_path(name):
            yield f"{path}: key {key}: there is no kernel {name!r}; there are {', '.join(known)}"


def _check_checkouts(path: Path, document: MatrixDocument) -> None:
    """One that no cell runs is as good as a misspelt one."""
    used = {name for _, name in document.recipe_names()}
    for name in document.checkout:
        if name not in used:
            raise ConfigError(
                f"{path}: key checkout.{name} is the recipe of no cell",
                hint=f'name "{name}" in axes.recipes or as the recipe of an [[include]], or leave it out',
            )


def _check_includes(path: Path, document: MatrixDocument) -> None:
    """Keys that a machine has no use for are mistakes where they are said of one cell."""
    for number, one in enumerate(document.include):
        kind = find_kind(one.machine)
        given = {
            "kernel": one.kernel is not None,
            "accelerator": one.accelerator != "auto",
            "memory": one.memory is not None,
            "medium": one.medium != "direct",
            "firmware": one.firmware != "bios",
        }
        for key in (key for key, was_given in given.items() if was_given and not kind.takes(f"--{key}")):
            raise ConfigError(
                f"{path}: key include[{number}].{key} is not for the machine {one.machine}",
                hint="leave it out; docs/matrix.md says what each machine has",
            )


def _check_rules(path: Path, document: MatrixDocument) -> None:
    hint = "see docs/matrix.md for the keys"
    for number, rule in enumerate(document.rule):
        key = f"{path}: key rule[{number}]"
        if rule.allow and not rule.reason:
            raise ConfigError(f"{key}.reason is missing: why may these cells fail?", hint=hint)
        if rule.allow and rule.expires is None:
            raise ConfigError(f"{key}.expires is missing: until when may these cells fail?", hint=hint)
        if not rule.allow and rule.expires is not None:
            raise ConfigError(f'{key}.expires does nothing without allow = "fail"', hint=hint)
        if rule.patience <= 0:
            raise ConfigError(f"{key}.patience has to be more than 0", hint=hint)
