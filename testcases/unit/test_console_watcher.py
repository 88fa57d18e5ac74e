from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.console.lines import MAX_LINE
from harness.console.watcher import Marker, MarkerMatch, Watcher

READY = Marker("ready", re.compile(r"^relay: (?P<system>\w+) ready$"))
CRNG = Marker("crng", re.compile(r"^random: crng init done$"))
LINUX = Marker("linux", re.compile(r"^Linux version (?P<version>\S+)(?P<never>x)?"))
PROMPT = Marker("prompt", re.compile(r"^bash-[\d.]+# $"), prompt=True)
MARKERS = (READY, CRNG, LINUX, PROMPT)
KERNEL = b"[    2.123456] random: crng init done\r\n"
LATER = b"[    2.123457] random: crng init done\r\n"


def messages(count: int) -> list[bytes]:
    return [b"[%12.6f] random: crng init done\r\n" % (2 + number / 1e6) for number in range(1, count + 1)]


def watched(stream: bytes, size: int = 65536) -> list[MarkerMatch]:
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
    for place, message in zip(sorted(places, reverse=True), reversed(messages(len(places))), strict=True):
        stream = stream[:place] + message + stream[place:]
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


def told(stream: bytes) -> list[tuple[str, bool]]:
    return [(sighting.marker.key, sighting.certain) for sighting in watched(stream)]


def test_parts_of_a_line_are_not_certain() -> None:
    """A piece of a line that the kernel cut, or a line behind one that never got an end: nobody can tell."""
    assert told(b"it said relay: " + KERNEL + b"relay: sysa ready\n") == [("crng", True), ("ready", False)]
    assert told(b"relay: sysa ready" + KERNEL + b", they said\n") == [("crng", True), ("ready", False)]
    lost = told(b"relay: sysa ready" + KERNEL + b"relay: sysb ready\n")
    assert lost == [("crng", True), ("ready", False), ("ready", False)]


def test_whole_line_is_certain_although_parts_of_it_are_markers_too() -> None:
    ready = b"relay: sysa ready"
    assert told(ready + KERNEL + b"\r\n") == [("crng", True), ("ready", True)]
    assert told(b"" + KERNEL + ready + b"\r\n") == [("crng", True), ("ready", True)]
    assert told(b"x" + KERNEL + b"y\r\n" + ready + b"\r\n") == [("crng", True), ("ready", True)]
    assert told(ready + KERNEL) == [("crng", True), ("ready", True)]  # nothing came after it


@pytest.mark.parametrize(
    "words",
    [
        b"[    0.000000] Linux version 6.1.0",
        b"[    3.000000] reboot: Power down",
        b"[    3.000000] kexec_core: Starting new kernel",
        b"[    3.000000][    T1] Kernel panic - not syncing: x",
    ],
)
def test_nothing_goes_on_behind_the_end_of_a_kernel(words: bytes) -> None:
    for line in (b"relay: sysa ready", b"bash-5.2# "):
        sightings = watched(line + words + b"\r\nrelay: sysb ready\r\n")
        assert all(sighting.certain for sighting in sightings)
        found = [sighting.line.text for sighting in sightings if sighting.marker is not LINUX]
        assert found == [line.decode(), "relay: sysb ready"]


def test_line_that_quotes_a_kernel_message_is_whole() -> None:
    stream = KERNEL + b"host kernel: " + KERNEL + b"relay: sysa ready\r\n"
    assert told(stream) == [("crng", True), ("ready", True)]
    assert told(LATER + b"x\r\nhost kernel: " + KERNEL + b"relay: sysa ready\r\n")[1:] == [("ready", True)]
    assert told(KERNEL + b"relay: sy" + LATER + b"sa ready\r\n")[1:] == [("crng", True), ("ready", True)]


def test_interrupted_line_is_kept_whatever_the_kernel_says_meanwhile() -> None:
    chatter = b"".join(messages(500))
    assert keys(b"relay: sysa" + chatter + b" ready\n") == ["crng"] * 500 + ["ready"]


def test_line_that_is_interrupted_for_ever_does_not_fill_the_memory() -> None:
    watcher = Watcher()
    for message in messages(300):
        for line in watcher.feed(b"x" * 1000 + message):
            watcher.match(line, MARKERS)
        assert watcher._head is None or len(watcher._head.text) < MAX_LINE + 2000


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
    assert "prompt" in keys(b"unfinished" + KERNEL + prompt)


def test_what_only_looks_like_a_prompt_before_a_kernel_message() -> None:
    assert keys(b"bash-5.2# " + KERNEL + b"make -k check\r\n") == ["crng"]
    assert keys(b"bash-5.2# " + KERNEL + LATER + b"make -k check\r\n") == ["crng", "crng"]
    assert keys(b"bash-5.2# " + KERNEL + b"\r\n") == ["crng", "prompt"]


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
