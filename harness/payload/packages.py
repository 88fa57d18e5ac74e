"""Follows the packages of a bootstrap on its console.

The lines are those of live-bootstrap's helpers.sh and kaem scripts from 2021 to 2026, and of images/genesis.
A package may be built several times, so each is known by its name and occurrence.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.payload.tree import SourceTree

_KAEM = re.compile(r' \+> pkg="?(?P<name>[\w.+-]+)"? ?')
_GENESIS = re.compile(r"= genesis: package (?P<name>[\w.+-]+)")
_PHASE = re.compile(
    r"(?P<name>[\w.+-]+): (?P<phase>beginning build|getting sources|unpacking source|preparing source|"
    r"configuring source|compiling source|install to fakeroot|postprocess binaries|creating package|"
    r"checksumming created package|checksumming installed files|cleaning up|installing package|installing|"
    r"build successful|installing prebuilt package)(?: using script \S+)?\.?"
)
_CHECKSUM = re.compile(r"(?P<file>\S+): (?P<answer>OK|FAILED)")
_DONE = ("build successful", "installing prebuilt package")


class State(StrEnum):
    """How far a package is."""

    BUILDING = "building"
    DONE = "done"


class Package(msgspec.Struct, frozen=True):
    """A package that is or was built."""

    name: str  # its name with version, as the tree calls it
    occurrence: int  # the how manieth of that name it is, from 1
    phase: str  # what is done with it, in the scripts' words
    state: State  # how far it is
    began: float  # when, in seconds of the run
    # when it was done; or when the next one began, where scripts do not say when they are done
    ended: float | None = None

    @property
    def title(self) -> str:
        """Name and, from the second on, occurrence."""
        return self.name if self.occurrence == 1 else f"{self.name} ({self.occurrence})"


class Packages:
    """Learns from console lines; constant cost per line."""

    def __init__(self) -> None:
        self.all: list[Package] = []  # in order; the last one may be going on
        self.good = 0  # how many checksums were right
        self.wrong: list[str] = []  # files whose checksums were wrong
        self._seen: Counter[str] = Counter()

    @property
    def current(self) -> Package | None:
        """The package that is built now."""
        return self.all[-1] if self.all and self.all[-1].state == State.BUILDING else None

    def heard(self, line: str, clock: Callable[[], float]) -> Package | None:
        """Take a console line, cleaned and without its end; return the package that moved on with it, if any.

        `clock` says when it came, in seconds of the run, and is asked only for lines about packages.
        """
        if match := _KAEM.fullmatch(line):
            return self._begin(match["name"], "kaem script", clock())
        if match := _GENESIS.fullmatch(line):
            return self._begin(match["name"], "steps", clock())
        if match := _PHASE.fullmatch(line):
            return self._phase(match["name"], match["phase"], clock())
        if match := _CHECKSUM.fullmatch(line):
            if match["answer"] == "OK":
                self.good += 1
            else:
                self.wrong.append(match["file"])
        return None

    def end(self, when: float) -> None:
        """The run is over."""
        if (current := self.current) is not None:
            self.all[-1] = msgspec.structs.replace(current, ended=when)

    def _phase(self, name: str, phase: str, when: float) -> Package:
        current = self.current
        # A kaem script that calls the functions of bash later announces itself twice.
        same = current is not None and current.name == name
        again = phase == "beginning build" and (current is None or current.phase != "kaem script")
        if current is None or not same or again:
            current = self._begin(name, phase, when)
        state = State.DONE if phase in _DONE else State.BUILDING
        ended = when if state == State.DONE else None
        self.all[-1] = msgspec.structs.replace(current, phase=phase, state=state, ended=ended)
        return self.all[-1]

    def _begin(self, name: str, phase: str, when: float) -> Package:
        if (current := self.current) is not None:
            self.all[-1] = msgspec.structs.replace(current, state=State.DONE, ended=when)
        self._seen[name] += 1
        self.all.append(Package(name, self._seen[name], phase, State.BUILDING, when))
        return self.all[-1]


def expected(tree: SourceTree, settings: dict[str, str]) -> tuple[str, ...]:
    """The packages that a tree's manifest says will be built, in order; empty where it has no manifest."""
    if not tree.era.manifest:
        return ()
    from harness.payload.source_lists import built_package, steps

    known = dict(settings)
    names = []
    for line in steps(tree.path / tree.era.manifest):
        words, _, condition = line.partition("(")
        condition = condition.partition("#")[0].rpartition(")")[0].strip()
        if definition := re.fullmatch(r"define: +(\w+) *= *(.*?) *", words.partition("#")[0]):
            _define(known, definition[1], definition[2], condition)
        elif (package := built_package(line)) and (not condition or _holds(condition, known)):
            names.append(package)
    return tuple(names)


def _define(known: dict[str, str], name: str, value: str, condition: str) -> None:
    if not value:  # NAME = ( CONDITION ): whether it holds
        known[name] = "True" if _holds(condition, known) else "False"
    elif not condition or _holds(condition, known):
        known[name] = value


def _holds(condition: str, known: dict[str, str]) -> bool:
    """Whether a condition of the manifest is true, read from left to right."""
    words: Sequence[str] = condition.split()
    result = True
    for start in range(0, len(words), 4):
        name, operator, value = (*words[start : start + 3], "", "", "")[:3]
        equal = known.get(name, "") == value
        here = equal if operator == "==" else not equal
        if start == 0:
            result = here
        elif words[start - 1] == "&&":
            result = result and here
        else:
            result = result or here
    return result
