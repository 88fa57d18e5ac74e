"""The seed of genesis, instruction by instruction in an emulator, and its listing."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from testcases.unit.genesis import emulator, listing

GENESIS = Path(__file__).resolve().parents[3] / "images/genesis"
LISTING = (GENESIS / "00-seed/seed.hex").read_bytes()
SEED = listing.binary(LISTING)
BAD = b"bad hex\n"


def start(files: dict[str, bytes], *arguments: str) -> tuple[emulator.Machine, emulator.Ended]:
    machine = emulator.Machine(SEED, ["init", *arguments], files)
    return machine, emulator.run(machine)


def test_size_and_header() -> None:
    assert len(SEED) <= 256
    (segment,) = ELFFile(BytesIO(SEED)).iter_segments()
    assert segment.header.p_type == "PT_LOAD"
    assert segment.header.p_filesz == len(SEED)


def test_first_program() -> None:
    files = {"run.hex": b"7F454C46 # ELF\n01\n"}
    _, ended = start(files)
    assert (ended.status, ended.program, ended.arguments) == (None, "run", ("init",))
    assert files["run"] == b"\x7fELF\x01"


def test_rebuilds_itself() -> None:
    files = {"seed.hex": LISTING}
    _, ended = start(files, "seed.hex", "seed", "more", "words")
    assert (ended.program, ended.arguments) == ("seed", ("seed", "more", "words"))
    assert files["seed"] == SEED


@pytest.mark.parametrize(
    "text",
    [b"7F4", b"7F 4G", b"7F 4f", b"7F:", b"7F/", b"@", b"7F 45 4C 46 5", b"g#", b"\xff", b"7F # x", b""],
)
def test_refused(text: bytes) -> None:
    machine, ended = start({"run.hex": text})
    assert (ended.status, machine.errors) == (1, BAD)


@pytest.mark.parametrize(
    ("files", "arguments"),
    [
        ({}, ()),
        ({"a": b"7F454C46"}, ("a", "/nowhere/b")),
        ({"a": b"7F454C46"}, ("a",)),
        ({"a": b"7F454C46"}, ("a", "full")),
    ],
)
def test_files_that_fail(files: dict[str, bytes], arguments: tuple[str, ...]) -> None:
    machine, ended = start(files, *arguments)
    assert (ended.status, machine.errors) == (1, BAD)


def test_every_instruction_and_branch() -> None:
    machines = [
        start(files, *arguments)[0]
        for files, arguments in [
            ({"run.hex": LISTING}, ()),
            ({"seed.hex": LISTING}, ("seed.hex", "seed")),
            ({}, ()),
            ({"run.hex": b"7F4"}, ()),
            ({"run.hex": b"g"}, ()),
            ({"a": b"7F45"}, ("a", "full")),
        ]
    ]
    executed = set[int]().union(*(machine.executed for machine in machines))
    taken = set[tuple[int, bool]]().union(*(machine.taken for machine in machines))
    jumps = {at for at, _ in taken}
    assert taken == {(at, way) for at in jumps for way in (False, True)}
    # All bytes from the entry to the message belong to an instruction that was executed.
    starts = sorted(executed)
    assert starts[0] == emulator.BASE + 0x4C
    assert all(after - before <= 5 for before, after in pairwise(starts))
    code = LISTING.decode().partition("start:\n")[2].partition("message:\n")[0]
    lines = [line.split("#") for line in code.splitlines() if line and not line.startswith("#")]
    assert len(executed) == sum(mnemonics.count(";") + 1 for _, mnemonics, *_ in lines)


@given(st.binary(max_size=40), st.integers(0, 2**32))
def test_any_program(program: bytes, seed: int) -> None:
    separators = ["", " ", "\n", "\t", "# 00 text\n", "  \0"]
    text = "".join(f"{byte:02X}{separators[(seed >> index % 30) % 6]}" for index, byte in enumerate(program))
    files = {"run.hex": text.encode()}
    start(files)
    assert files["run"] == program
    assert listing.binary(text.encode()) == program


@given(st.lists(st.sampled_from(list("09AFag#\n \0~")), max_size=12))
def test_any_text(characters: list[str]) -> None:
    text = "".join(characters).encode()
    files = {"run.hex": text}
    machine, ended = start(files)
    try:
        expected = listing.binary(text)
    except listing.ListingError:
        assert "run" not in files
    else:
        assert files["run"] == expected
    assert (ended.status, machine.errors) == (1, BAD)


@pytest.mark.parametrize("path", sorted(GENESIS.rglob("*.hex")), ids=lambda path: path.name)
def test_lines_hold_whole_bytes(path: Path) -> None:
    """Recipes and `xxd` read a listing line by line."""
    text = path.read_text("ascii")
    lines = b"".join(bytes.fromhex(line.partition("#")[0]) for line in text.splitlines())
    assert lines == listing.binary(text.encode())
