"""A real terminal, with the harness on it in a process of its own; the guest is the test."""

from __future__ import annotations

import fcntl
import signal
import socket
import struct
import sys
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from harness.console.recorder import Recorder
from testcases.support.consoles import PtyTransport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Says "detached" behind the terminal's session, whatever ended it.
HARNESS = """
import os, select, signal, socket, sys, pathlib
from harness.console.keyboard import Keyboard, Phase
from harness.console.recorder import Recorder
from harness.console.terminal import Terminal
from harness.console.transport import SocketTransport
guest = socket.socket(socket.AF_UNIX)
guest.connect(sys.argv[1])
directory, phase = pathlib.Path(sys.argv[2]), sys.argv[3]
typed = (directory / "typed").open("w", buffering=1)
def record(data, offset, by_hand):
    print(by_hand, offset, data, file=typed)
def stop(*_):
    raise SystemExit("stopped")
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
try:
    with Recorder(SocketTransport(guest), directory / "raw", directory / "index", typed=record) as recorder:
        recorder.read(0, timeout=100)
        taken = lambda at: print("taken", at, file=typed)
        keyboard = Keyboard(recorder, takeover=phase == "TAKEOVER", taken=taken)
        keyboard.turn(Phase["WATCHED" if phase == "TAKEOVER" else phase])
        with Terminal(recorder, keyboard, offset=4) as terminal:
            (directory / "ready").write_text(str(os.getpid()))
            terminal.wait()
finally:
    left_over = os.read(0, 10) if os.isatty(0) and select.select([0], [], [], 0)[0] else b""
    print("detached, and there is left over:", left_over, flush=True)
"""


@contextmanager
def terminal(
    tmp_path: Path, stdin: str = "", phase: str = "YOURS", before: bytes = b"old login: "
) -> Iterator[tuple[Recorder, socket.socket, PtyTransport]]:
    """What a terminal with the harness on it shows, the guest's side of the console, and the terminal."""
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(60)
        server.bind(str(tmp_path / "socket"))
        server.listen()
        command = [sys.executable, "-c", HARNESS, str(tmp_path / "socket"), str(tmp_path), phase]
        if stdin:
            command = ["sh", "-c", f'exec "$@" <{stdin}', "sh", *command]
        user = PtyTransport(command)
        with Recorder(user, tmp_path / "shown", tmp_path / "shown.index") as screen:
            guest, _ = server.accept()
            guest.settimeout(100)
            with guest:
                guest.sendall(before)
                yield screen, guest, user


def wait_for(screen: Recorder, text: bytes) -> bytes:
    shown = b""
    while text not in shown:
        more = screen.read(len(shown), timeout=100)
        assert more, shown
        shown += more
    return shown


def is_raw(user: PtyTransport) -> bool:
    return not termios.tcgetattr(user.fileno())[3] & (termios.ICANON | termios.ISIG | termios.ECHO)


def put_back(user: PtyTransport) -> None:
    """Wait until the terminal is as it was: the harness says that it is stopped before that."""
    until = time.monotonic() + 100
    while is_raw(user):
        assert time.monotonic() < until
        time.sleep(0.01)


def typed(tmp_path: Path) -> list[str]:
    return (tmp_path / "typed").read_text().splitlines()


def test_user_and_guest_talk_until_the_escape_key(tmp_path: Path) -> None:
    with terminal(tmp_path) as (screen, guest, user):
        assert b"old" not in wait_for(screen, b"login: ")
        assert is_raw(user)
        screen.write(b"\x03root\r")
        assert guest.recv(1, socket.MSG_WAITALL) == b"\x03"
        assert guest.recv(5, socket.MSG_WAITALL) == b"root\r"
        guest.sendall("\x1b[1mwelcome €".encode())
        wait_for(screen, "\x1b[1mwelcome €".encode())
        screen.write(b"last\x1dnot for the guest")
        wait_for(screen, b"detached")
        assert guest.recv(100) == b"last"
        assert not is_raw(user)
    assert typed(tmp_path) == [r"True 11 b'\x03'", r"True 11 b'root\r'", "True 26 b'last'"]


def test_questions_of_old_to_a_terminal_are_not_asked_again(tmp_path: Path) -> None:
    before = b"old \x1b[1mbold\x1b[6n\x1b]11;?\x07\x05\x1b[?1049h\x1b[0m login: "
    with terminal(tmp_path, before=before) as (screen, guest, _):
        assert wait_for(screen, b"login: ") == b"\x1b[1mbold\x1b[0m login: "
        guest.sendall(b"\x1b[6n")
        wait_for(screen, b"\x1b[6n")
        screen.write(b"\x1b[1;7R")
        assert guest.recv(100) == b"\x1b[1;7R"
        screen.write(b"\x1d")
        wait_for(screen, b"detached")


def test_end_of_the_console_ends_it(tmp_path: Path) -> None:
    with terminal(tmp_path) as (screen, guest, user):
        wait_for(screen, b"login: ")
        guest.sendall(b"the end")
        guest.close()
        wait_for(screen, b"the end")
        wait_for(screen, b"detached")
        assert not is_raw(user)


def test_stdin_that_is_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("typed by a script\n")
    with terminal(tmp_path, stdin=str(tmp_path / "input")) as (screen, guest, _):
        wait_for(screen, b"detached")
        assert guest.recv(100) == b"typed by a script\n"


