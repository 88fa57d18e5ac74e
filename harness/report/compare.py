"""Two runs side by side: inputs, stages, consoles, products."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.stages import products
from harness.stages.products import Difference, difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.record.reading import Mark, Reading
    from harness.record.record import RunDocument

_KEPT = 200  # lines of each stage and run that are kept; the rest is counted

_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"

# What differs between any two runs of the same thing, the more particular first. Checksums stay: hashes are
# longer than addresses.
_VOLATILE = [
    (re.compile(pattern), word)
    for pattern, word in (
        (r"^\[ *\d+\.\d{6}\] ", ""),  # printk
        (rf"\b(?:{_DAYS}) (?:{_MONTHS}) [ \d]\d\b", "DATE"),
        (r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d)?", "DATE"),
        (r"\b1\d{9}(?:\.\d+)?\b", "DATE"),  # seconds since 1970
        (r"\b\d\d?:\d\d(?::\d\d(?:\.\d+)?)?\b", "TIME"),
        (r"\b0x[0-9a-fA-F]+\b", "ADDRESS"),
        (r"(?<![0-9a-zA-Z])(?=[0-9a-f]*\d)(?:[0-9a-f]{16}|[0-9a-f]{8})(?![0-9a-zA-Z])", "ADDRESS"),
        (r"\b\d+(?:\.\d+)? ?(?:ns|us|µs|ms|msecs?|s|secs?|seconds?|m|min|minutes)\b", "DURATION"),
        (r"\b\d+(?:\.\d+)? ?(?:[kMG]?Hz|BogoMIPS|[kKMG]i?B/s)", "RATE"),
        (r"\blpj=\d+", "lpj=N"),
        (r"\bpid[ =:]\d+", "pid N"),
    )
]


class Changed(msgspec.Struct, frozen=True):
    """Something that is not the same in both runs."""

    what: str
    first: str
    second: str


class StagePair(msgspec.Struct, frozen=True):
    """A stage in both runs; status is "" where a run's plan does not have it, `wall` in host seconds."""

    name: str
    first: str
    second: str
    first_wall: float
    second_wall: float


class ConsolePair(msgspec.Struct, frozen=True):
    """What only one of the consoles said in a stage, without times and addresses."""

    stage: str  # its name
    only_first: tuple[str, ...]  # lines, in order; no more than 200
    only_second: tuple[str, ...]  # the same of the other
    first_count: int  # how many there are
    second_count: int  # the same of the other


class Comparison(msgspec.Struct, frozen=True):
    """Two runs side by side."""

    first: str  # id of a run
    second: str  # id of the other
    inputs: tuple[Changed, ...]  # what went in and is not the same
    ends: tuple[Changed, ...]  # verdict, checks and facts that are not the same
    stages: tuple[StagePair, ...]  # all stages, in order
    consoles: tuple[ConsolePair, ...]  # stages in which the consoles differ
    produced: Difference | None  # the files that the guests made; None unless both records have them
    # those of the differing ones that both records kept, so that they can be looked at
    kept: tuple[str, ...] = ()


def compare(first: Reading, second: Reading) -> Comparison:
    """Compare two records."""
    made = products.read(first.directory), products.read(second.directory)
    produced = difference(made[0], made[1]) if made[0] is not None and made[1] is not None else None
    return Comparison(
        first=first.document.id,
        second=second.document.id,
        inputs=tuple(_changed(_inputs(first.document), _inputs(second.document))),
        ends=tuple(_changed(_ends(first), _ends(second))),
        stages=tuple(_stages(first.document, second.document)),
        consoles=tuple(_consoles(first, second)),
        produced=produced,
        kept=tuple(
            name for name in (produced.differing if produced else ()) if _both_kept(first, second, name)
        ),
    )


def _both_kept(first: Reading, second: Reading, names: Sequence[str]) -> tuple[str, ...]:
    places = [each.directory / "files" for each in (first, second)]
    return tuple(name for name in names if all((place / name.lstrip("/")).is_file() for place in places))


def normalised(line: str) -> str:
    """A console line without times, addresses and rates."""
    for pattern, word in _VOLATILE:
        line = pattern.sub(word, line)
    return line


def _changed(first: dict[str, str], second: dict[str, str]) -> Iterator[Changed]:
    for what in dict.fromkeys([*first, *second]):
        one, other = first.get(what, ""), second.get(what, "")
        if one != other:
            yield Changed(what, one, other)


def _inputs(document: RunDocument) -> dict[str, str]:
    found = {
        "recipe": document.recipe,
        "recipe_sha256": document.recipe_sha256,
        "plan": document.plan,
        "plan_sha256": document.plan_sha256,
        "harness": document.harness,
    }
    for kernel in document.kernels:
        found[f"kernel {kernel.role}"] = f"{kernel.name} {kernel.version}"
        found[f"kernel {kernel.role} sha256"] = kernel.sha256
    found |= {f"image {image.name} sha256": image.digest or image.sha256 for image in document.images}
    if document.machine:
        machine = msgspec.to_builtins(document.machine)
        found |= {f"machine {key}": str(value) for key, value in machine.items()}
    found |= {f"host {key}": str(value) for key, value in msgspec.to_builtins(document.host).items()}
    if document.resumed:
        found["resumed at"] = f"{document.resumed.stage} of {document.resumed.run}"
    return found


def _ends(reading: Reading) -> dict[str, str]:
    document = reading.document
    found = {"verdict": normalised(reading.ending())}
    for check in document.checks:
        found[f"check {check.stage}: {check.name}"] = "passed" if check.passed else f"failed: {check.answer}"
    facts = {name: value for name, value in document.facts.items() if not name.startswith("nonce")}
    return found | {f"fact {name}": value for name, value in facts.items()}


def _stages(first: RunDocument, second: RunDocument) -> Iterator[StagePair]:
    ones = {stage.name: stage for stage in first.stages}
    others = {stage.name: stage for stage in second.stages}
    for name in dict.fromkeys([*ones, *others]):
        one, other = ones.get(name), others.get(name)
        yield StagePair(
            name,
            str(one.status) if one else "",
            str(other.status) if other else "",
            one.wall if one else 0.0,
            other.wall if other else 0.0,
        )


def _consoles(first: Reading, second: Reading) -> Iterator[ConsolePair]:
    """Lines that one console has more often than the other, stage by stage.

    The order does not matter: kernels print from several processors. From the first stage with checks on the
    console shows what was typed, which is another text each time; the answers are compared instead.
    """
    typed = {check.stage for each in (first, second) for check in each.document.checks}
    began = [mark.text for each in (first, second) for mark in _marks(each)]
    for stage in dict.fromkeys(began):
        if stage in typed:
            return
        one, other = Counter(_said(first, stage)), Counter(_said(second, stage))
        less, more = one - other, other - one
        if less or more:
            yield ConsolePair(stage, tuple(less)[:_KEPT], tuple(more)[:_KEPT], less.total(), more.total())


def _said(reading: Reading, stage: str) -> Iterator[str]:
    if stage in [mark.text for mark in _marks(reading)]:
        start, end = reading.span(stage, stage)
        yield from (normalised(line.text) for line in reading.lines(start, end))


def _marks(reading: Reading) -> list[Mark]:
    try:
        return reading.stages()
    except ConfigError:
        return []  # it ended before there was a machine
