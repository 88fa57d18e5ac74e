"""Records read back: logs, films, runs that go on and ones whose harness was killed."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.record.console_log import ConsoleTail, TimedLine
from harness.record.history import estimates
from harness.record.reading import Mark, RunState, find_run, read_run, read_runs
from harness.record.record import RunRecord
from harness.report.log import LogOptions, _found, follow, log_lines
from harness.report.player import with_typed
from harness.stages.events import StageBegan, StageEnded, TakenOver, Typed
from harness.stages.verdict import RunResult, StageResult, StageStatus, Verdict
from testcases.support.profiles import fewer
from testcases.support.typed import typed

if TYPE_CHECKING:
    from collections.abc import Iterator

INPUTS: dict[str, Any] = {"recipe": "relay", "plan": "relay", "recipe_sha256": "ab", "plan_sha256": "cd"}
RAW = b"boot one\r\nboot two\r\n\x1b[1msysb\x1b[0m up\r\ngcc says \xc3\xa4\r\n$ "
SYSB = RAW.index(b"\x1b[1msysb")
INDEX = b"0 1.000000\n10 2.500000\n%d 3.000000\n%d 4.250000\n" % (SYSB, RAW.index(b"gcc"))
STAGES = (StageResult("sysa", StageStatus.PASSED, wall=2.5),)
PASSED = RunResult(Verdict(Outcome.PASS, "sysb", "all is well"), STAGES)


def write_console(directory: Path, raw: bytes = RAW, index: bytes = INDEX) -> None:
    (directory / "console.raw").write_bytes(raw)
    (directory / "console.idx").write_bytes(index)


def ended(runs: Path, name: str = "relay-k", result: RunResult = PASSED) -> Path:
    """A record of a run that has ended."""
    with RunRecord(runs, name, **INPUTS) as record:
        record.event(StageBegan("sysa", 0))
        record.event(StageBegan("sysb", SYSB))
        record.event(Typed("make\n", len(RAW)))
        record.event(StageEnded(StageResult("sysa", StageStatus.PASSED, wall=2.5)))
        write_console(record.directory)
        record.finish(result)
    return record.directory


def log_of(directory: Path, **options: Any) -> list[str]:
    return list(log_lines(read_run(directory), LogOptions(**options)))


def test_log_has_times_headings_and_the_unterminated_rest(tmp_path: Path) -> None:
    assert log_of(ended(tmp_path)) == [
        "── sysa ──",
        "     1.000  boot one",
        "     2.500  boot two",
        "── sysb ──",
        "     3.000  sysb up",
        "     4.250  gcc says ä",
        "     4.250  $ ",
    ]


def test_log_can_be_cut_by_stage_pattern_and_end(tmp_path: Path) -> None:
    directory = ended(tmp_path)
    assert log_of(directory, since="sysb")[:2] == ["── sysb ──", "     3.000  sysb up"]
    assert log_of(directory, until="sysa")[-1] == "     2.500  boot two"
    assert log_of(directory, since="sysa", until="sysb") == log_of(directory)
    assert log_of(directory, tail=1) == ["── sysb ──", "     4.250  $ "]
    assert log_of(directory, grep="up$") == ["── sysb ──", "     3.000  sysb up"]
    around = log_of(directory, grep="one|gcc", context=1)
    assert around == [
        "── sysa ──",
        "     1.000  boot one",
        "     2.500  boot two",
        "── sysb ──",
        "     3.000  sysb up",
        "     4.250  gcc says ä",
        "     4.250  $ ",
    ]
    assert log_of(directory, grep=r"one|\$", context=0)[1:] == [
        "     1.000  boot one",
        "── sysb ──",
        "     4.250  $ ",
    ]


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 3))
def test_grep_shows_what_it_finds_and_so_many_lines_around(found: list[bool], context: int) -> None:
    lines = [TimedLine(0, "hit" if hit else "miss", number) for number, hit in enumerate(found)]
    hits = [number for number, hit in enumerate(found) if hit]
    wanted = [n for n in range(len(found)) if any(abs(n - hit) <= context for hit in hits)]
    shown = list(_found(lines, re.compile("hit"), context))
    assert [line.offset for line in shown if line is not None] == wanted
    gaps = sum(second - first > 1 for first, second in itertools.pairwise(wanted))
    assert shown.count(None) == (gaps if context else 0)


def test_log_shows_what_was_typed_where_it_was_typed(tmp_path: Path) -> None:
    assert log_of(ended(tmp_path), typed=True)[-2:] == ["     4.250  $ ", r"     typed  'make\n'"]
    assert log_of(ended(tmp_path), typed=True, since="sysb")[-1] == r"     typed  'make\n'"


def taken_over(runs: Path) -> Path:
    """A record of a run in which a person typed before the plan allowed it."""
    with RunRecord(runs, "relay-k", **INPUTS) as record:
        record.event(StageBegan("sysa", 0))
        record.event(TakenOver("sysa", 1.5, 10))
        record.typed(b"ls\r", 10, by_hand=True)
        record.event(StageBegan("sysb", SYSB))
        record.typed(b"make\n", len(RAW), by_hand=False)
        write_console(record.directory)
        record.finish(PASSED)
    return record.directory


def test_log_shows_that_a_person_took_over_and_what_they_typed(tmp_path: Path) -> None:
    directory = taken_over(tmp_path)
    assert log_of(directory)[1:4] == [
        "     1.000  boot one",
        "── taken over by hand in stage sysa ──",
        "     2.500  boot two",
    ]
    assert log_of(directory, typed=True)[3:4] == [r"   by hand  'ls\r'"]
    assert "by hand" not in "".join(log_of(directory, typed=True, since="sysb"))
    document = read_run(directory).document
    assert document.taken_over is not None
    assert (document.taken_over.stage, document.taken_over.seconds) == ("sysa", 1.5)
    assert "PASS by hand" in typed("runs", "--runs", str(tmp_path)).stdout


def test_estimates_are_not_made_from_runs_that_were_taken_over(tmp_path: Path) -> None:
    ended(tmp_path)
    before = estimates(tmp_path, "relay", "")
    taken_over(tmp_path)
    assert estimates(tmp_path, "relay", "") == before


def test_log_with_times_of_day(tmp_path: Path) -> None:
    directory = ended(tmp_path)
    started = read_run(directory).document.started  # …T07:54:42Z
    second = (int(started[17:19]) + 1) % 60
    assert log_of(directory, clock=True)[1][6:] == f"{second:02}.000  boot one"


def test_colour_changes_with_the_stage_and_what_was_found_stands_out(tmp_path: Path) -> None:
    lines = log_of(ended(tmp_path), colour=True, grep="boot|sysb")
    assert lines[1] == "\x1b[36m     1.000\x1b[0m  \x1b[7mboot\x1b[0m one"
    assert lines[-1] == "\x1b[33m     3.000\x1b[0m  \x1b[7msysb\x1b[0m up"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"since": "gcc"}, "did not reach the stage 'gcc'"),
        ({"until": "gcc"}, "did not reach the stage 'gcc'"),
        ({"grep": "("}, "'(' is no pattern"),
    ],
)
def test_what_cannot_be_shown_is_said(tmp_path: Path, options: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        log_of(ended(tmp_path), **options)
    assert words in raised.value.message
    assert raised.value.hint


def test_runs_are_found_by_directory_id_part_and_age(tmp_path: Path) -> None:
    first, second = ended(tmp_path, "one"), ended(tmp_path, "two")
    assert find_run(str(first), Path("nowhere")) == first
    assert find_run(first.name, tmp_path) == first
    assert find_run("-two-", tmp_path) == second
    assert find_run("last", tmp_path) == max(first, second)
    with pytest.raises(ConfigError, match=r"2 run records have '-' in their names: .*-one-.*, .*-two-"):
        find_run("-", tmp_path)
    with pytest.raises(ConfigError, match=r"no run record in .* has 'three'"):
        find_run("three", tmp_path)
    with pytest.raises(ConfigError, match="there are no run records in nowhere"):
        find_run("last", Path("nowhere"))


def test_broken_records_are_named_and_do_not_hide_the_others(tmp_path: Path) -> None:
    directory = ended(tmp_path)
    (tmp_path / "19990101-x").mkdir()
    (tmp_path / "19990101-x/run.json").write_text('{"id": "x"}')
    assert [reading.directory for reading in read_runs(tmp_path)] == [directory]
    with pytest.raises(ConfigError, match=r"x/run.json is no record that this version reads"):
        read_run(tmp_path / "19990101-x")
    (directory / "console.raw").unlink()
    with pytest.raises(ConfigError, match=r"cannot read .*console.raw: No such file"):
        log_of(directory)


def test_half_written_ends_of_files_are_left_out(tmp_path: Path) -> None:
    directory = ended(tmp_path)
    whole = log_of(directory)
    for name, text in {
        "events.jsonl": b'{"seconds":1,"event":"StageBegan","sta',
        "console.idx": b"31 9.0",
    }.items():
        with (directory / name).open("ab") as file:
            file.write(text)
    assert log_of(directory) == whole


@fewer(2)
@given(st.lists(st.integers(1, len(RAW)), min_size=1, max_size=8))
def test_growing_console_is_read_as_if_it_had_been_there(tmp_path_factory: Any, cuts: list[int]) -> None:
    directory = tmp_path_factory.mktemp("growing")
    write_console(directory)
    whole = ConsoleTail(directory)
    expected = [*whole.read(), *whole.finish()]
    write_console(directory, b"", b"")
    tail = ConsoleTail(directory)
    lines = []
    for cut in [*sorted(cuts), len(RAW)]:
        arrived = b"".join(line for line in INDEX.splitlines(keepends=True) if int(line.split()[0]) < cut)
        write_console(directory, RAW[:cut], arrived)
        lines += tail.read()
    assert lines + tail.finish() == expected


def test_a_run_goes_on_while_its_harness_holds_the_record(tmp_path: Path) -> None:
    with RunRecord(tmp_path, "relay", **INPUTS) as record:
        record.event(StageBegan("sysb", 0))
        reading = read_run(record.directory)
        assert reading.state == RunState.RUNNING
        assert reading.ending() == "it goes on, in stage sysb"
    assert read_run(record.directory).state == RunState.KILLED  # it left without a verdict
    assert read_run(ended(tmp_path)).state == RunState.ENDED


def test_watching_ends_with_the_run_and_misses_nothing(tmp_path: Path) -> None:
    with RunRecord(tmp_path, "relay", **INPUTS) as record:
        record.event(StageBegan("sysa", 0))
        write_console(record.directory, RAW[:5])

        def run() -> Iterator[None]:
            write_console(record.directory, RAW[: SYSB + 3])
            yield
            record.event(StageBegan("sysb", SYSB))
            write_console(record.directory)
            yield
            record.finish(PASSED)
            yield

        steps = run()
        lines = list(follow(record.directory, LogOptions(), wait=lambda: next(steps)))
    assert lines == log_of(record.directory)


def test_watch_ends_with_the_verdict_and_its_code(tmp_path: Path) -> None:
    panic = RunResult(Verdict(Outcome.PANIC, "sysb", "it panicked", "look"), ())
    result = typed("watch", str(ended(tmp_path, result=panic)))
    assert (result.returncode, result.stdout.splitlines()[-1]) == (3, "     4.250  $ ")
    assert "PANIC in stage sysb: it panicked" in result.stderr


def test_runs_are_listed(tmp_path: Path) -> None:
    assert "there are no run records" in typed("runs", "--runs", str(tmp_path)).stdout
    directory = ended(tmp_path)
    listed = typed("runs", "--runs", str(tmp_path)).stdout
    assert re.search(rf"{directory.name} +PASS +sysb +2\.5", listed)


def test_replay_marks_what_was_typed_and_by_whom(tmp_path: Path) -> None:
    directory = taken_over(tmp_path)
    marks = [Mark(10, "ls\r", by_hand=True, seconds=2.0), Mark(11, "make\n", seconds=3.5)]
    pieces = list(with_typed(read_run(directory).pieces(), marks))
    assert [seconds for seconds, _ in pieces] == [1.0, 2.0, 2.5, 3.0, 3.5, 4.25]
    assert pieces[1][1] == "\x1b[7m⌨ 'ls\\r'\x1b[0m".encode()
    assert pieces[4][1] == "\x1b[2m⌨ 'make\\n'\x1b[0m".encode()
    assert "⌨" in typed("replay", str(directory), "--typed", "--speed", "100").stdout
    film = tmp_path / "film.cast"
    typed("replay", str(directory), "--cast", str(film))
    assert '"i"' not in film.read_text(), "a film that is shown around holds no passwords"
    typed("replay", str(directory), "--cast", str(film), "--typed")
    assert film.read_text().count('"i"') == 2


def test_replay_writes_a_film(tmp_path: Path) -> None:
    film = tmp_path / "film.cast"
    assert typed("replay", str(ended(tmp_path)), "--cast", str(film)).returncode == 0
    assert film.read_text().splitlines()[1] == '[1.0, "o", "boot one\\r\\n"]'
    failed = typed("replay", "last", "--runs", str(tmp_path), "--cast", "/nowhere/film.cast")
    assert failed.returncode == 2
    assert "cannot write /nowhere/film.cast" in failed.stderr
