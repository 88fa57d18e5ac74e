"""The report's files: what is in them, what is made anew, and how large they are."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import zlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.record.reading import read_run
from harness.report.site import chunks
from harness.report.site.build import build
from harness.report.site.divergence import first_divergent, rows
from harness.report.site.facts import LETTERS
from testcases.support.records import leave_console, leave_run

if TYPE_CHECKING:
    from pathlib import Path

    from harness.report.site.build import Built

LARGEST = 200_000  # bytes of a page


def report(tmp_path: Path) -> Built:
    return build(tmp_path / "runs", tmp_path / "report", progress=Quiet())


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    directory = tmp_path / "runs"
    directory.mkdir()
    return directory


def pieces(directory: Path, kind: str) -> list[Any]:
    """What a browser makes of the pieces in a directory."""
    found = []
    for number, path in enumerate(sorted(directory.glob("0*.js"))):
        match = re.fullmatch(r'harnessChunk\("(\w+)",(\d+),"([\w+/=]+)"\);\n', path.read_text("ascii"))
        assert match is not None
        assert (match[1], int(match[2])) == (kind, number)
        found.append(msgspec.json.decode(zlib.decompress(base64.b64decode(match[3]), wbits=-15)))
    return found


def lines_of(directory: Path) -> list[str]:
    found: list[str] = []
    for piece in pieces(directory, "log"):
        assert piece["first"] == len(found)
        found += piece["text"].split("\n")
    return found


def console(directory: Path, raw: bytes) -> None:
    (directory / "console.raw").write_bytes(raw)
    (directory / "console.idx").write_text("0 0.000\n")
    (directory / "events.jsonl").touch()


@given(
    st.lists(st.sampled_from([b"ab", b"\n", b"\r\n", b"\r", b"\x1b[1mx", b"\xff", b"line " * 9]), max_size=80)
)
@example([b"line " * 9, b"\r", b"\r", b"\n", b"ab", b"ab"])
def test_pieces_have_the_lines_of_the_console_also_when_it_grew(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    tmp_path = tmp_path_factory.mktemp("log")
    directory = leave_run(tmp_path, "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_CHUNK", 40)
        for end in (len(parts) // 3, len(parts) // 2, len(parts)):
            console(directory, b"".join(parts[:end]))
            reading = read_run(directory)
            index = chunks.write_log(reading, tmp_path / "log")
            expected = list(reading.lines())
            assert lines_of(tmp_path / "log") == [line.text for line in expected]
            assert index.lines == len(expected)
            offsets = [line.offset for line in expected]
            assert chunks.lines_at(reading.raw, index, offsets) == dict(
                zip(offsets, range(len(offsets)), strict=True)
            )


def test_the_film_has_all_that_came_with_its_times(runs: Path, tmp_path: Path) -> None:
    directory = leave_run(runs, "run")
    (directory / "console.raw").write_bytes("grün\r\nzwei".encode())
    (directory / "console.idx").write_text("0 0.500\n3 1.250\n")
    index = chunks.write_replay(read_run(directory), tmp_path / "replay")
    assert pieces(tmp_path / "replay", "replay") == [[[500, "gr"], [1250, "ün\r\nzwei"]]]
    assert index == chunks.ReplayIndex(1.25, (0.5,))


def test_only_what_changed_is_made_anew(runs: Path, tmp_path: Path) -> None:
    for number in range(3):
        leave_run(
            runs, f"20260101-00000{number}-relay-{number:04}", sysa=number + 1.0, console={"sysa": "hello\n"}
        )
    assert report(tmp_path).rendered == 3
    page = tmp_path / "report" / "runs" / "20260101-000000-relay-0000" / "index.html"
    before = page.stat().st_mtime_ns, page.stat().st_ino
    assert report(tmp_path).rendered == 0

    leave_run(runs, "20260101-000009-relay-0009", outcome=Outcome.PANIC, sysa=1.0)
    built = report(tmp_path)
    assert (built.runs, built.rendered) == (4, 1)
    assert "PANIC" in (tmp_path / "report" / "index.html").read_text()
    assert (page.stat().st_mtime_ns, page.stat().st_ino) == before


def test_what_a_bisection_tried_is_listed_and_not_among_what_is_bad_now(runs: Path, tmp_path: Path) -> None:
    leave_run(runs, "20260101-000000-relay-aaaa", sysa=1.0)
    labels = {"matrix": "bisect-1", "cell": "relay/bisect/6.1.0-1-686"}
    leave_run(runs, "20260101-000001-relay-bbbb", outcome=Outcome.PANIC, labels=labels, sysa=1.0)
    report(tmp_path)
    page = (tmp_path / "report/index.html").read_text()
    assert "Not good now" not in page
    assert "20260101-000001-relay-bbbb" in page  # among the newest
    assert len(list((tmp_path / "report/cells").iterdir())) == 2


def test_a_record_that_went_takes_its_pages_along(runs: Path, tmp_path: Path) -> None:
    leave_run(runs, "20260101-000000-relay-aaaa")
    gone = leave_run(runs, "20260101-000001-relay-bbbb", kernel="debian-5.10-i686")
    report(tmp_path)
    (gone / "run.json").unlink()
    gone.rmdir()
    os.utime(runs, (0, 0))
    assert report(tmp_path).removed == 1
    assert not (tmp_path / "report" / "runs" / gone.name).exists()
    assert len(list((tmp_path / "report" / "cells").iterdir())) == 1


def test_a_run_that_goes_on_is_followed(runs: Path, tmp_path: Path) -> None:
    directory = leave_run(runs, "20260101-000000-relay-aaaa", console={"sysa": "one\n"}, sysa=1.0)
    report(tmp_path)
    leave_console(directory, {"sysa": "one\ntwo\n"})
    assert report(tmp_path).rendered == 1
    place = tmp_path / "report" / "runs" / directory.name
    assert lines_of(place / "log") == ["one", "two"]


def test_evidence_leads_to_its_line(runs: Path, tmp_path: Path) -> None:
    directory = leave_run(
        runs, "20260101-000000-relay-aaaa", console={"sysa": "one\ntwo\n", "kexec": "panic\n"}
    )
    document = msgspec.json.decode((directory / "run.json").read_bytes())
    document["verdict"]["evidence"] = [{"what": "console", "text": "<panic>", "offset": 10}]
    (directory / "run.json").write_bytes(msgspec.json.encode(document))
    report(tmp_path)
    page = (tmp_path / "report" / "runs" / directory.name / "index.html").read_text()
    assert '<a href="log.html#L3">line 3</a>' in page
    assert "&lt;panic&gt;" in page
    assert "<panic>" not in page


@pytest.mark.parametrize("count", [60, pytest.param(450, marks=pytest.mark.thorough)])
def test_pages_stay_small_however_much_there_is(runs: Path, tmp_path: Path, count: int) -> None:
    sums = "".join(f"{number:064x}  /usr/lib/some/longer/directory/file-{number}\n" for number in range(3000))
    for number in range(count):
        directory = leave_run(
            runs,
            f"20260101-{number:06}-relay-{number:04}",
            kernel=f"debian-{number % 150}.1-i686",
            labels={"cell": f"relay/debian-{number % 150}.1-i686/qemu-tcg/{number % 9}M"},
            outcome=Outcome.FAIL if number % 5 == 0 else Outcome.PASS,
            sysa=1.0,
        )
        (directory / "manifest.sha256").write_text(
            sums.replace("0" * 60, hashlib.sha256(b"%d" % number).hexdigest()[:60])
        )
    report(tmp_path)
    sizes = {path: path.stat().st_size for path in (tmp_path / "report").rglob("*.html")}
    assert len(sizes) > count
    assert max(sizes.values()) <= LARGEST, max(sizes, key=sizes.__getitem__)


def test_a_directory_with_other_things_is_left_alone(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="no report of ours"):
        report(tmp_path)
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["thesis.tex"]


def test_no_records_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run records"):
        report(tmp_path)


def test_what_guests_made_is_told_file_by_file() -> None:
    found = rows([{"a": "1", "b": "1"}, {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "2"}])
    assert [(row.name, row.versions, row.same) for row in found] == [
        ("b", ("B", "A", "A"), False),
        ("c", ("", "A", ""), False),
        ("a", ("A", "A", "A"), True),
    ]


def test_the_first_divergent_step_is_the_one_whose_file_is_named_first(runs: Path) -> None:
    said = {
        "sysa": "make zlib\n",
        "sysc": "packing bzip2-1.0.8.tar.gz\npacking bzip2-1.0.8.tar\npacking perl-5.tar\n",
    }
    reading = read_run(leave_run(runs, "run", console=said))
    step = first_divergent(reading, ["/external/perl-5.tar", "/external/bzip2-1.0.8.tar"])
    assert (step.stage, step.file) == ("sysc", "/external/bzip2-1.0.8.tar")
    assert step.line == "packing bzip2-1.0.8.tar"
    step = first_divergent(reading, ["/never/named"])
    assert (step.file, step.line) == ("/never/named", "")


def test_the_first_divergent_step_names_the_package(runs: Path) -> None:
    said = "gzip-1.2.4: beginning build using script pass1.sh\ngzip-1.2.4: build successful\n"
    said += "bzip2-1.0.8: beginning build using script pass1.sh\ncp bzip2 /usr/bin/bzip2\n"
    step = first_divergent(read_run(leave_run(runs, "run", console={"sysa": said})), ["/usr/bin/bzip2"])
    assert (step.package, step.line) == ("bzip2-1.0.8", "cp bzip2 /usr/bin/bzip2")


def test_names_of_any_bytes_are_shown(runs: Path, tmp_path: Path) -> None:
    directory = leave_run(runs, "20260101-000000-relay-aaaa")
    (directory / "manifest.sha256").write_bytes(b"0" * 64 + b"  /bin/\xff<b>\n")
    report(tmp_path)
    page = (tmp_path / "report" / "produced-relay.html").read_text()
    assert "/bin/\\xff&lt;b&gt;" in page


def test_produced_files_name_the_run_that_is_not_like_the_others(runs: Path, tmp_path: Path) -> None:
    for number, (kernel, digest) in enumerate([("a", "1"), ("b", "2"), ("c", "1")]):
        directory = leave_run(
            runs,
            f"20260101-00000{number}-relay-000{number}",
            kernel=kernel,
            console={"sysa": "boot\n", "sysc": f"CC hello.o\nLD {'x' * number}hello\nhello done\n"},
        )
        (directory / "manifest.sha256").write_text(f"{digest * 64}  /bin/hello\n{'0' * 64}  /bin/sh\n")
    report(tmp_path)
    page = (tmp_path / "report" / "produced-relay.html").read_text()
    assert "1 of 2 files differ" in page
    assert "20260101-000001-relay-0001/log.html#L4" in page
    assert "hello done" in page


def test_every_outcome_has_a_letter_of_its_own() -> None:
    assert set(Outcome) <= set(LETTERS)
    for named in (0, 2):  # its letter, and what that means
        assert len({entry[named] for entry in LETTERS.values()}) == len(LETTERS)
