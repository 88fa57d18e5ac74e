"""Disks that boot builder-hex0: what its shell will read, and what it could not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.formats.opened import open_image
from harness.formats.tree import Entry
from harness.image import builder_hex0
from harness.recipe import BuilderHex0
from testcases.support.mini_stage0 import loader

if TYPE_CHECKING:
    from harness.recipe import Recipe

FILE, DIRECTORY, LINK = 0o100644, 0o040755, 0o120777


def write(
    place: Path, *entries: Entry, size: str = "1M", first: bytes | None = None, second: str = "two"
) -> bytes:
    (place / "one").write_bytes(loader() if first is None else first)
    (place / "two").write_bytes(b"# the second stage\n90\n")
    image = BuilderHex0(
        name="disk", stage1="one", stage2=second, commands=("src 0 /made", "/run /me"), size=size
    )
    recipe = cast("Recipe", SimpleNamespace(base=place, path=place / "own.toml"))
    builder_hex0.write(image, recipe, entries, place / "disk.img")
    return (place / "disk.img").read_bytes()


def test_the_disk_is_a_boot_sector_a_source_and_a_script(tmp_path: Path) -> None:
    disk = write(tmp_path, Entry("a/b", FILE, content=b"two\nlines\n"), Entry("a/link", FILE, content=b""))
    assert len(disk) == 1 << 20
    assert disk[510:512] == b"\x55\xaa"
    assert disk[512:1024].rstrip(b"\0") == b"# the second stage\n90\n"
    script = b"src 0 .\nsrc 0 ./a\nsrc 10 ./a/b\ntwo\nlines\nsrc 0 ./a/link\nsrc 0 /made\n/run /me\n"
    assert disk[1024:].rstrip(b"\0") == script


def test_a_boot_sector_may_be_one_already(tmp_path: Path) -> None:
    made = write(tmp_path)
    sector = builder_hex0.binary(loader(), "one")
    assert write(tmp_path, first=sector) == made


def test_without_a_second_stage_the_script_comes_behind_the_first(tmp_path: Path) -> None:
    program = builder_hex0.binary(loader(), "one") + b"more of it".ljust(512, b"\0")
    disk = write(tmp_path, first=program.hex().encode(), second="")
    assert disk[:1024] == program
    assert disk[1024:].rstrip(b"\0") == b"src 0 .\nsrc 0 /made\n/run /me\n"


def test_a_disk_is_read_and_one_that_is_cut_refused(tmp_path: Path) -> None:
    entries = [Entry("a/b", FILE, content=b"two\nlines\n"), Entry("c", FILE, content=bytes(range(256)) * 9)]
    disk = write(tmp_path, *entries)
    path = tmp_path / "cut"

    def read() -> dict[str, bytes]:
        with open_image(path) as image:
            assert image.format.startswith("disk that boots builder-hex0")
            return {m.path: b"".join(m.blocks()) for m in image.members() if m.is_file}

    end = len(disk.rstrip(b"\0"))
    for size in (*range(end + 1, len(disk), 99_991), *range(1024, end + 1, 7), end):
        path.write_bytes(disk[:size])
        if size > end:
            assert read() == {"a/b": b"two\nlines\n", "c": bytes(range(256)) * 9}
            continue
        with pytest.raises(ConfigError):
            read()


def test_names_may_have_blanks(tmp_path: Path) -> None:
    assert b"src 2 ./High Level/x\nhi" in write(tmp_path, Entry("High Level/x", FILE, content=b"hi"))


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (Entry("a\nb", FILE, content=b""), "control characters"),
        (Entry("\u00e4", FILE, content=b""), "not ASCII"),
        (Entry("link", LINK, target="x"), "files and directories only"),
        (Entry("dev", 0o020600, device=(5, 1)), "files and directories only"),
        (Entry("lost", FILE, content=Path("/nowhere/at/all")), "cannot read /nowhere"),
        (Entry("large", FILE, content=bytes(1 << 20)), "its files take"),
    ],
)
def test_what_it_cannot_load_is_named(tmp_path: Path, entry: Entry, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        write(tmp_path, entry)


@pytest.mark.parametrize(
    ("first", "told"), [(b"90 90", "makes 2 bytes"), (b"9", "is no hex0"), (b"hello", "is no hex0")]
)
def test_a_first_stage_that_no_bios_starts_is_refused(tmp_path: Path, first: bytes, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        write(tmp_path, first=first)


def test_a_missing_stage_says_where_to_get_it(tmp_path: Path) -> None:
    image = BuilderHex0(name="disk", stage1="one", stage2="two", commands=("x",))
    recipe = cast("Recipe", SimpleNamespace(base=tmp_path, path=tmp_path / "own.toml"))
    with pytest.raises(ConfigError, match="key stage1: cannot read one") as caught:
        builder_hex0.describe(image, recipe)
    assert "ironmeld/builder-hex0" in caught.value.hint


@given(
    st.binary(max_size=200),
    st.lists(st.sampled_from([" ", "\n", "\t", " # 90 x\n", " ; note\n"]), min_size=1),
)
def test_hex0_is_digits_with_blanks_and_comments(data: bytes, between: list[str]) -> None:
    text = "".join(f"{byte:02x}{between[place % len(between)]}" for place, byte in enumerate(data))
    assert builder_hex0.binary(text.encode(), "x") == data
