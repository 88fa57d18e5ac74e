"""A file that two runs made, side by side: with diffoscope, without it, and where it fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.report.compare import PROGRAM, compare_file
from testcases.support.records import leave_run

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/usr/bin/made"


class Pair:
    """Two records that kept a file of the same name."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.first, self.second = leave_run(place, "1"), leave_run(place, "2")

    def keep(self, one: bytes, other: bytes) -> None:
        for record, content in ((self.first, one), (self.second, other)):
            path = record / f"files{PATH}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    (tmp_path / "runs").mkdir()
    return Pair(tmp_path / "runs")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No diffoscope, but a directory for one."""
    (tmp_path / "programs").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    return tmp_path / "programs"


@pytest.mark.usefixtures("without")
def test_without_diffoscope_texts_are_shown_by_lines_and_it_is_said(pair: Pair) -> None:
    pair.keep(b"one\ntwo\nthree\n", b"one\n2\nthree\n")
    found = compare_file(PATH, pair.first, pair.second)
    assert (found.same, found.by) == (False, "harness")
    assert {"-two", "+2"} <= set(found.lines)
    assert "14 and 12 bytes" in found.lines
    assert "diffoscope is not installed" in found.note


@pytest.mark.usefixtures("without")
def test_without_diffoscope_the_section_of_a_program_is_named(pair: Pair) -> None:
    from elftools.elf.elffile import ELFFile

    with open(sys.executable, "rb") as file:  # noqa: PTH123 - a link
        content = bytearray(file.read())
        section = ELFFile(file).get_section_by_name(".text")
        assert section is not None
        offset = section["sh_offset"] + 100
    before = bytes(content)
    content[offset] ^= 0xFF
    pair.keep(before, bytes(content))
    found = compare_file(PATH, pair.first, pair.second)
    assert f"  bytes {offset}: .text" in found.lines


@pytest.mark.usefixtures("without")
def test_equal_files_are_the_same(pair: Pair) -> None:
    pair.keep(b"\0\1", b"\0\1")
    found = compare_file(PATH, pair.first, pair.second)
    assert (found.same, found.lines, found.note) == (True, (), "")


@pytest.mark.parametrize(
    ("status", "lines", "note"),
    [(1, ("what differs",), ""), (2, None, "diffoscope ended with status 2: it broke")],
)
def test_diffoscope_shows_it_unless_it_fails(
    pair: Pair, without: Path, status: int, lines: tuple[str, ...] | None, note: str
) -> None:
    (without / PROGRAM).write_text(f"#!/bin/sh\necho what differs\necho it broke >&2\nexit {status}\n")
    (without / PROGRAM).chmod(0o755)
    pair.keep(b"one\n", b"two\n")
    found = compare_file(PATH, pair.first, pair.second)
    assert found.note == note
    assert found.by == ("harness" if note else PROGRAM)
    assert lines is None or found.lines == lines
    assert lines is not None or "+two" in found.lines


@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="apt-get install diffoscope-minimal")
def test_the_real_diffoscope_says_what_the_bytes_mean(pair: Pair) -> None:
    import gzip

    pair.keep(gzip.compress(b"one\n", mtime=0), gzip.compress(b"two\n", mtime=0))
    found = compare_file(PATH, pair.first, pair.second)
    assert found.by == PROGRAM, found.note
    assert any("+two" in line for line in found.lines)


@pytest.mark.parametrize("path", ["/usr/bin/other", "/../run.json", "/", "usr/bin"])
def test_what_a_record_has_not_kept_is_said_with_what_it_has(pair: Pair, path: str) -> None:
    pair.keep(b"", b"")
    with pytest.raises(ConfigError, match="has not kept the file") as error:
        compare_file(path, pair.first, pair.second)
    assert PATH in error.value.hint
    assert "`fetches`" in error.value.hint


def test_the_program_shows_it_and_its_exit_code_says_it(pair: Pair) -> None:
    pair.keep(b"one\n", b"two\n")
    command = [
        sys.executable,
        "-m",
        "harness",
        "compare",
        "1",
        "2",
        "--runs",
        str(pair.place),
        "--file",
        PATH,
    ]
    environment = {**os.environ, "PATH": "/nonexistent"}
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["path"] == PATH
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert "+two" in done.stdout
    assert "diffoscope is not installed" in done.stderr
