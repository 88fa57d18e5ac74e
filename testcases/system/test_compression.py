"""Compressed streams and the programs that usually make and read them."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testcases.support.profiles import fewer
from testcases.unit.test_compression import SAMPLE, compress, objection, sample_of, stream_of, unpack

# More than any window and block is for the night.
SIZES = pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.thorough)])


@SIZES
@pytest.mark.parametrize(
    ("kind", "program"),
    [
        ("gzip", ["gzip", "-dc"]),
        ("xz", ["xz", "-dc"]),
        ("zstd", ["zstd", "-dc"]),
        ("lz4", ["lz4", "-dc"]),
        ("bzip2", ["bzip2", "-dc"]),
        ("lzma", ["xz", "--format=lzma", "-dc"]),
        ("lzo", ["lzop", "-dc"]),
    ],
)
def test_the_usual_program_unpacks_it(kind: str, program: list[str], whole: bool) -> None:
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    sample, stream = (SAMPLE, compress(SAMPLE, kind)) if whole else (sample_of(kind), stream_of(kind))
    assert subprocess.run(program, input=stream, capture_output=True, check=True).stdout == sample


@SIZES
@pytest.mark.parametrize(
    "program",
    [
        ["gzip", "-9"],
        ["xz", "--check=crc32"],
        ["xz", "--format=lzma"],
        ["bzip2"],
        ["zstd"],
        ["lz4", "-l"],
        ["lzop", "-9"],
        ["lzop", "-1", "--crc32"],
        ["lzop", "-F"],
    ],
    ids=" ".join,
)
def test_unpacks_what_the_usual_program_made(program: list[str], whole: bool) -> None:
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    sample = SAMPLE if whole else sample_of("lz4" if program[0] == "lz4" else "")
    stream = subprocess.run([*program, "-c"], input=sample, capture_output=True, check=True).stdout
    assert unpack(stream) == (sample, len(stream))


def test_lzo_is_what_lzop_writes_with_one_checksum_for_a_block() -> None:
    """The kernel skips one, and looks at no flag that says how many there are (lib/decompress_unlzo.c)."""
    stream = stream_of("lzo")
    assert objection(stream) == ""
    with_none = subprocess.run(["lzop", "-F"], input=sample_of("lzo"), capture_output=True, check=True).stdout
    assert "one checksum" in objection(with_none)


@fewer(5)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40), st.builds(bytes.__mul__, st.binary(max_size=9), st.integers(1, 60_000))
        )
    ),
    st.sampled_from(["-1", "-6", "-9", "--crc32"]),
)
def test_lzop_and_we_agree(pieces: list[bytes], option: str) -> None:
    if shutil.which("lzop") is None:
        pytest.skip("lzop is not installed")
    data = b"".join(pieces)
    theirs = subprocess.run(["lzop", option], input=data, capture_output=True, check=True).stdout
    assert unpack(theirs) == (data, len(theirs))
    ours = compress(data, "lzo", piece=1000)
    assert subprocess.run(["lzop", "-d"], input=ours, capture_output=True, check=True).stdout == data
