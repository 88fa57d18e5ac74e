from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.console.lines import MAX_LINE
from harness.console.watcher import Marker, Sighting, Watcher

READY = Marker("ready", re.compile(r"^relay: (?P<system>\w+) ready$"))
CRNG = Marker("crng", re.compile(r"^random: crng init done$"))
LINUX = Marker("linux", re.compile(r"^Linux version (?P<version>\S+)(?P<never>x)?"))
PROMPT = Marker("prompt", re.compile(r"^bash-[\d.]+# $"), prompt=True)
MARKERS = (READY, CRNG, LINUX, PROMPT)
KERNEL = b"[    2.123456] random: crng init done\r\n"


def watched(stream: bytes, size: int = 65536) -> list[Sighting]:
    watcher = Watcher()
    sightings = []
    for start in range(0, len(stream), size):
        for line in watcher.feed(stream[start : start + size]):
            sightings += watcher.match(line, MARKERS)
        if prompt := watcher.match_tail(MARKERS):
            sightings.append(prompt)
    for line in watcher.finish():
        sightings += watcher.match(line, MARKERS)
    return sightings


def keys(stream: bytes, size: int = 65536) -> list[str]:
    return [sighting.marker.key for sighting in watched(stream, size)]


def test_marker_gives_its_groups_and_its_place() -> None:
    (sighting,) = watched(b"noise\r\nrelay: sysa ready\r\n")
    assert sighting.groups == {"system": "sysa"}
    assert sighting.line == ("relay: sysa ready", 7, 26)


def test_kernel_lines_match_without_their_stamp_and_with_it() -> None:
    for stamp in ("[    0.000000] ", "[12345.678901] ", "[    0.000000][    T0] "):
        (sighting,) = watched(f"{stamp}Linux version 6.1.0\n".encode())
        assert sighting.groups == {"version": "6.1.0"}
    stamped = Marker("stamped", re.compile(r"^\[ *\d+\.\d+\] Linux"))
    watcher = Watcher()
    (line,) = watcher.feed(b"[    0.000000] Linux version 6.1\n")
    assert [sighting.marker for sighting in watcher.match(line, [stamped])] == [stamped]


LINE = b"relay: sysa ready\r\n"


@given(st.lists(st.integers(0, len(LINE)), min_size=1, max_size=4), st.integers(1, 60))
def test_kernel_may_interrupt_anywhere(places: list[int], size: int) -> None:
    stream = LINE
    for place in sorted(places, reverse=True):
        stream = stream[:place] + KERNEL + stream[place:]
    sightings = watched(b"relay: begins\r\n" + stream + b"relay: goes on\r\n", size)
    assert [s.groups for s in sightings if s.marker is READY] == [{"system": "sysa"}]
    assert len([s for s in sightings if s.marker is CRNG]) == len(places)


def test_half_a_word_is_no_match() -> None:
    word = Marker("word", re.compile(r"relay: (?P<word>\w+)"))
    watcher = Watcher()
    seen: list[str] = []
    for data in (b"relay: sy", KERNEL, b"sa", b" ready\n"):
        for line in watcher.feed(data):
            seen += [s.groups["word"] for s in watcher.match(line, [word])]
        assert watcher.match_tail([word]) is None
    assert seen == ["sysa"]


def test_interrupted_line_whose_newline_was_lost() -> None:
    stream = b"relay: sysa ready" + KERNEL + b"relay: sysb ready\n"
    assert [s.groups.get("system") for s in watched(stream)] == [None, "sysa", "sysb"]
    assert keys(b"relay: sysa ready" + KERNEL) == ["crng", "ready"]


def test_interrupted_line_is_not_kept_for_ever() -> None:
    assert keys(b"relay: sysa" + KERNEL * 30 + b" ready\n") == ["crng"] * 30
    assert keys(b"relay: sysa ready" + KERNEL * 21) == ["crng"] * 21 + ["ready"]


def test_whole_and_halves_are_one_sighting() -> None:
    marker = Marker("any", re.compile(r"ready"))
    watcher = Watcher()
    lines = watcher.feed(b"ready and" + KERNEL + b"ready\n")
    assert [s.line.text for line in lines for s in watcher.match(line, [marker])] == ["ready andready"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_prompt_is_seen_once_without_a_newline(size: int) -> None:
    stream = b"bash-5.2# "
    assert keys(stream, size) == ["prompt"]
    assert keys(b"x\n" + stream + b"\nbash-5.2# ", size) == ["prompt", "prompt"]


@pytest.mark.parametrize("place", range(10))
def test_interrupted_prompt(place: int) -> None:
    prompt = b"bash-5.2# "
    assert keys(prompt[:place] + KERNEL + prompt[place:], 1).count("prompt") == 1
    assert "prompt" in keys(prompt + KERNEL)
    assert "prompt" in keys(prompt + KERNEL[:25])


def test_ordinary_marker_on_the_line_of_a_prompt() -> None:
    typed = Marker("typed", re.compile(r"# exit$"))
    watcher = Watcher()
    watcher.feed(b"bash-5.2# ")
    assert watcher.match_tail([PROMPT, typed]) is not None
    (line,) = watcher.feed(b"exit\n")
    wide = Marker("prompt", re.compile(r"^bash"), prompt=True)
    assert [s.marker for s in watcher.match(line, [wide, typed])] == [typed]


def test_markers_are_those_of_the_moment_and_the_first_wins() -> None:
    watcher = Watcher()
    first, second = watcher.feed(b"relay: sysa ready\nrelay: sysb ready\n")
    other = Marker("other", re.compile("relay"))
    assert [s.marker for s in watcher.match(first, [other, READY])] == [other]
    assert watcher.match(second, []) == []


def test_offsets_start_where_the_stream_does() -> None:
    watcher = Watcher(1000)
    (line,) = watcher.feed(b"relay: sysa ready\n")
    assert watcher.match(line, MARKERS)[0].line.start == 1000


def test_cost_of_a_long_unterminated_line_is_bounded() -> None:
    watcher = Watcher()
    started = time.process_time()
    for _ in range(2 * MAX_LINE):
        for line in watcher.feed(b"["):
            watcher.match(line, MARKERS)
        watcher.match_tail(MARKERS)
    assert time.process_time() - started < 5