@pytest.mark.parametrize(
    ("phase", "words"), [("WATCHED", b"the plan only watches"), ("ASKED", b"the harness is asking the shell")]
)
def test_keys_go_nowhere_and_that_is_said_once(tmp_path: Path, phase: str, words: bytes) -> None:
    with terminal(tmp_path, phase=phase) as (screen, guest, user):
        wait_for(screen, b"login: ")
        for key in (b"a", b"\x1b[24;80R", b"b\r"):  # the second is an answer of the terminal, and no key
            screen.write(key)
        shown = wait_for(screen, words + b"")
        guest.sendall(b"\r\nmore\r\n")
        shown = wait_for(screen, b"more\r\n")
        screen.write(b"\x1d")
        shown = wait_for(screen, b"detached")
        assert shown.count(words) == 1
        assert not is_raw(user)
    assert typed(tmp_path) == []


def test_words_stand_in_lines_of_their_own_and_the_prompt_after_them(tmp_path: Path) -> None:
    with terminal(tmp_path, phase="WATCHED") as (screen, _, _user):
        wait_for(screen, b"login: ")
        screen.write(b"x")
        shown = wait_for(screen, b"leaves)\x1b[0m\x1b[K\r\nlogin: ")
        assert shown.startswith(b"login: \r\n\r\x1b[0;1m")


def test_interrupt_key_stops_the_harness_where_keys_go_nowhere(tmp_path: Path) -> None:
    with terminal(tmp_path, phase="WATCHED") as (screen, _, user):
        wait_for(screen, b"login: ")
        screen.write(b"\x03")
        wait_for(screen, b"stopped")
        put_back(user)


def test_who_takes_over_is_told_of_and_where(tmp_path: Path) -> None:
    with terminal(tmp_path, phase="TAKEOVER") as (screen, guest, _):
        wait_for(screen, b"login: ")
        screen.write(b"\x1b[24;80R")  # of the terminal
        time.sleep(0.2)
        screen.write(b"r")
        assert guest.recv(100) == b"r"
        screen.write(b"\x03")
        assert guest.recv(100) == b"\x03"
        screen.write(b"\x1b[24;80R")
        assert guest.recv(100) == b"\x1b[24;80R"
        screen.write(b"\x1d")
        wait_for(screen, b"detached")
    assert typed(tmp_path)[:2] == ["taken 11", "True 11 b'r'"]


def test_what_the_guest_did_to_the_terminal_is_undone(tmp_path: Path) -> None:
    with terminal(tmp_path) as (screen, guest, user):
        wait_for(screen, b"login: ")
        guest.sendall(b"\x1b[?1049h\x1b[?25l\x1b[>1u")
        wait_for(screen, b"\x1b[>1u")
        screen.write(b"\x1b[93")  # Ctrl-] as the guest has asked for it, in two pieces
        screen.write(b";5u")
        shown = wait_for(screen, b"detached")
        undone = shown.rpartition(b"\x1b[>1u")[2]
        assert all(mode in undone for mode in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[=0u"))
        assert not is_raw(user)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_terminal_is_restored_when_the_harness_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    with terminal(tmp_path) as (screen, guest, user):
        wait_for(screen, b"login: ")
        guest.sendall(b"\x1b[?25l")
        wait_for(screen, b"\x1b[?25l")
        assert is_raw(user)
        user.kill(number)
        assert b"\x1b[?25h" in wait_for(screen, b"stopped")
        put_back(user)


def test_what_was_typed_too_late_is_not_for_the_users_shell(tmp_path: Path) -> None:
    with terminal(tmp_path) as (screen, _, _user):
        wait_for(screen, b"login: ")
        screen.write(b"\x1d" + b"rm -rf /\r" * 500)  # more than is read at once
        wait_for(screen, b"left over: b''")


def test_flood_is_not_shown_long_after_it_came(tmp_path: Path) -> None:
    with terminal(tmp_path) as (screen, guest, _):
        wait_for(screen, b"login: ")
        guest.sendall(b"\r\n" + b"x" * 20_000_000 + b"\r\nthe end $ ")
        shown = wait_for(screen, b"the end $ ")
        screen.write(b"\x1d")
        wait_for(screen, b"detached")
        assert len(shown) < 20_000_000
        assert b"bytes came too fast to be shown; they are recorded" in shown
    assert (tmp_path / "raw").stat().st_size == 20_000_000 + 11 + 14


def resize(user: PtyTransport, rows: int, columns: int) -> None:
    fcntl.ioctl(user.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_the_shell_learns_the_windows_size_at_its_empty_prompt_only(tmp_path: Path) -> None:
    with terminal(tmp_path) as (screen, guest, user):
        guest.sendall(b"\r\nbash-5.2# ")
        wait_for(screen, b"bash-5.2# ")
        resize(user, 33, 99)
        assert guest.recv(100) == b"stty rows 33 cols 99\n"
        guest.sendall(b"stty rows 33 cols 99\r\nbash-5.2# ")
        screen.write(b"vi")
        assert guest.recv(100) == b"vi"
        guest.sendall(b"vi")
        resize(user, 44, 111)
        guest.settimeout(1.5)
        with pytest.raises(TimeoutError):
            guest.recv(100)
        screen.write(b"\r")
        assert guest.recv(100) == b"\r"
        guest.sendall(b"\r\ndone\r\nbash-5.2# ")
        assert guest.recv(100) == b"stty rows 44 cols 111\n"
        screen.write(b"\x1d")
        wait_for(screen, b"detached")
    assert [line.split()[0] for line in typed(tmp_path)] == ["False", "True", "True", "False"]
