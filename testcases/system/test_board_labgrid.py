"""Places of labgrid behind a stand-in for its client; `hardware/test_labgrid.py` has the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError, HarnessError, InfraError
from harness.machine.board import labgrid
from harness.machine.board.document import load_board
from harness.machine.board.lease import leased

if TYPE_CHECKING:
    from harness.machine.board.document import Board

# Says what a file beside it holds for its last word, and notes what it was asked.
CLIENT = """#!{python}
import sys
from pathlib import Path

here = Path(__file__).parent
with (here / "asked").open("a") as file:
    print(*sys.argv[1:], file=file)
failure = here / f"{{sys.argv[-1]}}.failure"
if failure.exists():
    sys.exit(failure.read_text())
said = here / f"{{sys.argv[-1]}}.said"
print(said.read_text() if said.exists() else "")
"""
ENV = """
targets:
  bench:
    resources:
    - NetworkPowerPort:
        index: 0
        model: simplerest
        host: http://pdu/{{index}}/{{value}}
{ports}
"""
BOARD = """
summary = "a place"
[labgrid]
place = "bench"
coordinator = "lab:20408"
client = ["{client}"]
{more}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the client is, and what it is told to say."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    client = tmp_path / "client"
    client.write_text(CLIENT.format(python=sys.executable))
    client.chmod(0o755)
    return tmp_path


def board_of(place: Path, more: str = "") -> Board:
    path = place / "bench.toml"
    path.write_text(BOARD.format(client=place / "client", more=more))
    return load_board(path)


def share(place: Path, *ports: str) -> None:
    resources = "".join(f"    - NetworkSerialPort: {{{port}}}\n" for port in ports)
    (place / "env.said").write_text(ENV.format(ports=resources))


def asked(place: Path) -> list[str]:
    """The last words of all that the client was asked."""
    return [line.split()[-1] for line in (place / "asked").read_text().splitlines()]


@pytest.mark.parametrize(
    ("shared", "address"),
    [
        ("host: shelf, port: 4711, speed: 115200", "rfc2217://shelf:4711?ign_set_control"),
        ("host: shelf, port: 4711, speed: 9600", "rfc2217://shelf:4711?ign_set_control"),  # it follows ours
        ("host: shelf, port: 1, speed: 115200, protocol: raw", "socket://shelf:1"),
        ("host: '2001:db8::1', port: 1, protocol: raw, name: USB", "socket://[2001:db8::1]:1"),
    ],
)
def test_the_port_of_a_place_is_found(place: Path, shared: str, address: str) -> None:
    share(place, shared)
    table = board_of(place).document.labgrid
    assert table is not None
    assert labgrid.address(table, 115200) == address


@pytest.mark.parametrize(
    ("shared", "kind", "words"),
    [
        ((), ConfigError, "has not one serial port, but these: none"),
        (("host: a, port: 1, name: A", "host: a, port: 2, name: B"), ConfigError, "but these: A, B"),
        (("host: a, port: null, speed: 115200",), InfraError, "does not share the serial port"),
        (
            ("host: a, port: 1, speed: 9600, protocol: raw",),
            ConfigError,
            "at 9600 baud, and the board",
        ),
    ],
)
def test_a_port_that_cannot_be_used_is_said(
    place: Path, shared: tuple[str, ...], kind: type[HarnessError], words: str
) -> None:
    share(place, *shared)
    table = board_of(place).document.labgrid
    assert table is not None
    with pytest.raises(kind, match=words):
        labgrid.address(table, 115200)


def test_one_of_several_ports_is_chosen_by_its_name(place: Path) -> None:
    share(place, "host: a, port: 1, name: A", "host: a, port: 2, name: B")
    table = board_of(place, 'port = "B"').document.labgrid
    assert table is not None
    assert labgrid.address(table, 115200).startswith("rfc2217://a:2?")


def test_a_place_is_the_switch_unless_there_is_another(place: Path) -> None:
    power = board_of(place, 'power = "relay 3"\n[power]\npause = 2').document.power
    client = [str(place / "client"), "--coordinator", "lab:20408", "--place", "bench"]
    assert list(power.on) == [*client, "power", "--name", "relay 3", "on"]
    assert list(power.off) == [*client, "power", "--name", "relay 3", "off"]
    assert power.pause == 2
    assert board_of(place, '[power]\ncycle = ["own"]').document.power.on == ()
    assert board_of(place, "[power]\nmanual = true").document.power.on == ()


def test_a_place_is_acquired_and_released(place: Path) -> None:
    board = board_of(place)
    with leased(board, "a test"):
        assert asked(place) == ["acquire"]
        with pytest.raises(InfraError, match=r"in use by .*: a test"), leased(board, "another"):
            pass
        assert asked(place) == ["acquire"], "the lease is looked at before labgrid is asked"
    assert asked(place) == ["acquire", "release"]
    with pytest.raises(ValueError, match="ours"), leased(board, "a test"):
        raise ValueError("ours")
    assert asked(place) == ["acquire", "release"] * 2


def test_a_place_is_released_even_if_its_holder_died_while_it_was_acquired(place: Path) -> None:
    keeper = [sys.executable, "-IS", str(Path(labgrid.__file__).with_name("place_holder.py")), "60"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*keeper, place / "client"],
        stdin=subprocess.DEVNULL,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
    assert asked(place) == ["acquire", "release"]


def test_a_place_that_is_ours_already_is_kept(place: Path) -> None:
    (place / "acquire.failure").write_text("labgrid-client: Error: You have already acquired place bench.")
    with leased(board_of(place), "a test"):
        pass
    assert asked(place) == ["acquire", "env"]


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (
            "labgrid-client: Error: Place bench is already acquired by far/bob. To work …",
            InfraError,
            "acquired by far/bob",
        ),
        ("labgrid-client: Error: place pattern bench matches nothing", ConfigError, "bench matches nothing$"),
        ("Server error: Error: Could not connect to coordinator", InfraError, ": Could not connect to"),
    ],
)
def test_a_place_that_is_not_given_is_said(
    place: Path, said: str, kind: type[HarnessError], words: str
) -> None:
    (place / "acquire.failure").write_text(said)
    (place / "env.failure").write_text("labgrid-client: Error: place bench is not acquired")
    with pytest.raises(kind, match=words) as caught, leased(board_of(place), "a test"):
        pass
    assert caught.value.hint
    assert "release" not in asked(place)


def test_a_place_that_is_not_released_is_said(place: Path) -> None:
    (place / "release.failure").write_text("Server error: Error: Could not connect to coordinator")
    with pytest.raises(InfraError, match="was not released: Could not connect"), leased(board_of(place), "a"):
        pass


def test_who_has_a_place(place: Path) -> None:
    table = board_of(place).document.labgrid
    assert table is not None
    (place / "show.said").write_text("Place 'bench':\n  acquired: far/bob\n  acquired resources:\n")
    assert labgrid.holder(table) == "far/bob"
    (place / "show.said").write_text("Place 'bench':\n  acquired: None\n")
    assert labgrid.holder(table) == ""
