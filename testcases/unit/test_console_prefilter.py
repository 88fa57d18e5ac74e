"""The fast way through a block of lines sees what the slow and plain one sees."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.console.lines import STAMP, Block
from harness.console.prefilter import Sieve
from harness.console.watcher import Marker, MarkerMatch, Watcher
from harness.stages.plan_file import load_plan, plan_files

if TYPE_CHECKING:
    from collections.abc import Iterable

# Patterns as plans have them, and every kind of which RE2 has ideas of its own.
PATTERNS = [
    r"^ready (?P<name>\w+)$",
    r"ready",
    r"^(?:.*: )?No space$",
    r"^\[ *0\.000000\] Linux",
    r"^Linux version (?P<version>\S+)",
    r"^(Wanted|Received): [0-9a-f]+$|^lost$",
    r"\^x|[]^x]lost|(^|[^]a])6",
    r"(?:^|: )FAILED$",
    r'open "(?P<device>(?!\(null\))[^"]+)"',
    r"(?i)PANIC",
    r"a{,2}b$",
    r"\Aready",
    r"ready\Z",
    r"[\[:w]x[:]",
    r"^\s*x\b",
    r"[^a]$",
    r"ö?x",
    r"\bcrng\b",
    r"(?s)a.b",
    r"x*",
]
WORDS = ["ready", "sysa", " ", "x", "Linux version ", "6.1", "No space", "Wanted: ", "ab", "lost", ": FAILED"]
WORDS += [
    "panic",
    "PANIC",
    'open "sda"',
    'open "(null)"',
    "ö",
    "\u00a0",
    "\ufffd",
    "٣",
    "random: crng init done",
]
STAMPS = [
    "[    0.000000] ",
    "[   12.345678] ",
    "[   ٣.345678] ",
    "[    0.900000] reboot: ",
    "[    1.000000][    T1] ",
    "[ 1.0] ",
    "[",
]
ENDS = ["\n", "\r\n", "\r\r\n", "\r"]
PIECES = st.sampled_from([*WORDS, *STAMPS, *ENDS, *ENDS, "\x1b[1m", "\t", "\0"])
STREAMS = st.lists(PIECES, max_size=40).map("".join)


def markers(patterns: list[str]) -> tuple[Marker, ...]:
    return tuple(Marker(f"m{n}", re.compile(p), prompt=n % 5 == 4) for n, p in enumerate(patterns))


def numbers(patterns: Iterable[re.Pattern[str]], text: bytes) -> list[int]:
    """The numbers of the lines that a sieve lets through."""
    candidates = Sieve(patterns).candidates(text)
    starts = [0, *(newline.end() for newline in re.finditer(rb"\n", text))]
    assert [candidate.start for candidate in candidates] == [starts[number] for number, _ in candidates]
    return [candidate.number for candidate in candidates]


@given(st.lists(st.sampled_from(PATTERNS), max_size=4), STREAMS)
@example([r"^ready (?P<name>\w+)$"], "[    1.000000] ready sysa\n")
@example([r"ready\Z"], "ready\nx\n")
@example([r"ö?x"], "x\n")
@example([r"a{,2}b$"], "xaab\n")
@example([r"\Aready"], "x\nready\n")
@example([r"^ready (?P<name>\w+)$"], "ready ö\n")
@example([r"(?:^|: )FAILED$"], "[    1.000000] FAILED\n")
@example([r"^(Wanted|Received): [0-9a-f]+$|^lost$"], "[    1.000000][    T1] lost\n")
@example([r"\^x|[]^x]lost|(^|[^]a])6"], "[    1.000000] 6.1\n^lost\n")
def test_no_line_is_lost_that_a_pattern_matches(patterns: list[str], stream: str) -> None:
    compiled = [re.compile(pattern) for pattern in patterns]
    block = Block(stream.encode() + b"\n", 0)
    candidates = numbers(compiled, block.text)
    assert candidates == sorted(set(candidates))
    assert all(0 <= number < len(block) for number in candidates)
    for number, line in enumerate(block):
        message = STAMP.sub("", line.text, count=1) if STAMP.match(line.text) else line.text
        if any(pattern.search(text) for pattern in compiled for text in (line.text, message)):
            assert number in candidates, line


def test_flags_that_are_no_part_of_the_pattern_count_as_well() -> None:
    assert numbers([re.compile("panic", re.IGNORECASE)], b"x\nPANIC\n") == [0, 1]


def test_no_match_reaches_over_the_end_of_a_line() -> None:
    assert numbers([re.compile(r"begin[^x]+end")], b"begin a\nb end\nbegin c end\n") == [2]


def test_lines_of_no_interest_are_passed_over() -> None:
    plan = load_plan(Path(__file__).parents[2] / "images/plans/relay.toml")
    text = b"checking for error... no\n[    1.000000] random: crng init done\ngcc -c panic.c\n" * 100
    for stage in plan.stages:
        wanted = (*plan.failure_markers(stage), *plan.note_markers(stage))
        patterns = [marker.pattern for marker in wanted]
        assert numbers(patterns, text) == []
        assert numbers(patterns, text + b"Kernel panic - not syncing: x\n") == [300]


def plainly(stream: bytes, first: tuple[Marker, ...], second: tuple[Marker, ...]) -> list[MarkerMatch]:
    """Line by line; the markers change with the first sighting."""
    watcher, seen = Watcher(), list[MarkerMatch]()
    for line in watcher.feed(stream):
        seen += watcher.match(line, second if seen else first)
    for line in watcher.finish():
        seen += watcher.match(line, second if seen else first)
    return seen


def quickly(
    stream: bytes, cuts: list[int], first: tuple[Marker, ...], second: tuple[Marker, ...]
) -> list[MarkerMatch]:
    watcher, seen = Watcher(), list[MarkerMatch]()
    for start, end in pairwise([0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]):
        watcher.feed(stream[start:end])
        while watcher.pending:
            seen += watcher.look(second if seen else first)
    for line in watcher.finish():
        seen += watcher.match(line, second if seen else first)
    return seen


@given(
    st.lists(st.sampled_from(PATTERNS), max_size=4),
    st.lists(st.sampled_from(PATTERNS), max_size=4),
    STREAMS,
    st.lists(st.integers(0, 300), max_size=6),
)
@example(["ready"], [r"^\[ *0\.000000\] Linux"], "ready\nx\n[    0.000000] Linux\n", [])
@example(["ready"], [], "rea[    1.000000] random: crng init done\ndy\n", [])
@example(["ready"], [], "x\nrea[    1.000000] x[    2.000000] y\ndy\n", [9])
@example(["^ready"], [], "[    2.000000] y\nx\nlog: [    1.000000] x\nready\n", [])
@example(["^ready"], [], "[    2.000000] y\nx\nlog: [    1.000000] x\nready\n", [18])
@example(["^ready"], [], "\0[    2.000000] y\nx\nlog: [    1.000000] x\nready\n", [18])
def test_looking_at_blocks_sees_what_matching_lines_sees(
    first: list[str], second: list[str], stream: str, cuts: list[int]
) -> None:
    data = stream.encode()
    expected = plainly(data, markers(first), markers(second))
    assert quickly(data, cuts, markers(first), markers(second)) == expected


WRAPPED = Marker("wrapped", re.compile(r"^ \+> (?P<command>.*?) ?$"))
ANSWER = Marker("answer", re.compile(r"^(?P<file>\S+): OK$"))


def watched_wrapped(lines: list[str], size: int = 1000) -> list[tuple[str, str]]:
    stream = "".join(f"{line}\r\n" for line in lines).encode()
    watcher = Watcher()
    watcher.wraps = 80
    seen = []
    for start in range(0, len(stream), size):
        watcher.feed(stream[start : start + size])
        while watcher.pending:
            seen += watcher.look((WRAPPED, ANSWER))
    for line in watcher.finish():
        seen += watcher.match(line, (WRAPPED, ANSWER))
    return [(sighting.marker.key, *sighting.groups.values()) for sighting in seen]  # type: ignore[misc]


def wrapped(text: str) -> list[str]:
    return [text[start : start + 80] for start in range(0, len(text), 80)]


@given(st.text("abc/.-", min_size=1, max_size=400), st.integers(1, 200))
def test_lines_that_the_console_wrapped_are_one(command: str, size: int) -> None:
    lines = ["before", *wrapped(f" +> {command} "), "x86/bin/M1: OK", "after"]
    assert watched_wrapped(lines, size) == [("wrapped", command), ("answer", "x86/bin/M1")]


def test_line_that_only_happens_to_be_full() -> None:
    full = "f" * 76 + ": OK"
    assert watched_wrapped([full, "something else"]) == [("answer", full[:-4])]
    assert watched_wrapped([full, " +> x "]) == [("answer", full[:-4]), ("wrapped", "x")]


def test_full_line_at_the_end_of_the_console() -> None:
    full = " +> " + "f" * 76
    assert watched_wrapped([full]) == [("wrapped", "f" * 76)]
    assert watched_wrapped([full, ""]) == [("wrapped", "f" * 76)]


def test_offsets_of_a_wrapped_line_are_those_of_all_its_parts() -> None:
    watcher = Watcher(7)
    watcher.wraps = 80
    watcher.feed(("\r\n".join(wrapped(" +> " + "c" * 150)) + "\r\n").encode())
    [sighting] = watcher.look((WRAPPED,))
    assert (sighting.line.start, sighting.line.end) == (7, 7 + 154 + 4)


def test_endless_full_lines_are_given_up_in_time() -> None:
    watcher = Watcher()
    watcher.wraps = 80
    seen = 0
    for _ in range(50):
        watcher.feed(("y" * 80 + "\r\n").encode() * 100)
        while watcher.pending:
            seen += len(watcher.look((Marker("y", re.compile("y")),)))
        assert len(watcher._wrapped) <= 200
    assert seen == 25


@pytest.mark.parametrize("wraps", [0, 80])
def test_what_waited_when_the_console_ceased_to_wrap_is_not_lost(wraps: int) -> None:
    watcher = Watcher()
    watcher.wraps = 80
    watcher.feed(b" +> " + b"f" * 76 + b"\r\n")
    assert watcher.look((WRAPPED, ANSWER)) == []
    watcher.wraps = wraps
    watcher.feed(b"g\r\nx: OK\r\n")
    seen = watcher.look((WRAPPED, ANSWER)) + watcher.look((WRAPPED, ANSWER))
    assert [s.groups for s in seen] == [{"command": "f" * 76 + "g"}, {"file": "x"}]


def test_no_marker_of_a_plan_has_every_line_looked_at() -> None:
    """One such marker costs a build's console thirty times the time of all others."""
    for name, path in plan_files().items():
        plan = load_plan(path)
        patterns = {marker.pattern for stage in plan.stages for marker in plan.markers(stage)}
        plain = [pattern.pattern for pattern in patterns if not Sieve([pattern]).candidates(b"x\n" * 3)]
        assert len(plain) == len(patterns), (
            f"{name}: {[it.pattern for it in patterns if it.pattern not in plain]}"
        )
