"""Boards behind pseudo terminals: heard, typed to, lost and found again, silent, garbled, busy, leased."""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pexpect
import pytest
from typer.testing import CliRunner

from harness.cli import program
from harness.console.recorder import Recorder
from harness.console.shell import Shell
from harness.core.errors import ConfigError, HarnessError, InfraError
from harness.core.outcome import Outcome
from harness.machine.board import machine as board_machine
from harness.machine.board.document import boards, find_board, load_board
from harness.machine.board.lease import holder_of, leased
from harness.machine.board.line import SerialLine
from harness.machine.board.machine import BoardMachine
from harness.machine.board.port import open_port
from harness.machine.board.power import Switch
from harness.machine.protocol import EndCause
from testcases.support.consoles import PtyTransport
from testcases.support.ptys import Adapter, describe
from testcases.system.test_console_shell import BASH, DASH
from testcases.unit.test_board_baud_check import TEXT, at_another_speed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.machine.board.document import Board
    from harness.machine.board.line import Gap

_LIMIT = 30.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    adapter = Adapter(tmp_path / "ttyUSB")
    yield adapter
    adapter.close()


@pytest.fixture
def board(adapter: Adapter, tmp_path: Path) -> Board:
    return load_board(describe(tmp_path / "lab", str(adapter.name), serial="reattach = 20"))


@pytest.fixture
def silent(adapter: Adapter, tmp_path: Path) -> Board:
    """A board that is not waited for."""
    return load_board(describe(tmp_path / "lab", str(adapter.name), serial="first-byte = 0.3"))


def machine_of(board: Board, gaps: list[Gap] | None = None, *, quiet: float = 0.0) -> BoardMachine:
    return BoardMachine(
        board, ask=lambda _: None, told=(gaps if gaps is not None else []).append, quiet=quiet
    )


def recorder_of(machine: BoardMachine, place: Path) -> Recorder:
    return Recorder(machine.transport, place / "raw", place / "idx", pace=machine.pace)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def error_of(machine: BoardMachine) -> InfraError:
    """What polling a machine comes to."""
    deadline = time.monotonic() + _LIMIT
    while time.monotonic() < deadline:
        try:
            machine.poll()
        except InfraError as error:
            return error
        time.sleep(0.01)
    pytest.fail("nothing is wrong")


def test_all_is_heard_from_the_moment_the_power_comes_on(adapter: Adapter, tmp_path: Path) -> None:
    said = tmp_path / "said"
    path = describe(tmp_path / "lab", str(adapter.name), power=f'cycle = ["touch", "{said}"]')
    with machine_of(load_board(path)) as machine, recorder_of(machine, tmp_path) as recorder:
        assert not said.exists(), "there was power before the port was open"
        machine.start()
        adapter.say(b"first words\r\n")
        assert recorder.read(0, timeout=_LIMIT).startswith(b"first")
        assert machine.poll() is None


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (b"[  9.1] reboot: Power down\r\n", EndCause.GUEST_SHUTDOWN),
        (b"[  9.1] reboot: System halted\r\n", EndCause.GUEST_SHUTDOWN),
        (b"[  9.1] reboot: Restarting system\r\n", EndCause.GUEST_RESET),
    ],
)
def test_last_words_are_the_end(
    board: Board, adapter: Adapter, tmp_path: Path, words: bytes, cause: EndCause
) -> None:
    with machine_of(board) as machine, recorder_of(machine, tmp_path) as recorder:
        machine.start()
        for byte in words:  # a slow line cuts them anywhere
            adapter.say(bytes([byte]))
        wait_for(machine.poll)
        end = machine.poll()
        assert end is not None
        assert end.cause == cause
        wait_for(lambda: recorder.ended)
        assert recorder.read(0) == words


