from __future__ import annotations

import base64

import pytest

from harness.console.framing import BASE64, OCTAL, Frames, sums


def frame(run: int, block: int, size: int, content: bytes, status: int = 0) -> list[str]:
    body = [f"{run} {block} 1536 {status} {size}", base64.b64encode(content).decode()]
    checksum = sums("".join(f"{line}\n" for line in body).encode(), checksum=True)
    return ["@n:B", *body, f"@n:E:{checksum}"]


@pytest.fixture
def frames() -> Frames:
    return Frames("n", run=2, codec=BASE64, checksum=True)


def feed(frames: Frames, lines: list[str]) -> None:
    for line in lines:
        frames.feed(line)


def test_blocks_may_come_in_any_order_and_twice(frames: Frames) -> None:
    feed(frames, frame(2, 1, 1540, b"tail", 7))
    assert (frames.complete, frames.missing) == (False, [0])
    feed(frames, ["noise", *frame(2, 1, 1540, b"tail", 7), *frame(2, 0, 1540, b"x" * 1536, 7)])
    assert frames.complete
    assert (frames.status, frames.output) == (7, b"x" * 1536 + b"tail")


def test_late_answers_to_an_earlier_run_are_ignored(frames: Frames) -> None:
    feed(frames, [*frame(1, 0, 3, b"old"), "@n:none:1"])
    assert not frames.complete
    assert not frames.lost
    feed(frames, frame(2, 0, 3, b"new"))
    assert frames.output == b"new"


def test_late_answers_in_blocks_of_another_size_are_ignored() -> None:
    frames = Frames("n", run=2, codec=BASE64, checksum=True, size=24576)
    feed(frames, frame(2, 0, 3, b"old"))
    assert not frames.complete
    assert frames.seen


@pytest.mark.parametrize("line", range(4))
@pytest.mark.parametrize(
    "damage", [lambda s: s[:-1], lambda s: s + s[-1], lambda s: s[1:]], ids=["end", "twice", "start"]
)
def test_damaged_frames_are_not_believed(frames: Frames, line: int, damage: object) -> None:
    assert callable(damage)
    lines = frame(2, 0, 3, b"out", 12)
    lines[line] = damage(lines[line])
    feed(frames, lines)
    assert not frames.complete
    assert frames.arrived == 0


@pytest.mark.parametrize("printed", [1000, 999, 0])
def test_what_an_encoder_printed_before_it_died_is_no_block(frames: Frames, printed: int) -> None:
    """The guest sums up what was printed, be it all or not."""
    header, text = frame(2, 0, 1540, b"x" * 1536)[1:3]
    checksum = sums(f"{header}\n{text[:printed]}\n".encode(), checksum=True)
    feed(frames, ["@n:B", header, text[:printed], f"@n:E:{checksum}"])
    assert frames.arrived == 0
    feed(frames, [*frame(2, 0, 1540, b"x" * 1536), *frame(2, 1, 1540, b"tail")])
    assert frames.output == b"x" * 1536 + b"tail"


def test_without_checksums_what_is_no_code_is_not_believed() -> None:
    frames = Frames("n", run=2, codec=OCTAL, checksum=False)
    for text in (" 6f 75 7_", " 6f 75 7", " 6f  75 "):
        body = f"2 0 1536 0 3\n{text}\n"
        feed(frames, ["@n:B", *body.splitlines(), f"@n:E:{len(body)}-"])
        assert frames.arrived == 0


def test_what_a_program_in_the_background_adds_comes_too_late(frames: Frames) -> None:
    feed(frames, frame(2, 0, 3, b"out, and more"))
    assert frames.output == b"out"
