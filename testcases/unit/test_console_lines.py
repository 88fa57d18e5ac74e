from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.console.lines import MAX_LINE, Block, Line, LineCleaner

# Bytes that a cleaner may trip over, more often than chance would have them.
TERMINATORS = [b"\r", b"\n", b"\r\n", b"\r\r\n"]
ESCAPES = [b"\x1b", b"[", b"1;", b"K", b"\x1b[31m", b"\x1b]0;t\x07", b"\x1b]x\x1b\\", b"\x1b(B"]
TEXT = [b"a", b"word", "ö".encode(), "€".encode(), "😀".encode(), b"\xff", b"\xe2\x80", b"\0", b"\t", b"\x07"]
PIECES = st.sampled_from(TERMINATORS + ESCAPES + TEXT)
PLAIN = st.lists(st.sampled_from([*TERMINATORS, b"a", "€".encode()]), max_size=30)
STREAMS = st.one_of(PLAIN, st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=30)).map(b"".join)


def cleaned(chunks: list[bytes]) -> tuple[list[Line], Line]:
    cleaner = LineCleaner()
    lines = [line for chunk in chunks for line in cleaner.feed(chunk)]
    return lines, cleaner.tail


@given(STREAMS, st.lists(st.integers(0, 120), max_size=8))
@example(b"a\r\r\nb", [1, 2, 3])
def test_cuts_do_not_matter(stream: bytes, cuts: list[int]) -> None:
    whole = cleaned([stream])
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert cleaned([stream[a:b] for a, b in pairwise(edges)]) == whole
    assert cleaned([stream[i : i + 1] for i in range(len(stream))]) == whole


@given(STREAMS)
def test_offsets_cover_the_stream(stream: bytes) -> None:
    lines, tail = cleaned([stream])
    position = 0
    for line in [*lines, tail]:
        assert line.start == position
        position = line.end
    assert position == len(stream)


def plainly_cleaned(stream: bytes) -> list[Line]:
    """One line after the other, one rule after the other."""
    lines = []
    for raw in re.finditer(rb"([^\r\n]*)(?:\r{0,2}\n|\r)", stream):
        # From left to right: what one sequence leaves never becomes a part of another one.
        sequence = (
            rb"\x1b\[[0-?]*[ -/]*[@-~]?",
            rb"\x1b[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?",
            rb"\x1b[ -/]*[0-~]?",
        )
        text = re.sub(b"|".join(sequence), b"", raw[1])
        text = bytes(byte for byte in text if byte == 9 or (byte >= 32 and byte != 127))
        lines.append(Line(text.decode("utf-8", "replace"), raw.start(), raw.end()))
    return lines


@given(STREAMS)
@example(b"\x1b\x1b[31m[\r")
@example(b"a\r\r\r\nb\r\x1b[K\nc\r\0\n")
@example(b"\x1b]title\rmore\nx\xe2\x80\ny\r\r\n")
@example(b"50%\r" * 40 + b"\r\r\nb\r\r\r\n")
def test_whole_blocks_give_the_same_lines_as_one_by_one(stream: bytes) -> None:
    ended = stream + b"."  # what no longer waits for a \n
    block = LineCleaner(5).feed(ended)
    expected = [Line(text, start + 5, end + 5) for text, start, end in plainly_cleaned(stream)]
    assert [block.line(number) for number in range(len(block))] == block.lines == list(block) == expected
    texts = "".join(f"{line.text}\n" for line in expected)
    assert Block(ended[: block.end - 5], 5).text.decode("utf-8", "replace") == texts
    starts = [0, *(match.end() for match in re.finditer(b"\n", block.text))]
    assert [block.text_at(start) for start in starts[:-1]] == [line.text for line in expected]
    assert bool(block) == bool(expected)


def test_block_with_a_very_long_line_in_the_middle() -> None:
    stream = b"a\r\n" + b"x" * (2 * MAX_LINE + 10) + b"\r\nb\r\n"
    block = LineCleaner().feed(stream)
    assert [(len(line.text), line.start) for line in block] == [
        (1, 0),
        (MAX_LINE, 3),
        (MAX_LINE, 3 + MAX_LINE),
        (10, 3 + 2 * MAX_LINE),
        (1, len(stream) - 3),
    ]
    assert [block.line(number) for number in range(5)] == block.lines
    assert block.text.count(b"\n") == len(block) == 5


