"""Entries of several contents become one tree."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.formats.order import chosen, merge
from harness.formats.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE, DIRECTORY, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777

names = st.sampled_from(["a", "b", "c", "é", "\udcff"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
entries = st.tuples(paths, st.sampled_from([FILE, DIRECTORY, LINK])).map(lambda fields: Entry(*fields))
trees = st.lists(entries, max_size=12)


def failure(*entries: Entry) -> str:
    with pytest.raises(ConfigError) as caught:
        merge(entries)
    assert caught.value.hint
    return caught.value.message


def test_a_file_below_a_link_names_both() -> None:
    below = Entry("lib/x", FILE, source="files/x")
    link = Entry("lib", LINK, target="usr/lib", source="base-files 13")
    message = "lib/x (files/x) would be below lib, a symbolic link to usr/lib (base-files 13)"
    assert failure(below, link) == failure(link, below) == message


def test_a_file_far_below_a_file_names_both() -> None:
    message = "a/b/c/d (two) would be below a, a file (one)"
    assert failure(Entry("a", FILE, source="one"), Entry("a/b/c/d", FILE, source="two")) == message


def test_a_hard_link_has_all_that_belongs_to_its_file_even_through_another() -> None:
    file = Entry("bin/su", stat.S_IFREG | 0o4755, content=b"su", uid=1, gid=42, source="su 1")
    links = [
        Entry("bin/a", FILE, link="bin/b", source="x"),
        Entry("bin/b", FILE, link="bin/su", source="y"),
    ]
    assert merge([*links, file]) == [
        Entry("bin/a", file.mode, b"su", uid=1, gid=42, link="bin/su", source="x"),
        Entry("bin/b", file.mode, b"su", uid=1, gid=42, link="bin/su", source="y"),
        file,
    ]


@pytest.mark.parametrize(
    "others",
    [
        [],
        [Entry("t", DIRECTORY)],
        [Entry("t", LINK, target="x")],
        [Entry("t", FILE, link="h")],
        [Entry("t", FILE, link="t")],
    ],
    ids=["nothing", "directory", "symlink", "circle", "itself"],
)
def test_a_hard_link_to_what_is_no_file_is_named(others: Sequence[Entry]) -> None:
    message = failure(Entry("h", FILE, link="t", source="the recipe"), *others)
    assert message.startswith("the hard link ")
    assert "which is no file there" in message


@given(trees)
def test_a_merged_tree_is_sorted_without_twins_and_without_what_is_in_the_way(entries: list[Entry]) -> None:
    kinds: dict[str, set[bool]] = {}
    for entry in entries:
        kinds.setdefault(entry.path, set()).add(entry.is_directory)
    others = [entry.path for entry in entries if not entry.is_directory]
    clash = any(len(each) > 1 for each in kinds.values()) or len(set(others)) < len(others)
    below = any(path.startswith(f"{other}/") for path in kinds for other in others)
    if clash or below:
        with pytest.raises(ConfigError):
            merge(entries)
    else:
        merged = [entry.path for entry in merge(entries)]
        assert merged == sorted(kinds, key=os.fsencode)


def test_where_a_file_is_left_out_its_first_link_becomes_the_file() -> None:
    tree = {
        "a": Entry("a", FILE, b"data"),
        "b": Entry("b", FILE, b"data", link="a"),
        "c": Entry("c", FILE, b"data", link="a"),
        "d": Entry("d", FILE, b"more"),
    }
    assert {entry.path: entry.link for entry in chosen(tree, ["c", "b", "d"])} == {"b": "", "c": "b", "d": ""}
    assert {entry.path: entry.link for entry in chosen(tree, tree)} == {"a": "", "b": "a", "c": "a", "d": ""}
    assert [entry.content for entry in chosen(tree, ["c"])] == [b"data"]
