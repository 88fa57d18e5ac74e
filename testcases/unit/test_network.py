"""The restricted network: names are answered, connections carried, and nothing else is done."""

from __future__ import annotations

import shlex
import socket
import struct
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.machine.command import Ends, command_words, device_words, for_people
from harness.machine.kinds import qemu
from harness.machine.kinds.kind import MachineRequest
from harness.machine.network.dns import Connection, Names, Question, answer, begun
from harness.machine.network.qemu_args import answering_words
from harness.machine.protocol import Accelerator, Firmware, MachineKind, Network
from harness.machine.spec import DiskBoot, MachineSpec
from harness.run.prepare import prepare
from harness.run.request import RunRequest

if TYPE_CHECKING:
    from pathlib import Path

    from harness.recipe import Recipe

GUEST, GATEWAY = bytes.fromhex("525400123456"), bytes.fromhex("525501010101")
ADDRESSES = (b"\x01\x01\x01\x0f", b"\x01\x01\x01\x01")
ANSWER = "1.1.1.80"


def question(name: str, kind: int = 1, number: int = 0x1234) -> bytes:
    """A question as resolvers ask it (RFC 1035, 4.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def frame(message: bytes, *, port: int = 53, protocol: int = 17, options: bytes = b"") -> bytes:
    """A datagram from the guest to its name server, in an Ethernet frame."""
    datagram = struct.pack(">HHHH", 40000, port, 8 + len(message), 0xBEEF) + message
    first, length = 0x45 + len(options) // 4, 20 + len(options) + len(datagram)
    header = struct.pack(">BBHHHBBH", first, 0, length, 7, 0x4000, 64, protocol, 0) + b"".join(ADDRESSES)
    return GATEWAY + GUEST + b"\x08\x00" + header + options + datagram


def opening(port: int, flags: int = 0x02, options: bytes = b"") -> bytes:
    """What begins a connection to the one who answers (RFC 9293, 3.1), in an Ethernet frame."""
    segment = struct.pack(">HHIIBBHHH", 40001, port, 1, 0, 0x50, flags, 0xFFFF, 0, 0)
    first, length = 0x45 + len(options) // 4, 20 + len(options) + len(segment)
    header = struct.pack(">BBHHHBBH", first, 0, length, 7, 0x4000, 64, 6, 0)
    goal = socket.inet_aton(ANSWER)
    return GATEWAY + GUEST + b"\x08\x00" + header + ADDRESSES[0] + goal + options + segment


def total(header: bytes) -> int:
    """The sum that a right header has (RFC 1071)."""
    found: int = sum(struct.unpack(">10H", header))
    return (found & 0xFFFF) + (found >> 16)


@pytest.mark.parametrize("options", [b"", b"\x01" * 8])
def test_every_name_has_the_same_address(options: bytes) -> None:
    asked = question("ftp.example.org")
    said = answer(frame(asked, options=options), ANSWER)
    assert said is not None
    reply, what = said
    assert (what.name, what.kind) == ("ftp.example.org", 1)
    assert reply[:14] == GUEST + GATEWAY + b"\x08\x00"
    header, datagram = reply[14:34], reply[34:]
    assert (header[12:16], header[16:20]) == ADDRESSES[::-1]
    assert total(header) == 0xFFFF
    assert struct.unpack(">H", header[2:4])[0] == len(header) + len(datagram)
    assert struct.unpack(">HHHH", datagram[:8]) == (53, 40000, len(datagram), 0)
    message = datagram[8:]
    assert struct.unpack(">HHHHHH", message[:12]) == (0x1234, 0x8180, 1, 1, 0, 0)
    assert message[12:].startswith(asked[12:])
    record = message[len(asked) :]
    assert struct.unpack(">HHHIH", record[:12]) == (0xC00C, 1, 1, 60, 4)
    assert record[12:] == socket.inet_aton(ANSWER)


def test_a_name_has_no_other_record() -> None:
    said = answer(frame(question("example.com", kind=28)), ANSWER)
    assert said is not None
    asked = question("example.com", kind=28)
    assert said[0][42:] == struct.pack(">HHHHHH", 0x1234, 0x8180, 1, 0, 0, 0) + asked[12:]


@pytest.mark.parametrize(
    "other",
    [
        b"",
        frame(question("a.b"), port=54),
        frame(question("a.b"), protocol=6),
        frame(question("a.b"))[:-1],
        frame(question("a.b")[:2] + b"\x80\x00" + question("a.b")[4:]),  # an answer
        frame(question("a.b")[:2] + b"\x28\x00" + question("a.b")[4:]),  # an update
        frame(question("a.b")[:4] + b"\x00\x02" + question("a.b")[6:]),  # two questions
        frame(question("a.b")[:12] + b"\xc0\x0c\x00\x01\x00\x01"),  # a name that points at itself
        frame(question("a.b")[:-1]),
        frame(question("a.b"))[:12] + b"\x86\xdd" + frame(question("a.b"))[14:],  # IPv6
        frame(question("a.b"))[:20] + b"\x20\x00" + frame(question("a.b"))[22:],  # a fragment
    ],
)
def test_all_else_is_left_alone(other: bytes) -> None:
    assert answer(other, ANSWER) is None


@given(st.binary(max_size=200), st.integers(0, 80), st.binary(max_size=8))
def test_no_frame_breaks_it(noise: bytes, place: int, change: bytes) -> None:
    good = frame(question("www.example.org"))
    for data in (noise, good[:14] + noise, frame(noise), good[:place] + change + good[place + len(change) :]):
        said = answer(data, ANSWER)
        assert said is None or said[0][:6] == data[6:12]


@pytest.mark.parametrize("options", [b"", b"\x94\x04\x00\x00"])
def test_a_connection_is_told_when_it_begins(options: bytes) -> None:
    assert begun(opening(443, options=options)) == Connection(ANSWER, 443)
    assert begun(opening(443, flags=0x12, options=options)) is None  # an answer
    assert begun(opening(443, flags=0x10, options=options)) is None  # it goes on
    assert begun(frame(question("a.b"))) is None


@given(st.integers(0, 60), st.binary(max_size=8), st.integers(0, 60))
def test_no_segment_breaks_it(place: int, change: bytes, length: int) -> None:
    good = opening(80)
    begun(good[:place] + change + good[place + len(change) :])
    assert begun(good[: min(length, len(good) - 1)]) is None


def test_names_are_answered_until_qemu_is_gone() -> None:
    ours, theirs = socket.socketpair()
    told: list[Question | Connection] = []
    with Names(ours, ANSWER, told.append), theirs:
        for name in ("example.com", "mirror"):
            for data in (b"no question", frame(question(name)), opening(443)):
                theirs.sendall(len(data).to_bytes(4, "big") + data)
        received = b""
        while len(received) < 8 + 2 * 42 or received.count(socket.inet_aton(ANSWER)) < 2:
            received += theirs.recv(4096)
        theirs.close()
    asked = [each.name for each in told if isinstance(each, Question)]
    assert asked == ["example.com", "mirror"]
    assert Connection(ANSWER, 443) in told
    length = int.from_bytes(received[:4], "big")
    assert received[4 : 4 + length][:6] == GUEST


def spec(network: Network) -> MachineSpec:
    return MachineSpec(DiskBoot(), Firmware.BIOS, None, 1 << 28, "", Accelerator.TCG, network)


def words(network: Network, tmp_path: Path) -> tuple[str, ...]:
    ends = Ends(3, 4, 5, names=6 if network == Network.RESTRICTED else None)
    return command_words("qemu", spec(network), ends, tmp_path, tmp_path / "overlay", http=8080)


def test_a_guest_reaches_no_more_than_it_was_given(tmp_path: Path) -> None:
    assert "-netdev" not in words(Network.NONE, tmp_path)
    assert not [word for word in words(Network.NONE, tmp_path) if word.startswith("user,")]
    restricted = " ".join(words(Network.RESTRICTED, tmp_path))
    assert "restrict=on" in restricted
    assert restricted.count("guestfwd=") == 1
    assert "restrict" not in " ".join(words(Network.OPEN, tmp_path))
    # What tells saved machines apart says nothing of this run.
    assert "8080" not in " ".join(device_words(spec(Network.RESTRICTED)))


def test_what_is_pasted_has_no_file_descriptors(tmp_path: Path) -> None:
    text = for_people(words(Network.RESTRICTED, tmp_path), None)
    pasted = shlex.split(text.partition("# To paste:\n")[2])
    assert not [word for word in pasted if "fd=" in word]
    ids = {word.partition("id=")[2].partition(",")[0] for word in pasted if "id=" in word}
    assert {word.partition("netdev=")[2] for word in pasted if "netdev=" in word} <= ids


def test_odd_paths_reach_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/home/it's a, place/python")
    (address,) = (word for word in answering_words(Network.RESTRICTED, 5, 80) if "guestfwd" in word)
    # QEMU takes two commas for one; the rest is cut into words as a shell does it.
    program = address.partition("-cmd:")[2].replace(",,", ",")
    assert shlex.split(program)[0] == "/home/it's a, place/python"


@pytest.mark.parametrize(
    ("wanted", "asked", "given_"),
    [
        ("none", None, Network.NONE),
        ("user", None, Network.RESTRICTED),
        ("user", Network.OPEN, Network.OPEN),
        ("user", Network.NONE, Network.NONE),
        ("none", Network.RESTRICTED, Network.RESTRICTED),
    ],
)
def test_the_open_network_has_to_be_asked_for(wanted: str, asked: Network | None, given_: Network) -> None:
    recipe = cast("Recipe", SimpleNamespace(boot=SimpleNamespace(network=wanted)))
    assert qemu._network(recipe, MachineRequest(network=asked)) == given_


def test_what_runs_without_a_kernel_has_no_network(tmp_path: Path) -> None:
    build = BuildOptions(cache=tmp_path)
    asked = RunRequest(build=build, runs=tmp_path, machine=MachineKind.BWRAP, network=Network.OPEN)
    with pytest.raises(ConfigError, match="--network"):
        prepare(asked, Quiet())


@pytest.mark.parametrize("network", list(Network))
def test_a_board_is_on_the_network_of_its_cable(tmp_path: Path, network: Network) -> None:
    asked = RunRequest(
        build=BuildOptions(cache=tmp_path), runs=tmp_path, machine="board:shelf", network=network
    )
    with pytest.raises(ConfigError, match=r"--network.* cannot change it"):
        prepare(asked, Quiet())