@given(STREAMS, st.lists(st.integers(1, 150), max_size=6), st.booleans())
@example(b"\n" * 50 + b"a long line behind many short ones\r\n", [1, 2, 49, 50, 51], False)
@example(b"a\r\r\nb\rc\n", [1, 2, 3, 4, 5, 6, 7], False)
def test_parts_hold_the_lines_that_begin_in_them(stream: bytes, offsets: list[int], long: bool) -> None:
    stream += b"." * (MAX_LINE + 9) * long
    block = LineCleaner(5).feed(stream + b"\n.")
    edges = sorted(5 + offset for offset in offsets if offset < len(stream))
    inside = [0, *edges, len(stream) + 9]
    assert [part.decode("utf-8", "replace") for part in block.parts(edges)] == [
        "".join(f"{line.text}\n" for line in block if start <= line.start < end)
        for start, end in pairwise(inside)
    ]


@given(STREAMS)
def test_flush_ends_the_last_line(stream: bytes) -> None:
    cleaner = LineCleaner(7)
    lines = [*cleaner.feed(stream), *cleaner.flush()]
    assert (lines[-1].end if lines else 7) == 7 + len(stream)
    assert cleaner.flush() == []
    assert cleaner.tail == Line("", 7 + len(stream), 7 + len(stream))


@given(
    st.lists(st.text(st.characters(blacklist_categories=["Cc", "Cs"])), max_size=20),
    st.sampled_from(["\n", "\r\n", "\r\r\n"]),
)
def test_plain_text_stays_as_it_is(texts: list[str], terminator: str) -> None:
    lines, tail = cleaned(["".join(text + terminator for text in texts).encode()])
    assert [line.text for line in lines] == texts
    assert tail.text == ""


@pytest.mark.parametrize(
    ("raw", "texts"),
    [
        (b"a\rb\n", ["a", "b"]),
        (b"10%\r20%\r100%\r\n", ["10%", "20%", "100%"]),
        (b"\x1b[1;31mred\x1b[0m\x1b[K\n", ["red"]),
        (b"\x1b]0;title\x07text\x1b]8;;u\x1b\\link\n", ["textlink"]),
        (b"\x1b]0;never closed\nnext\n", ["", "next"]),
        (b"\x1b[?2004lx\x1b(By\x1b=z\x1bcw\n", ["xyzw"]),
        (b"a\0b\x07c\td\x08\x7f\n", ["abc\td"]),
        (b"a\xffb\xe2\x80\n", ["a\ufffdb\ufffd"]),
        ("gcc: \u2018x\u2019\r\n".encode(), ["gcc: \u2018x\u2019"]),
        (b"\n\r\n\n", ["", "", ""]),
    ],
)
def test_cleaning(raw: bytes, texts: list[str]) -> None:
    assert [line.text for line in cleaned([raw])[0]] == texts


def test_tail_is_clean_and_holds_no_half_character() -> None:
    assert cleaned([b"done\nbash\x1b[0m-5.2\xe2\x80"])[1] == Line("bash-5.2", 5, 19)
    assert cleaned([b"prompt \x1b[3"])[1].text == "prompt "


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("extra", [0, 1, MAX_LINE])
def test_endless_lines_are_cut_where_they_always_are(extra: int, end: bytes) -> None:
    stream = b"x" * (MAX_LINE + extra) + end + b"y"
    whole = cleaned([stream])
    assert all(len(line.text) <= MAX_LINE for line in whole[0])
    for size in (997, MAX_LINE):
        assert cleaned([stream[i : i + size] for i in range(0, len(stream), size)]) == whole


@pytest.mark.parametrize("extra", [0, pytest.param(MAX_LINE, marks=pytest.mark.thorough)])
def test_single_bytes_of_an_endless_line_take_no_more_memory(extra: int) -> None:
    cleaner = LineCleaner()
    for _ in range(MAX_LINE + extra):
        cleaner.feed(b"x")
        assert cleaner.tail_size < 2 * MAX_LINE
