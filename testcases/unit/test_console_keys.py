from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.console.screen import Modes
from harness.console.terminal import KeyReader, Meaning, Sent

LEAVE = [
    b"\x1d",
    b"\x1b[93;5u",  # fixterms, kitty
    b"\x1b[93:125:93;5u",
    b"\x1b[93;133:1u",  # with NumLock, and the event spelled out
    b"\x1b[93;5;29u",
    b"\x1b[27;5;93~",  # xterm's modifyOtherKeys
]
INTERRUPT = [b"\x03", b"\x1b[99;5u", b"\x1b[27;5;99~"]
ANSWERS = [
    b"\x1b[24;80R",
    b"\x1b[?1;2c",
    b"\x1b[>0;276;0c",
    b"\x1b[0n",
    b"\x1b[?2026;2$y",
    b"\x1b[8;24;80t",
    b"\x1b[I",
    b"\x1b]11;rgb:0000/0000/0000\x1b\\",
    b"\x1b]11;rgb:0000/0000/0000\x07",
    b"\x1bP>|tmux 3.3a\x1b\\",
    b"\x1b[?0u",
]
TYPED = [
    b"a",
    b"\r",
    "é".encode(),
    b"\x1b[A",
    b"\x1bOP",
    b"\x1b[3~",
    b"\x1b[1;5C",
    b"\x1b[93;1u",
    b"\x1b[94;5u",
]
TYPED += [b"\x1b[200~", b"\x1b[27;5;65~", b"\xff\xfe", b"\x1b\x1b[B", b"\x00"]


def told(pieces: list[bytes]) -> list[Sent]:
    """What a reader makes of reads, with neighbours of one kind put together."""
    reader, found = KeyReader(), list[Sent]()
    sent = [it for piece in pieces for it in reader.feed(piece)]
    for it in [*sent, *reader.flush()]:
        if found and found[-1].meaning == it.meaning == Meaning.TYPED:
            found[-1] = Sent(Meaning.TYPED, found[-1].data + it.data)
        else:
            found.append(it)
    assert not reader.waiting
    return found


@pytest.mark.parametrize(
    ("keys", "meaning"),
    [
        (LEAVE, Meaning.LEAVE),
        (INTERRUPT, Meaning.INTERRUPT),
        (ANSWERS, Meaning.ANSWER),
        (TYPED, Meaning.TYPED),
    ],
)
def test_each_is_known_however_it_is_written_and_cut(keys: list[bytes], meaning: Meaning) -> None:
    for key in keys:
        assert told([key]) == [Sent(meaning, key)]
        assert told([key[n : n + 1] for n in range(len(key))]) == [Sent(meaning, key)]
        around = [Sent(Meaning.TYPED, b"x"), Sent(meaning, key), Sent(Meaning.TYPED, b"y")]
        assert told([b"x" + key + b"y"]) == (
            around if meaning != Meaning.TYPED else told([b"x" + key + b"y"])
        )


@pytest.mark.parametrize(
    "begun", [b"\x1b", b"\x1b[", b"\x1b[93;", b"\x1b]", b"\x1bP1;2", b"\x1b]0;title\x1b"]
)
def test_nothing_that_has_begun_hides_the_key_that_leaves(begun: bytes) -> None:
    sent = told([begun, b"\x1d"])
    assert sent[-1] == Sent(Meaning.LEAVE, b"\x1d")
    assert b"".join(it.data for it in sent) == begun + b"\x1d"


def test_a_lone_escape_waits_for_a_moment_only() -> None:
    reader = KeyReader()
    assert list(reader.feed(b"\x1b")) == []
    assert reader.waiting
    assert list(reader.flush()) == [Sent(Meaning.TYPED, b"\x1b")]


def test_what_never_ends_is_typed_on() -> None:
    reader = KeyReader()
    sent = [it for _ in range(100) for it in reader.feed(b"\x1b]" + b"x" * 98)]
    assert sum(len(it.data) for it in sent) > 9000


@given(
    st.lists(st.sampled_from([*LEAVE, *INTERRUPT, *ANSWERS, *TYPED]) | st.binary(max_size=5)),
    st.lists(st.integers(0, 200)),
)
def test_every_byte_comes_through_once_and_means_the_same_in_any_pieces(
    keys: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(keys)
    ends = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in itertools.pairwise(ends)]
    whole = told([data])
    assert told(pieces) == whole
    assert b"".join(it.data for it in whole) == data
    assert sum(it.meaning == Meaning.LEAVE for it in whole) >= data.count(b"\x1d")


# What the guest does to the terminal.


def undone(*output: bytes) -> bytes:
    modes = Modes()
    for piece in output:
        modes.feed(piece)
    return modes.undo().removeprefix(Modes().undo())


@pytest.mark.parametrize(
    ("output", "undo"),
    [
        (b"plain \x1b[31mred", b""),
        (b"\x1b[?1049h\x1b[?25l", b"\x1b[?1049l\x1b[?25h"),
        (b"\x1b[?1049h\x1b[?25l vi \x1b[?25h\x1b[?1049l", b""),
        (b"\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l"),
        (b"\x1b[?7l\x1b[?2004h", b"\x1b[?7h\x1b[?2004l"),
        (b"\x1b[3;20r", b"\x1b7\x1b[r\x1b8"),
        (b"\x1b[3;20r\x1b[r", b""),
        (b"\x1b=\x1b[?1h", b"\x1b>\x1b[?1l"),
        (b"\x1b[>1u\x1b[>4;2m", b"\x1b[=0u\x1b[>4m"),
        (b"\x1b[?1049h\x1b=\x1bc", b""),
    ],
)
def test_modes_are_undone(output: bytes, undo: bytes) -> None:
    assert undone(output) == undo
    assert undone(*(output[n : n + 1] for n in range(len(output)))) == undo
    assert undone(b"\x1b[?12" * 100, output) == undo


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"\x1b[?", b"1049h", b"25l", b"\x1b"])))
def test_any_output_is_taken_in_any_pieces(output: list[bytes]) -> None:
    modes = Modes()
    for piece in output:
        modes.feed(piece)
    assert modes.undo() == Modes().undo() + undone(b"".join(output))
