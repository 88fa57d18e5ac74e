from __future__ import annotations

import socket
import sys
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.console.recorder import Recorder
from testcases.unit.consoles import PtyTransport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A harness at its user's terminal: says "attached" before and "detached" after.
HARNESS = """
import socket, sys, pathlib
from harness.console.recorder import Recorder
from harness.console.terminal import attach
from harness.console.transport import SocketTransport
guest = socket.socket(socket.AF_UNIX)
guest.connect(sys.argv[1])
directory = pathlib.Path(sys.argv[2])
with Recorder(SocketTransport(guest), directory / "raw", directory / "index") as recorder:
    recorder.read(0, timeout=10)
    attach(recorder, offset=4)
print("detached")
"""


@contextmanager
def terminal(tmp_path: Path, stdin: str = "") -> Iterator[tuple[Recorder, socket.socket, PtyTransport]]:
    """What a terminal with the harness on it shows, the guest's side of the console, and the terminal."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        command = [sys.executable, "-c", HARNESS, str(tmp_path / "socket"), str(tmp_path)]
        if stdin:
            command = ["sh", "-c", f'exec "$@" <{stdin}', "sh", *command]
        user = PtyTransport(command)
        with Recorder(user, tmp_path / "shown", tmp_path / "shown.index") as screen:
            guest, _ = server.accept()
            with guest:
                guest.sendall(b"old login: ")
                yield screen, guest, user


def wait_for(screen: Recorder, text: bytes) -> None:
    shown = b""
    while text not in shown:
        more = screen.read(len(shown), timeout=10)
        assert more, shown
        shown += more


def is_raw(user: PtyTransport) -> bool:
    return not termios.tcgetattr(user.fileno())[3] & (termios.ICANON | termios.ISIG | termios.ECHO)


def test_user_and_guest_talk_until_the_escape_key(tmp_path: Path) -> None:
    with terminal(tmp_path) as (screen, guest, user):
        wait_for(screen, b"login: ")
        assert b"old" not in screen.read(0)
        assert is_raw(user)
        screen.write(b"\x03root\r")
        assert guest.recv(100) == b"\x03root\r"
        guest.sendall("\x1b[1mwelcome €".encode())
        wait_for(screen, "\x1b[1mwelcome €".encode())
        screen.write(b"last\x1dnot for the guest")
        wait_for(screen, b"detached")
        assert guest.recv(100) == b"last"
        assert not is_raw(user)


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
