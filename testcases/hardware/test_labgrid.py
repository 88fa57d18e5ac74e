"""Boards that are places of labgrid: its real coordinator, exporter, client and ser2net, on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.recipe import load_recipe
from testcases.boot.test_iso import RECIPE as HELLO
from testcases.hardware import lab
from testcases.hardware.test_board import obstacle as no_qemu
from testcases.hardware.uart import emulated_board

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testcases.hardware.lab import Lab

ROOT = lab.ENVIRONMENT.parents[1]
BOARD = """
summary = "QEMU, as a place of labgrid"
budgets = 4

[serial]
first-byte = 600

[labgrid]
place = "{place}"
coordinator = "{coordinator}"
client = ["{client}"]

[power]
pause = 0.1
"""
OBSTACLE = lab.obstacle() or no_qemu()

pytestmark = [
    pytest.mark.skipif(bool(OBSTACLE), reason=OBSTACLE),
    pytest.mark.xdist_group("labgrid"),  # one lab for all
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `lab/` with the board's file is."""
    return tmp_path_factory.mktemp("labgrid")


@pytest.fixture(scope="module")
def bench(harness_cache: Path, directory: Path) -> Iterator[Lab]:
    """A lab that shares an emulated board."""
    stick = build_recipe(load_recipe(str(HELLO)), BuildOptions(cache=harness_cache), Quiet())
    with (
        emulated_board(directory, stick.images["stick"].path, None) as board,
        lab.lab(directory, board.uart.name, board.switch) as shared,
    ):
        (directory / "lab").mkdir()
        for name, place in (("bench", "bench"), ("absent", "no-such-place")):
            text = BOARD.format(place=place, coordinator=shared.coordinator, client=shared.client)
            (directory / f"lab/{name}.toml").write_text(text)
        yield shared


@pytest.fixture
def harness(harness_cache: Path, directory: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts the program beside the lab."""

    def start(*words: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HARNESS_CACHE": str(harness_cache),
            "XDG_RUNTIME_DIR": str(directory),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *words],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its status, and what it said on both channels."""
    said, complained = process.communicate(timeout=1500)
    return process.returncode, said, " ".join(complained.split())


def test_a_board_is_run_over_its_place(bench: Lab, harness: Callable[..., subprocess.Popen[str]]) -> None:
    status, said, complained = ended(harness("run", str(HELLO), "--machine", "board:bench", "--json"))
    assert status == 0, said[-3000:] + complained[-3000:]
    document = json.loads(said)
    assert document["verdict"]["outcome"] == "PASS"
    assert (document["machine"]["kind"], document["machine"]["board"]) == ("board", "bench")
    assert document["facts"]["width"] == "i686"
    assert bench.holder() == "None"


def test_what_can_be_reached_is_checked(bench: Lab, harness: Callable[..., subprocess.Popen[str]]) -> None:
    status, said, complained = ended(harness("board", "check", "bench"))
    assert status == 0, complained
    assert "✓ labgrid gives us the place bench" in said
    assert "✓ serial port labgrid:bench opens at 115200 baud" in said
    assert bench.holder() == "None"


def test_somebody_elses_place_is_not_taken(bench: Lab, harness: Callable[..., subprocess.Popen[str]]) -> None:
    others = {"LG_USERNAME": "somebody", "LG_HOSTNAME": "elsewhere"}
    assert bench.run("-p", "bench", "acquire", **others).returncode == 0
    try:
        status, _, complained = ended(harness("board", "power", "bench", "on"))
        assert status == Outcome.INFRA.exit_code
        assert "already acquired by elsewhere/somebody" in complained
        listed = json.loads(ended(harness("board", "list", "--json"))[1])
        [board] = [board for board in listed["boards"] if board["name"] == "bench"]
        assert (board["holder"], board["place"]) == (None, "elsewhere/somebody")
        assert bench.holder() == "elsewhere/somebody"
    finally:
        bench.run("-p", "bench", "release", **others)


def test_a_place_that_was_acquired_by_hand_is_used_and_kept(
    bench: Lab, harness: Callable[..., subprocess.Popen[str]]
) -> None:
    assert bench.run("-p", "bench", "acquire").returncode == 0
    mine = bench.holder()
    try:
        assert ended(harness("board", "power", "bench", "off"))[0] == 0
        assert bench.holder() == mine
    finally:
        bench.run("-p", "bench", "release")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_place_is_released_whatever_ends_its_holder(
    bench: Lab, harness: Callable[..., subprocess.Popen[str]], how: signal.Signals
) -> None:
    run = harness("run", str(HELLO), "--machine", "board:bench")
    try:
        wait_for(lambda: bench.holder() != "None")
        status, _, complained = ended(harness("board", "power", "bench", "off"))
        assert status == Outcome.INFRA.exit_code
        assert f"process {run.pid}" in complained, "all of this user's share the lease"
    finally:
        run.send_signal(how)
        run.communicate()
    wait_for(lambda: bench.holder() == "None")


def test_what_labgrid_refuses_is_said_in_a_sentence(
    bench: Lab, directory: Path, harness: Callable[..., subprocess.Popen[str]]
) -> None:
    status, _, complained = ended(harness("board", "check", "absent"))
    assert status == Outcome.CONFIG.exit_code
    assert "labgrid does not give us the place no-such-place" in complained
    text = (directory / "lab/bench.toml").read_text()
    for name, changed, kind, words in (
        ("far", text.replace(bench.coordinator, "127.0.0.1:1"), Outcome.INFRA, "Could not connect"),
        ("bare", text.replace(str(bench.client), "/no/client"), Outcome.CONFIG, "cannot run: /no/client"),
        ("other", text.replace("[power]", 'port = "X"\n[power]'), Outcome.CONFIG, "but these: RawSerialPort"),
    ):
        (directory / f"lab/{name}.toml").write_text(changed)
        status, _, complained = ended(harness("board", "check", name))
        assert status == kind.exit_code, complained
        assert words in complained
        assert "Traceback" not in complained
        (directory / f"lab/{name}.toml").unlink()
    assert bench.holder() == "None"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
