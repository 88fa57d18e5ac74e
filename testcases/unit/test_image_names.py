"""Names that mean harm, and paths that lead through links."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.formats.names import matches, plain, printable
from harness.formats.tree import MemberTree
from testcases.unit.test_image_extract import directory, file, symlink


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bin/sh", "bin/sh"),
        ("./bin//sh/", "bin/sh"),
        ("/bin/./sh", "bin/sh"),
        (".", ""),
        ("", ""),
        ("..", None),
        ("a/../b", None),
        ("...", "..."),
        ("a\0b", None),
        ("\udcff", "\udcff"),
        ("\ud800", None),
    ],
)
def test_plain(name: str, expected: str | None) -> None:
    assert plain(name) == expected


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("bin/sh", "bin/sh", True),
        ("./bin/sh", "/bin/sh", True),
        ("bin/sh", "./bin", True),
        ("bin/sh", "bin/", True),
        ("bin/sh", "b*", True),
        ("usr/bin/sh", "*/sh", True),
        ("bin/sh", "sh", False),
        ("binary/sh", "bin", False),
        ("", "bin", False),
    ],
)
def test_matches(path: str, pattern: str, expected: bool) -> None:
    assert matches(path, [pattern]) is expected
    assert matches(path, [])


@given(st.binary(max_size=40))
def test_nothing_that_is_shown_controls_a_terminal(name: bytes) -> None:
    shown = printable(os.fsdecode(name))
    assert shown.isprintable()
    shown.encode()


def test_what_is_shown_tells_names_apart() -> None:
    names = ["a\n", "a\\n", "\x1b[2J", "\udcff", "\\xff", "ÿ", "\u202e", "x y"]
    shown = [printable(name) for name in names]
    assert shown == [r"a\n", r"a\\n", r"\x1b[2J", r"\xff", r"\\xff", "ÿ", r"\u202e", "x y"]


TREE = MemberTree(
    [
        directory("bin"),
        file("bin/busybox"),
        symlink("bin/sh", "busybox"),
        symlink("sbin", "bin"),
        symlink("out", "../../../bin/sh"),
        symlink("absolute", "/sbin/sh"),
        symlink("loop", "loop/x"),
        symlink("p1/etc", "/bin"),
        file("p1/bin/tool"),
    ],
    roots=("", "p1"),
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("bin/sh", "bin/busybox"),
        ("/sbin/./sh", "bin/busybox"),
        ("out", "bin/busybox"),
        ("absolute", "bin/busybox"),
        ("bin/../../bin/sh", "bin/busybox"),
        ("loop", None),
        ("missing", None),
        ("p1/etc/tool", "p1/bin/tool"),
        ("p1/../../bin/tool", "p1/bin/tool"),
    ],
)
def test_find_follows_links_as_if_the_image_were_the_root(path: str, expected: str | None) -> None:
    member = TREE.find(path)
    assert (member and member.path) == expected
