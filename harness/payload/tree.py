"""Recognises a user's checkout by its files.

Dates, names and commits do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.payload.era import Era, Mode, ModeName, Submodule, load_eras
from harness.sources.checkout import stray_files
from harness.sources.committed import submodules_hint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


_NEAREST = 2  # eras that an error names
_SHOWN = 3  # of what was looked for and not found, per era
_ASKED: dict[ModeName, str] = {
    "qemu": "--machine qemu",
    "builder-hex0": "--kernel builder-hex0",
    "chroot": "--machine chroot",
    "bwrap": "--machine bwrap",
    "board": "--machine board:NAME",
}


class SourceTree(msgspec.Struct, frozen=True):
    """A checkout that is of an era."""

    path: Path  # the checkout; nothing ever writes to it
    era: Era  # what it is
    stray: tuple[str, ...] | None  # what lies in it and git does not track: left out. None outside of git

    @property
    def modes(self) -> tuple[ModeName, ...]:
        """The ways of its era that this tree offers: some came later than the era."""
        return tuple(name for name, mode in self.era.mode.items() if not [*_unsaid(self.path, mode.saying)])

    def mode(self, name: ModeName) -> Mode:
        """How it is run in a mode."""
        lacks = [] if name in self.era.mode else [self.era.refused.get(name, "its era has none")]
        if not lacks:
            mode = self.era.mode[name]
            lacks = [*_unsaid(self.path, mode.saying)]
        if lacks:
            offered = [f"{each} ({_ASKED[each]})" for each in self.modes]
            message = f"{self.path} ({self.era.name}) does not offer the mode {name}: {', '.join(lacks)}"
            raise ConfigError(message, hint=f"its modes: {', '.join(offered) or 'none'}")
        _check_submodules(self.path, mode.submodule)
        return mode


def recognise(path: Path, eras: Sequence[Era] | None = None) -> SourceTree:
    """Find out of which era a checkout is, and that it is whole."""
    path = path.absolute()
    if not path.is_dir():
        raise ConfigError(f"{path} is no directory", hint="give the checkout of a bootstrap with --tree")
    lacks = compared(path, eras)
    fitting = [era for era, reasons in lacks if not reasons]
    if not fitting:
        raise _refusal(path, lacks)
    if len(fitting) > 1:
        names = " and ".join(era.name for era in fitting)
        raise ConfigError(f"{path} fits the eras {names}", hint="an era's file needs another key absent")
    era = fitting[0]
    _check_submodules(path, era.submodule)
    stray = stray_files(path)
    if stray is None:
        _check_stale(path, era)
    return SourceTree(path, era, stray)


def compared(path: Path, eras: Sequence[Era] | None = None) -> list[tuple[Era, tuple[str, ...]]]:
    """Each era with what a directory lacks for it, or has too much; the nearest era first."""
    lacks = [(era, tuple(_misfits(path, era))) for era in (load_eras() if eras is None else eras)]
    return sorted(lacks, key=lambda item: len(item[1]))


def _misfits(path: Path, era: Era) -> Iterator[str]:
    for pattern in era.present:
        if not _has(path, pattern):
            yield f"no {pattern}"
    for pattern in era.absent:
        if _has(path, pattern):
            yield f"{pattern} is there"
    yield from _unsaid(path, era.saying)
    for name, words in era.lacking.items():
        if says(path / name, words):
            yield f"{name} says {words}"


def _has(path: Path, pattern: str) -> bool:
    return next(path.glob(pattern), None) is not None


def says(file: Path, words: str) -> bool:
    """Whether a file is there, and has these words."""
    return file.is_file() and words in file.read_text("utf-8", errors="replace")


def _unsaid(path: Path, saying: Mapping[str, str]) -> Iterator[str]:
    for name, words in saying.items():
        if not says(path / name, words):
            yield f"{name} does not say {words}"


def _refusal(path: Path, lacks: Sequence[tuple[Era, Sequence[str]]]) -> ConfigError:
    words = []
    for era, reasons in lacks[:_NEAREST]:
        more = f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
        words.append(f"{era.name} ({', '.join(reasons[:_SHOWN])}{more})")
    found = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir() if entry.name[0] != ".")
    there = ", ".join(found[:12]) + (", …" if len(found) > 12 else "") if found else "nothing"
    return ConfigError(
        f"{path} is of no era that is known; the nearest are {' and '.join(words)}. Found: {there}",
        hint=f"give the top directory of a checkout; `harness list --tree {path}` compares it with all eras",
    )


def _check_submodules(path: Path, modules: Sequence[Submodule]) -> None:
    missing = [module for module in modules if not _has(path, f"{module.path}/{module.proof}")]
    if missing:
        names = ", ".join(module.path for module in missing)
        what = "submodule is" if len(missing) == 1 else "submodules are"
        message = f"{path}: {len(missing)} {what} not checked out: {names}"
        raise ConfigError(message, hint=submodules_hint(path))


def _check_stale(path: Path, era: Era) -> None:
    for pattern in era.stale:
        found = next(path.glob(pattern), None)
        if found is not None:
            raise ConfigError(
                f"{found.relative_to(path)} in {path} is what an earlier run left, and git does not say what "
                "else is",
                hint="give a fresh copy, or a checkout with its .git: then only what git tracks is taken",
            )
