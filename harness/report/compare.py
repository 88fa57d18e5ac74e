"""Two runs side by side: inputs, stages, consoles, products."""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
from collections import Counter
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.formats.diff import file_difference
from harness.formats.tree import Part
from harness.stages import products
from harness.stages.products import Difference, difference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
            name
            for name in (produced.differing if produced else ())
            if all((each.directory / "files" / name.lstrip("/")).is_file() for each in (first, second))
        ),
    )


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


PROGRAM = "diffoscope"
_TEXT = 1 << 20  # bytes: so much is compared line by line
_LINES = 200  # of our own display
_DIFFERENT = 1  # diffoscope's status; above it, it failed


class FileComparison(msgspec.Struct, frozen=True):
    """A file of two records."""

    path: str  # as the guests had it
    first: str  # where it lies in the first record
    second: str  # where in the other
    same: bool  # whether the bits are the same
    by: str  # "diffoscope", or "harness" for our own look
    lines: tuple[str, ...]  # what differs, in words
    note: str = ""  # why it is not diffoscope that looked; "" where it did, or nothing differs


def compare_file(path: str, first: Path, second: Path) -> FileComparison:
    """Compare a file that both records have."""
    one, other = _kept(first, path), _kept(second, path)
    places = (path, str(one), str(other))
    difference = file_difference(one, other, list(_sections(one)))
    if difference is None:
        return FileComparison(*places, same=True, by="harness", lines=())
    said = _diffoscope(one, other)
    if isinstance(said, list):
        return FileComparison(*places, same=False, by=PROGRAM, lines=tuple(said))
    text = _text_lines(one, other)
    sizes = f"{one.stat().st_size} and {other.stat().st_size} bytes"
    lines = (sizes, *(line.removeprefix("  ") for line in difference.lines()), *text)
    return FileComparison(*places, same=False, by="harness", lines=lines, note=said)


def _kept(directory: Path, path: str) -> Path:
    """Where a record has a file of its guest."""
    files = directory / "files"
    name = path.lstrip("/")
    kept = files / name
    if name and kept.is_file() and kept.resolve().is_relative_to(files.resolve()):
        return kept
    there = sorted(f"/{each.relative_to(files)}" for each in files.rglob("*") if each.is_file())
    hint = f"name it in the key `fetches` of a stage and run again; kept are: {', '.join(there) or 'none'}"
    raise ConfigError(f"the record {directory.name} has not kept the file {path}", hint=hint)


def _diffoscope(one: Path, other: Path) -> list[str] | str:
    """What diffoscope says; or, as text, why it says nothing."""
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} is not installed, and would show what the bytes mean"
    command = [PROGRAM, "--no-progress", "--text", "-", "--text-color", "never", "--", str(one), str(other)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != _DIFFERENT:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return f"{PROGRAM} ended with status {done.returncode}: {last or 'no reason given'}"
    return done.stdout.decode("utf-8", "replace").splitlines()


def _sections(path: Path) -> Iterator[Part]:
    """The sections of an ELF file, as parts of its bytes."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    with suppress(ELFError, OSError, ValueError), path.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            if section.name and section["sh_type"] != "SHT_NOBITS":
                yield Part(section.name, section["sh_offset"], section["sh_size"])


def _text_lines(one: Path, other: Path) -> list[str]:
    """The lines in which two texts differ; none for what is no text."""
    if max(one.stat().st_size, other.stat().st_size) > _TEXT:
        return []
    try:
        first, second = (path.read_text("utf-8").splitlines() for path in (one, other))
    except UnicodeDecodeError:
        return []
    found = difflib.unified_diff(first, second, "first", "second", lineterm="", n=1)
    lines = list(islice(found, _LINES + 1))
    return [*lines[:_LINES], *(["… and more"] if len(lines) > _LINES else [])]