def test_nothing_heard_is_said_with_the_likely_causes_in_order(silent: Board, tmp_path: Path) -> None:
    with machine_of(silent) as machine, recorder_of(machine, tmp_path):
        machine.start()
        error = error_of(machine)
    assert "said nothing" in error.message
    order = [error.hint.index(word) for word in ("power", "cable", "speed", "console=")]
    assert order == sorted(order)
    assert error.outcome == Outcome.INFRA


def test_silence_by_design_is_waited_for(silent: Board, tmp_path: Path) -> None:
    with machine_of(silent, quiet=1.0) as machine, recorder_of(machine, tmp_path):
        machine.start()
        began = time.monotonic()
        error_of(machine)
        assert time.monotonic() - began > 1.2


def test_another_speed_is_recognised(
    board: Board, adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_machine, "_GARBLED", 0.2)
    with machine_of(board) as machine, recorder_of(machine, tmp_path):
        machine.start()
        adapter.say(at_another_speed(TEXT, 9600, 115200)[0][:2000])
        error = error_of(machine)
    assert "garbage at 115200 baud" in error.message
    assert "serial.speed" in error.hint


def test_noise_before_text_is_forgiven(
    board: Board, adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_machine, "_GARBLED", 0.2)
    with machine_of(board) as machine, recorder_of(machine, tmp_path) as recorder:
        machine.start()
        adapter.say(b"\0\xff\xf8" * 20 + TEXT)
        wait_for(lambda: recorder.size >= 60 + len(TEXT))
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            assert machine.poll() is None
            time.sleep(0.02)


def test_an_adapter_that_comes_back_is_followed_and_the_gap_is_told(
    board: Board, adapter: Adapter, tmp_path: Path
) -> None:
    gaps: list[Gap] = []
    with machine_of(board, gaps) as machine, recorder_of(machine, tmp_path) as recorder:
        machine.start()
        adapter.say(b"before ")
        wait_for(lambda: recorder.size == 7)
        adapter.unplug()
        time.sleep(0.5)
        adapter.plug()
        wait_for(lambda: machine.poll() is None and gaps)
        adapter.say(b"after")
        wait_for(lambda: recorder.size == 12)
        assert recorder.read(0) == b"before after"
        recorder.write(b"typed")
        assert adapter.hear() == b"typed"
    assert [gap.offset for gap in gaps] == [7]
    assert gaps[0].seconds >= 0.4


