from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from harness.console.cast import write_cast

if TYPE_CHECKING:
    from pathlib import Path


def film(tmp_path: Path, raw: bytes, index: str) -> list[list[object]]:
    (tmp_path / "raw").write_bytes(raw)
    (tmp_path / "index").write_text(index)
    write_cast(tmp_path / "raw", tmp_path / "index", tmp_path / "x.cast", title="relay “1”")
    header, *events = map(json.loads, (tmp_path / "x.cast").read_text(encoding="utf-8").splitlines())
    assert header == {"version": 2, "width": 80, "height": 25, "title": "relay “1”"}
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "index", "x.cast"}
    return events


def test_each_read_is_an_event(tmp_path: Path) -> None:
    events = film(tmp_path, b"one\r\ntwo\x1b[0m", "0 0.500000\n5 1.250000\n")
    assert events == [[0.5, "o", "one\r\n"], [1.25, "o", "two\x1b[0m"]]


def test_characters_may_be_cut_by_reads(tmp_path: Path) -> None:
    events = film(tmp_path, "a€b".encode() + b"\xff\xe2", "0 1.0\n2 2.0\n3 3.0\n5 4.0\n")
    assert events == [[1.0, "o", "a"], [3.0, "o", "€b"], [4.0, "o", "\ufffd"], [4.0, "o", "\ufffd"]]


def test_index_of_a_killed_harness(tmp_path: Path) -> None:
    assert film(tmp_path, b"abcdef", "0 1.000000\n3 2.0000") == [[1.0, "o", "abcdef"]]
    (tmp_path / "x.cast").unlink()
    assert film(tmp_path, b"abc", "") == [[0.0, "o", "abc"]]


def test_large_gaps_are_cut_into_events(tmp_path: Path) -> None:
    events = film(tmp_path, b"x" * 200_000, "0 1.0\n199999 2.0\n")
    assert "".join(str(text) for _, _, text in events) == "x" * 200_000
    assert max(len(str(text)) for _, _, text in events) <= 65536


def test_failure_leaves_the_old_film(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"x")
    (tmp_path / "index").write_text("not an index\n")
    (tmp_path / "x.cast").write_text("old")
    with pytest.raises(ValueError, match="unpack"):
        write_cast(tmp_path / "raw", tmp_path / "index", tmp_path / "x.cast", title="")
    assert (tmp_path / "x.cast").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "index", "x.cast"}
