"""What is different is said, and nothing else."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.formats.diff import ByteRange, byte_ranges, differences, file_difference
from harness.formats.tree import Member, Part
from testcases.unit.test_image_extract import device, directory, file, symlink

if TYPE_CHECKING:
    from pathlib import Path

TREE = [
    directory("", mtime=1),
    directory("bin"),
    file("bin/sh", b"0123456789" * 500, 0o755, mtime=5),
    file("bin/bash", b"0123456789" * 500, 0o755, link="bin/sh"),
    symlink("lib", "usr/lib"),
    device("null"),
]


def changed(index: int, member: Member) -> list[Member]:
    return [*TREE[:index], member, *TREE[index + 1 :]]


def said(other: list[Member], *, times: bool = False) -> list[str]:
    return [str(difference) for difference in differences(TREE, other, times=times)]


def test_equal_trees_do_not_differ_whatever_their_order_and_spelling() -> None:
    respelled = [msgspec.structs.replace(member, path=f"./{member.path}") for member in TREE]
    assert said(respelled[::-1], times=True) == []


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (TREE[:-1], ["- null (character device)"]),
        ([*TREE, file("new")], ["+ new (file)"]),
        (changed(1, file("bin")), ["  bin: type directory → file"]),
        (changed(1, directory("bin", 0o700)), ["  bin: mode 0755 → 0700"]),
        (changed(1, directory("bin", uid=7, gid=8)), [f"  bin: owner {TREE[1].uid}:{TREE[1].gid} → 7:8"]),
        (changed(4, symlink("lib", "lib64")), ["  lib: target usr/lib → lib64"]),
        (changed(5, device("null", (1, 5))), ["  null: device 1:3 → 1:5"]),
        (changed(0, directory("", 0o711)), ["  .: mode 0755 → 0711"]),
        (
            changed(3, file("bin/bash", b"0123456789" * 500, 0o755)),
            ["  bin/bash: link bin/bash → none", "  bin/sh: link bin/bash → none"],
        ),
    ],
    ids=lambda value: value[0] if isinstance(value[0], str) else "",
)
def test_each_difference_has_its_words(other: list[Member], expected: list[str]) -> None:
    assert said(other) == expected


def test_links_are_the_same_whichever_name_has_the_content() -> None:
    other = [
        *TREE[:2],
        msgspec.structs.replace(TREE[2], link="bin/bash"),
        msgspec.structs.replace(TREE[3], link=""),
        *TREE[4:],
    ]
    assert said(other) == []


def test_times_count_only_when_asked_for() -> None:
    other = changed(2, msgspec.structs.replace(TREE[2], mtime=6))
    assert said(other) == []
    assert said(other, times=True) == ["  bin/sh: mtime 5 → 6"]


def test_content_is_compared_byte_by_byte() -> None:
    content = bytearray(b"0123456789" * 500)
    content[4096:4104] = b"different"[:8]
    other = [file("bin/sh", bytes(content), 0o755) if m.path == "bin/sh" else m for m in TREE]
    assert said(other) == ["  bin/sh: bytes 4096-4103 differ"]


def test_of_equal_names_the_last_counts() -> None:
    assert said([file("lib"), *TREE]) == []


def test_a_longer_file_differs_in_size_and_at_its_end() -> None:
    both = [[file("x", b"abc")], [file("x", b"abcde")]]
    assert [str(each) for each in differences(*both)] == ["  x: size 3 → 5", "  x: bytes 3-4 differ"]


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


# Long runs of a few values, so that two of them have much in common.
DATA = st.lists(st.tuples(st.sampled_from([0, 1, 255]), st.integers(1, 30)), max_size=12).map(
    lambda runs: b"".join(bytes([value]) * length for value, length in runs)
)


@given(a=DATA, b=DATA, cuts=st.lists(st.integers(0, 400), max_size=5))
def test_ranges_hold_all_differences_and_end_at_some(a: bytes, b: bytes, cuts: list[int]) -> None:
    found = byte_ranges(pieces(a, cuts), pieces(b, [cut + 1 for cut in cuts]))
    size = max(len(a), len(b))
    different = {at for at in range(size) if a[at : at + 1] != b[at : at + 1]}
    assert found.count == len(different)
    inside = {at for each in found.ranges for at in range(each.first, each.last + 1)}
    assert all(each.first in different and each.last in different for each in found.ranges)
    if not found.more:
        assert different <= inside
    for one, other in zip(found.ranges, found.ranges[1:], strict=False):
        assert other.first - one.last > 9  # closer ones are one range


@pytest.mark.parametrize("gap", [8, 9])
def test_ranges_do_not_depend_on_how_the_bytes_come(gap: int) -> None:
    a, b = bytes(30), bytes(5) + b"x" + bytes(gap) + b"y" + bytes(30 - gap - 7)
    whole = byte_ranges([a], [b])
    assert len(whole.ranges) == (1 if gap == 8 else 2)
    for cut in range(30):
        assert byte_ranges(pieces(a, [cut]), pieces(b, [cut + 1])) == whole


def test_many_ranges_are_counted_and_few_shown() -> None:
    a = bytes(4000)
    b = b"".join(b"\1" + bytes(99) for _ in range(40))
    found = byte_ranges([a], [b])
    assert (found.count, len(found.ranges), found.more) == (40, 16, 24)
    assert found.ranges[1] == ByteRange(100, 100)
    assert str(found) == "bytes 0, 100, 200, 300 and 36 more ranges differ (40 bytes)"


def test_files_differ_in_their_parts(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(bytes(3000))
    b.write_bytes(bytes(1000) + b"x" + bytes(1000) + b"y" + bytes(998))
    parts = [Part("all", 0, 3000), Part("first", 900, 200)]
    found = file_difference(a, b, parts)
    assert found is not None
    assert list(found.lines()) == [
        "  2 bytes of the files themselves differ",
        "    bytes 1000: first",
        "    bytes 2001: all",
    ]
    a.write_bytes(bytes(950) + b"z" * 500 + bytes(1550))
    across = file_difference(a, b, parts)
    assert across is not None
    assert across.places == ("first, and what follows", "all")
    assert file_difference(a, a, parts) is None
    with pytest.raises(ConfigError, match="cannot read"):
        file_difference(a, tmp_path / "missing", ())


def test_a_member_without_a_type_is_no_crash() -> None:
    assert len(list(differences([Member("x", 0)], [Member("x", stat.S_IFIFO)]))) == 1