@pytest.mark.parametrize(
    "error", [termios.error(errno.EIO, "Input/output error"), OSError(errno.EIO, "gone")]
)
def test_an_adapter_that_goes_again_while_it_is_opened_is_followed(
    board: Board, adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What the kernel says to whoever sets up a terminal that was pulled out is no OSError."""
    gaps: list[Gap] = []
    refused: list[Exception] = []
    put = termios.tcsetattr

    def once(*arguments: Any) -> None:
        if not refused:
            refused.append(error)
            raise error
        put(*arguments)

    with machine_of(board, gaps) as machine, recorder_of(machine, tmp_path) as recorder:
        machine.start()
        adapter.say(b"before\n")
        wait_for(lambda: recorder.size == 7)
        monkeypatch.setattr("termios.tcsetattr", once)
        adapter.unplug()
        adapter.plug()
        wait_for(lambda: machine.poll() is None and gaps)
        adapter.say(b"after\n")
        wait_for(lambda: recorder.size == 13)
    assert refused


class BusyPort:
    """A port that takes its time to send, whose adapter is pulled out meanwhile."""

    def __init__(self) -> None:
        self.sending = Event()
        self.closed = Event()
        self.closed_under_our_hands = True

    def reset_input_buffer(self) -> None:
        pass

    def read(self, _size: int) -> bytes:
        self.sending.wait()
        raise OSError(errno.EIO, "gone")

    def write(self, _data: bytes) -> None:
        self.sending.set()
        self.closed_under_our_hands = self.closed.wait(0.3)

    def close(self) -> None:
        self.closed.set()


def test_a_port_is_not_closed_while_something_is_sent() -> None:
    port: Any = BusyPort()
    ports = iter([port])

    def open_once() -> Any:
        for each in ports:
            return each
        raise ConfigError("there is none")

    with SerialLine(open_once, reattach=0.1, heard=lambda _: None) as line:
        line.write(b"typed")
        assert port.closed.wait(_LIMIT)
    assert not port.closed_under_our_hands


def test_an_adapter_that_stays_away_ends_the_run(adapter: Adapter, tmp_path: Path) -> None:
    path = describe(tmp_path / "lab", str(adapter.name), serial="reattach = 0.5")
    with machine_of(load_board(path)) as machine, recorder_of(machine, tmp_path) as recorder:
        machine.start()
        adapter.say(b"before")
        wait_for(lambda: recorder.size)
        adapter.unplug()
        error = error_of(machine)
        assert "vanished" in error.message
        wait_for(lambda: recorder.ended)
        with pytest.raises(InfraError, match="serial port is gone"):
            recorder.write(b"x")


def test_time_on_the_wire_is_not_the_boards(adapter: Adapter, tmp_path: Path) -> None:
    path = describe(tmp_path / "lab", str(adapter.name), serial="speed = 9600")
    with machine_of(load_board(path)) as machine, recorder_of(machine, tmp_path) as recorder:
        machine.start()
        before = machine.usage().guest
        adapter.say(b"x" * 960)  # a second at 9600 baud
        wait_for(lambda: recorder.size == 960)
        time.sleep(1.5)
        assert 0.2 < machine.usage().guest - before < 1.4


def test_a_port_in_use_is_named_with_its_holder(board: Board, adapter: Adapter) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; f = open(sys.argv[1], 'rb'); print(flush=True); sys.stdin.read()",
            adapter.name,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout
        holder.stdout.readline()
        with pytest.raises(InfraError, match=rf"in use by python.* \(process {holder.pid}\)"):
            open_port(board)
    finally:
        holder.communicate()
    open_port(board).close()


@pytest.mark.parametrize(
    ("port", "kind", "words"),
    [
        ("/dev/nothing-here", ConfigError, "there is no serial port /dev/nothing-here"),
        ("/dev/null", ConfigError, "/dev/null is no serial port"),
        ("socket://127.0.0.1:1", InfraError, "cannot reach the serial port"),
    ],
)
def test_what_is_no_port_is_said_in_a_sentence(
    tmp_path: Path, port: str, kind: type[HarnessError], words: str
) -> None:
    board = load_board(describe(tmp_path, port))
    with pytest.raises(kind, match=words) as caught:
        open_port(board)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_port_may_be_far_away(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = describe(tmp_path / "lab", f"socket://127.0.0.1:{server.getsockname()[1]}")
        with machine_of(load_board(path)) as machine, recorder_of(machine, tmp_path) as recorder:
            far, _ = server.accept()
            machine.start()
            far.sendall(b"hello")
            wait_for(lambda: recorder.size == 5)
            recorder.write(b"typed")
            assert far.recv(5) == b"typed"
            far.close()


def test_a_port_may_be_shared_by_rfc2217(adapter: Adapter, tmp_path: Path) -> None:
    """The server is pyserial's own, on a port of this host."""
    import serial
    import serial.rfc2217

    lines = dict.fromkeys(("cts", "dsr", "ri", "cd", "rts", "dtr"), False)
    port_without_lines: Any = type("Port", (serial.Serial,), lines)  # a pseudo terminal has none
    with (
        port_without_lines(str(adapter.name), timeout=0.05) as port,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        over = list[bool]()

        def share() -> None:
            far, _ = server.accept()
            far.settimeout(0.05)
            with far, far.makefile("wb", buffering=0) as out:
                known: Any = serial.rfc2217.PortManager  # its stubs mean something else
                manager = known(port, out)
                while not over:
                    if data := port.read(port.in_waiting or 1):
                        out.write(b"".join(manager.escape(data)))
                    with suppress(TimeoutError):
                        port.write(b"".join(manager.filter(far.recv(1024))))

        thread = Thread(target=share)
        thread.start()
        address = f"rfc2217://127.0.0.1:{server.getsockname()[1]}"
        path = describe(tmp_path / "lab", address, serial="speed = 57600")
        try:
            with machine_of(load_board(path)) as machine, recorder_of(machine, tmp_path) as recorder:
                machine.start()
                assert port.baudrate == 57600
                adapter.say(b"hello")
                wait_for(lambda: recorder.size == 5)
                recorder.write(b"typed")
                typed = b""
                while typed != b"typed":
                    typed += adapter.hear()
        finally:
            over.append(True)
            thread.join()


@pytest.mark.parametrize("command", [BASH, DASH], ids=["bash", "dash"])
def test_a_shell_is_typed_to_by_its_echo(
    board: Board, adapter: Adapter, tmp_path: Path, command: tuple[str, ...]
) -> None:
    guest = PtyTransport(command, cwd=str(tmp_path))
    longest, over = 0, list[bool]()

    def cable() -> None:
        nonlocal longest
        while not over:
            ready, _, _ = select.select([guest.fileno(), adapter.far], [], [], 0.1)
            if guest.fileno() in ready and (data := guest.read(4096)):
                adapter.say(data)
            if adapter.far in ready:
                typed = adapter.hear()
                longest = max(longest, len(typed))
                guest.write(typed)

    thread = Thread(target=cable)
    try:
        with machine_of(board) as machine, recorder_of(machine, tmp_path) as recorder:
            thread.start()
            machine.start()
            shell = Shell(recorder, 0)
            shell.enter(timeout=60)
            assert shell.warnings == () or "echo" not in " ".join(shell.warnings)
            reply = shell.run("echo $((6 * 7)); exit 3", timeout=60)
            over.append(True)
            thread.join()
    finally:
        over.append(True)
        guest.close()
    assert (reply.status, reply.text) == (3, "42\n")
    assert longest <= 16, "more than a FIFO holds was sent without waiting for the echo"


@pytest.mark.parametrize(
    ("power", "kind", "words"),
    [
        ('cycle = ["sh", "-c", "echo no such outlet >&2; exit 3"]', InfraError, "status 3.*no such outlet"),
        ('cycle = ["/no/such/program"]', ConfigError, "cannot run: /no/such/program"),
        ('cycle = ["sleep", "60"]\nlimit = 0.2', InfraError, "did not end within"),
        ("manual = true", ConfigError, "no terminal to ask on"),
    ],
)
def test_a_switch_that_fails_is_said(
    tmp_path: Path, power: str, kind: type[HarnessError], words: str
) -> None:
    describe(tmp_path / "lab", "/dev/null", power=power)
    done = subprocess.run(
        ["setsid", sys.executable, "-m", "harness", "board", "power", "bench", "cycle"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == kind.outcome.exit_code
    assert re.search(words, done.stderr, re.DOTALL), done.stderr
    assert "Traceback" not in done.stderr


def test_a_person_is_the_switch(tmp_path: Path) -> None:
    board = load_board(describe(tmp_path, "/dev/null", power="manual = true"))
    asked: list[str] = []
    switch = Switch(board, asked.append)
    switch.cycle()
    switch.leave()  # nobody is bothered for that
    assert len(asked) == 1
    assert "bench" in asked[0]


def test_off_pause_on_is_a_cycle(tmp_path: Path) -> None:
    log = tmp_path / "log"
    power = f'on = ["sh", "-c", "echo on >>{log}"]\noff = ["sh", "-c", "echo off >>{log}"]\npause = 0.01'
    switch = Switch(load_board(describe(tmp_path, "/dev/null", power=power)), lambda _: None)
    switch.cycle()
    switch.leave()
    assert log.read_text().split() == ["off", "on", "off"]


def test_a_lease_is_shown_and_goes_with_its_holder(tmp_path: Path) -> None:
    board = load_board(describe(tmp_path / "lab", "/dev/null"))
    program = (
        "import sys; from pathlib import Path\n"
        "from harness.machine.board.document import load_board\n"
        "from harness.machine.board.lease import leased\n"
        "with leased(load_board(Path(sys.argv[1])), 'a test'):\n    print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, board.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert holder.stdout
        holder.stdout.readline()
        shown = holder_of(board)
        assert shown is not None
        assert (shown.pid, shown.purpose) == (holder.pid, "a test")
        with (
            pytest.raises(InfraError, match=rf"process {holder.pid}, since .*: a test"),
            leased(board, "another"),
        ):
            pass
    finally:
        holder.kill()  # no handler runs
        holder.communicate()
    assert holder_of(board) is None
    with leased(board, "mine"):
        mine = holder_of(board)
        assert mine is not None
        assert mine.pid == os.getpid()
    assert holder_of(board) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"port": "ttyUSB0"}, "key serial.port: 'ttyUSB0' is no device and no address"),
        ({"power": 'on = ["true"]'}, "key power: "),
        ({"power": 'manual = true\ncycle = ["true"]'}, "key power: "),
        ({"power": ""}, "key power: "),
        ({"more": 'memory = "much"'}, "key memory: "),
        ({"more": "cpu = 16"}, "key cpu"),
        ({"more": 'colour = "red"'}, "key colour is not known"),
        ({"serial": 'flow = "xonxoff"'}, "key serial.flow"),
        ({"serial": "speed = -1"}, "key serial.speed"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    path = describe(tmp_path, changes.pop("port", "/dev/ttyS0"), **changes)
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        load_board(path)
    assert str(path) in caught.value.message


def test_boards_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert boards() == []
    describe(tmp_path / "lab", "/dev/ttyS0", name="one")
    describe(tmp_path / "lab", "/dev/ttyS1", name="two")
    assert [board.name for board in boards()] == ["one", "two"]
    assert find_board("two").document.serial.port == "/dev/ttyS1"
    with pytest.raises(ConfigError, match="there is no board 'three'") as caught:
        find_board("three")
    assert "one, two" in caught.value.hint
    listed = CliRunner().invoke(program(), ["board", "list"])
    assert listed.exit_code == 0
    assert "two" in listed.output


@pytest.mark.parametrize("option", ["--cpu=486", "--memory=2G", "--medium=cd", "--append=x", "--until=sysb"])
def test_options_for_qemu_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.chdir(tmp_path)
    describe(tmp_path / "lab", "/dev/ttyS0")
    result = CliRunner().invoke(program(), ["run", "--machine", "board:bench", option])
    assert isinstance(result.exception, ConfigError)
    assert option.partition("=")[0] in result.exception.message


def test_check_says_what_can_be_reached_and_switches_nothing(
    adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    switched = tmp_path / "switched"
    describe(tmp_path / "lab", str(adapter.name), power=f'cycle = ["touch", "{switched}"]')
    good = CliRunner().invoke(program(), ["board", "check", "bench"])
    assert good.exit_code == 0, good.output
    assert "opens at 115200 baud" in good.output
    assert not switched.exists()
    describe(tmp_path / "lab", str(adapter.name), power='cycle = ["no-such-switch"]')
    bad = CliRunner().invoke(program(), ["board", "check", "bench"])
    assert isinstance(bad.exception, ConfigError)
    assert "no-such-switch" in bad.exception.message


def test_a_terminal_on_the_port(adapter: Adapter, tmp_path: Path) -> None:
    describe(tmp_path / "lab", str(adapter.name))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    words = ["-m", "harness", "board", "console", "bench"]
    child = pexpect.spawn(sys.executable, words, cwd=str(tmp_path), env=environment, timeout=_LIMIT)
    child.expect("Ctrl-] leaves")
    adapter.say(b"login: ")
    child.expect("login: ")
    child.send("root")
    typed = b""
    while typed != b"root":
        typed += adapter.hear()
        assert b"root".startswith(typed)
    child.send("\x1d")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
