"""The tools of images/genesis/07-tools against Python's own hashlib, gzip, bz2 and tarfile."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testcases.system.genesis import toolchain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PLACE = Path(__file__).parents[3] / "images/genesis/07-tools"
NAMES = ("sha256", "gunzip", "bunzip2", "untar", "edit", "cp", "mkdir")

# One directory serves all examples: each writes the same files anew.
reuse = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def tools(cc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tools, compiled by cc with its library."""
    place = tmp_path_factory.mktemp("tools")
    for name in NAMES:
        toolchain.cc(cc, place / name, [PLACE / f"{name}.c"])
    return place


def run(program: Path, *words: str | Path, cwd: Path) -> tuple[int, str]:
    """Exit status and what was said."""
    done = subprocess.run(
        [program, *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
        text=True,
    )
    return done.returncode, done.stdout


# Content with runs, repeats and noise, of sizes around those at which blocks and buffers end.
contents = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=40), st.integers(1, 3000)),
    st.sampled_from([b"", b"\0" * 65536, b"ab" * 32768 + b"c", bytes(range(256)) * 257, b"x" * 1_000_001]),
)


@given(contents)
@reuse
def test_sums_are_those_of_hashlib(tools: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    status, said = run(tools / "sha256", "file", cwd=tmp_path)
    assert (status, said) == (0, f"{hashlib.sha256(data).hexdigest()}  file\n")


@pytest.mark.parametrize("size", [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 121])
def test_sums_at_the_ends_of_blocks(tools: Path, tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"q" * size)
    assert run(tools / "sha256", "file", cwd=tmp_path)[1].startswith(hashlib.sha256(b"q" * size).hexdigest())


def test_a_list_of_sums_names_what_differs(tools: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    good = hashlib.sha256(b"one").hexdigest()
    (tmp_path / "sums").write_text(f"{good}  one\n")
    assert run(tools / "sha256", "-c", "sums", cwd=tmp_path) == (0, "")
    (tmp_path / "sums").write_text(f"{good}  one\n{good}  two\n")
    other = hashlib.sha256(b"two").hexdigest()
    said = f"two: has the sha256 {other}, not {good}\n"
    assert run(tools / "sha256", "-c", "sums", cwd=tmp_path) == (1, said)
    for wrong in (f"{good} one\n", f"{good[:-1]}  one\n", f"{good}  one", "\n", f"{good}  \n"):
        (tmp_path / "sums").write_text(wrong)
        status, said = run(tools / "sha256", "-c", "sums", cwd=tmp_path)
        assert status == 1, wrong
        assert said.startswith("sums:1: there must be"), wrong


PACKERS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "gunzip": gzip.compress,
    "bunzip2": lambda data, level: bz2.compress(data, max(level, 1)),
}


@pytest.mark.parametrize("tool", PACKERS)
@given(data=contents, level=st.integers(0, 9))
@reuse
def test_what_was_packed_comes_out(tools: Path, tmp_path: Path, tool: str, data: bytes, level: int) -> None:
    (tmp_path / "packed").write_bytes(PACKERS[tool](data, level))
    assert run(tools / tool, "packed", "file", cwd=tmp_path) == (0, "")
    assert (tmp_path / "file").read_bytes() == data


@pytest.mark.parametrize("tool", PACKERS)
def test_streams_follow_each_other(tools: Path, tmp_path: Path, tool: str) -> None:
    (tmp_path / "packed").write_bytes(
        PACKERS[tool](b"one" * 99, 9) + PACKERS[tool](b"", 9) + PACKERS[tool](b"two", 1)
    )
    assert run(tools / tool, "packed", "file", cwd=tmp_path) == (0, "")
    assert (tmp_path / "file").read_bytes() == b"one" * 99 + b"two"


@pytest.mark.parametrize("tool", PACKERS)
@given(position=st.floats(0, 1, exclude_max=True), change=st.integers(0, 255))
@reuse
def test_what_is_cut_or_damaged_is_refused(
    tools: Path, tmp_path: Path, tool: str, position: float, change: int
) -> None:
    data = b"".join(b"%d bottles on the wall\n" % (number * number) for number in range(400))
    packed = PACKERS[tool](data, 9)
    at = int(position * len(packed))
    # 0 cuts; all else changes a byte, which a header may survive but no content does.
    damaged = packed[:at] if not change else packed[:at] + bytes([packed[at] ^ change]) + packed[at + 1 :]
    (tmp_path / "packed").write_bytes(damaged)
    status, said = run(tools / tool, "packed", "file", cwd=tmp_path)
    assert status in {0, 1}, said
    if status == 0:
        assert change, "a file that is cut off was taken for a whole one"
        assert (tmp_path / "file").read_bytes() == data
    else:
        assert said.startswith(f"{tool}: packed: "), said


def archive(entries: Mapping[str, bytes | str | None], form: int) -> bytes:
    """A tar archive of files, directories (None) and symbolic links (text)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for name, content in entries.items():
            member = tarfile.TarInfo(f"top/{name}")
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
                member.mode = 0o755 if content.startswith(b"#!") else 0o644
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return made.getvalue()


LONG = "/".join(["a-directory-with-a-name-of-some-length"] * 5)
ENTRIES: Mapping[str, bytes | str | None] = {
    "empty": b"",
    "program": b"#!/bin/sh\n",
    "block": b"b" * 512,
    "large": b"l" * 200_001,
    "directory": None,
    "directory/file": b"in it",
    "link": "directory/file",
    f"{LONG}/file": b"far down",
    "x" * 120: b"long",
}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_are_unpacked(tools: Path, tmp_path: Path, form: int) -> None:
    entries = dict(ENTRIES)
    if form == tarfile.USTAR_FORMAT:
        del entries["x" * 120]  # ustar has no names of this length
    else:
        entries["far-link"] = LONG
    (tmp_path / "file.tar").write_bytes(archive(entries, form))
    assert run(tools / "untar", "file.tar", "out", "1", cwd=tmp_path) == (0, "")
    for name, content in entries.items():
        place = tmp_path / "out" / name
        if content is None:
            assert place.is_dir()
        elif isinstance(content, str):
            assert str(place.readlink()) == content
        else:
            assert place.read_bytes() == content
            assert place.stat().st_mode & 0o777 == (0o755 if content.startswith(b"#!") else 0o644)


def test_an_archive_that_is_cut_anywhere_is_refused(tools: Path, tmp_path: Path) -> None:
    whole = archive({"one": b"1" * 700, "two": b"2", "three/four": b"4" * 40}, tarfile.PAX_FORMAT)
    end = whole.rindex(b"4" * 40) + 512  # where the blocks of zeros begin
    for length in range(0, end, 129):
        (tmp_path / "file.tar").write_bytes(whole[:length])
        status, said = run(tools / "untar", "file.tar", "out", "1", cwd=tmp_path)
        assert status == 1, length
        assert "file.tar: is cut off" in said, said


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "top/../../outside"])
def test_names_that_lead_elsewhere_are_refused(tools: Path, tmp_path: Path, name: str) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 3
        tar.addfile(member, io.BytesIO(b"bad"))
    (tmp_path / "file.tar").write_bytes(made.getvalue())
    status, said = run(tools / "untar", "file.tar", "out", "0", cwd=tmp_path)
    assert (status, "leads out of the directory" in said) == (1, True)
    assert not (tmp_path / "outside").exists()


def test_a_header_of_another_sum_is_refused(tools: Path, tmp_path: Path) -> None:
    data = bytearray(archive({"one": b"1"}, tarfile.USTAR_FORMAT))
    data[0] ^= 1
    (tmp_path / "file.tar").write_bytes(data)
    status, said = run(tools / "untar", "file.tar", "out", "1", cwd=tmp_path)
    assert (status, "a header has another sum" in said) == (1, True)


def test_a_text_is_replaced_as_often_as_it_is_said_to_stand_there(tools: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a\tb c\na\tb\n")
    for wrong in ("1", "3"):
        status, said = run(tools / "edit", "file", wrong, "a\\tb", "x", cwd=tmp_path)
        assert (status, file.read_text()) == (1, "a\tb c\na\tb\n"), said
    assert run(tools / "edit", "file", "2", "a\\tb", "\\\\\\s\\n", cwd=tmp_path) == (0, "")
    assert file.read_text() == "\\ \n c\n\\ \n\n"
    assert run(tools / "edit", "file", "1", "\\sc", "", cwd=tmp_path) == (0, "")
    assert file.read_text() == "\\ \n\n\\ \n\n"


def test_files_are_copied_and_directories_made(tools: Path, tmp_path: Path) -> None:
    assert run(tools / "mkdir", "a", "a/b", "a", cwd=tmp_path) == (0, "")
    (tmp_path / "file").write_bytes(b"z" * 70_000)
    assert run(tools / "cp", "file", "a/b/copy", "0755", cwd=tmp_path) == (0, "")
    copy = tmp_path / "a/b/copy"
    assert (copy.read_bytes(), copy.stat().st_mode & 0o777) == (b"z" * 70_000, 0o755)
    assert run(tools / "mkdir", "none/below", cwd=tmp_path) == (1, "mkdir: none/below: cannot be made\n")
    assert run(tools / "cp", "none", "copy", "0644", cwd=tmp_path) == (1, "cp: none: cannot be opened\n")
