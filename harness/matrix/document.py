"""Types of a matrix file, such as `ci/nightly.toml`.

`docs/matrix.md` describes every key.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from harness.core import toml
from harness.core.errors import ConfigError
from harness.kernel.catalogue import is_path, kernel_files
from harness.machine.kinds import find_kind
from harness.payload.chosen import WITHOUT_LINUX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The kinds of MachineKind; a board with its name.
Machine = Annotated[str, msgspec.Meta(pattern=r"^(qemu|chroot|bwrap|board:[^/]+)$")]
AcceleratorName = Literal["auto", "kvm", "tcg"]
MediumName = Literal["direct", "cd", "usb-xhci", "usb-ehci"]
FirmwareName = Literal["bios", "uefi"]
Size = Annotated[str, msgspec.Meta(pattern=r"^[1-9]\d*[KMGT]?$")]
Reason = Annotated[str, msgspec.Meta(min_length=1)]


class Checkout(toml.Table, frozen=True):
    """A checkout of a bootstrap, which cells run like a recipe; keys as options of `harness run`."""

    recipe: str  # what is named after `harness run`
    tree: str  # where it is
    arch: Literal["x86", "AMD64"] = "x86"  # of stage0-posix
    builder: str = ""  # a checkout of builder-hex0; "" for none
    instrument: bool = False  # whether a script is added that tells more
    incomplete: bool = False  # whether distfiles may be missing
    jobs: Annotated[int, msgspec.Meta(ge=1, le=255)] = 1  # build jobs of its guest

    @property
    def words(self) -> list[str]:
        """The same on the command line, as far as it is not what holds without a word."""
        flags = {"--instrument": self.instrument, "--incomplete": self.incomplete}
        return [
            self.recipe,
            *("--tree", self.tree),
            *(("--arch", self.arch) if self.arch != "x86" else ()),
            *(("--builder", self.builder) if self.builder else ()),
            *(("--jobs", str(self.jobs)) if self.jobs != 1 else ()),
            *(flag for flag, given in flags.items() if given),
        ]


class Axes(toml.Table, frozen=True):
    """What is combined, each with each, as far as a machine has it.

    Kernels and memory that are not given are the recipe's own.
    """

    recipes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    kernels: tuple[str, ...] = ()
    machines: tuple[Machine, ...] = ("qemu",)
    accelerators: tuple[AcceleratorName, ...] = ("auto",)
    memory: tuple[Size, ...] = ()
    media: tuple[MediumName, ...] = ("direct",)
    firmware: tuple[FirmwareName, ...] = ("bios",)


class Include(toml.Table, frozen=True):
    """One more cell."""

    recipe: str
    kernel: str | None = None
    machine: Machine = "qemu"
    accelerator: AcceleratorName = "auto"
    memory: Size | None = None
    medium: MediumName = "direct"
    firmware: FirmwareName = "bios"


class Match(toml.Table, frozen=True):
    """Patterns, as in file names, that a cell has to fit; those that are not given fit all."""

    recipe: str | None = None
    kernel: str | None = None
    machine: str | None = None
    accelerator: str | None = None
    memory: str | None = None
    medium: str | None = None
    firmware: str | None = None


class Exclude(Match, frozen=True):
    """Cells that are left out."""

    reason: str = ""


class Rule(Match, frozen=True):
    """What else holds for some cells: failures that are known, and more time."""

    allow: Literal["fail"] | None = None
    reason: str = ""
    expires: date | None = None
    patience: float = 1.0


class MatrixDocument(toml.Table, frozen=True):
    """A matrix file."""

    summary: str
    axes: Axes
    checkout: dict[str, Checkout] = {}  # noqa: RUF012 - msgspec copies it
    include: tuple[Include, ...] = ()
    exclude: tuple[Exclude, ...] = ()
    rule: tuple[Rule, ...] = ()

    def recipe_names(self) -> Iterator[tuple[str, str]]:
        """Each recipe that is named, behind its key."""
        for number, name in enumerate(self.axes.recipes):
            yield f"axes.recipes[{number}]", name
        for number, included in enumerate(self.include):
            yield f"include[{number}].recipe", included.recipe

    def kernel_names(self) -> Iterator[tuple[str, str]]:
        """Each kernel that is named, behind its key."""
        for number, name in enumerate(self.axes.kernels):
            yield f"axes.kernels[{number}]", name
        for number, included in enumerate(self.include):
            if included.kernel is not None:
                yield f"include[{number}].kernel", included.kernel


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
            hint = f'name "{name}" in axes.recipes or as the recipe of an [[include]], or leave it out'
            raise ConfigError(f"{path}: key checkout.{name} is the recipe of no cell", hint=hint)


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
            message = f"{path}: key include[{number}].{key} is not for the machine {one.machine}"
            raise ConfigError(message, hint="leave it out; docs/matrix.md says what each machine has")


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
