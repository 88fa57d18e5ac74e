"""Runs commands in a guest's shell over an unreliable console.

Two rules make that safe. What is typed can always be typed again: pieces of scripts overwrite themselves,
and a command runs once however often it is called. And nothing is believed that was not checksummed.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from harness.console.exchange import PATIENCE, Asker, ShellGone, ShellTimeout
from harness.console.framing import BASE64, LARGE, OCTAL, SMALL, Codec, Frames, settings_script, sums
from harness.core.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.console.recorder import Recorder
    from harness.console.window import Window

__all__ = ["Reply", "Shell", "ShellGone", "ShellTimeout"]

_TRIES = 5  # of getting the shell's attention
_TRANSFERS = 8  # of the same bytes: a line that damages one in a thousand still carries what it should
_DIRECTORIES = ("/tmp", "/dev/shm", "/run", "")  # noqa: S108 - the guest's, and with a nonce
_LINES_AT_ONCE = 10  # of 200 bytes: half of what a tty's input buffer holds
_BLOCKS_AT_ONCE = 20
_LONGEST_PATIENCE = 300.0  # what is typed while a command runs waits in the tty's buffer
_MAX_PIECES = 10000


class Reply(msgspec.Struct, frozen=True):
    """What a command did."""

    status: int  # its exit status
    output: bytes  # its standard output and error, byte for byte
    start: int  # raw offset at which it was started
    end: int  # raw offset after its last frame

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode("utf-8", "replace")


class Shell:
    """A POSIX shell at the other end of a console, at its prompt; `clock` gives the guest's time.

    What waits for an answer raises ShellTimeout where none comes in time (a command may still be running),
    ShellGone where the console has ended, and InfraError where the guest lacks what is needed or the same
    part arrives damaged again and again.
    """

    def __init__(
        self, recorder: Recorder, offset: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._recorder, self._clock = recorder, clock
        self._asker = Asker(recorder, offset, clock=clock)
        self._nonce = os.urandom(4).hex()
        self._function = f"h{self._nonce}"
        self.directory = ""  # where the guest keeps what we need, absolute; it is ours alone
        self._codec = BASE64
        self._checksum = True
        self._runs = 0
        self.warnings: tuple[str, ...] = ()  # settings that the guest did not take, in words

    @property
    def offset(self) -> int:
        """Raw offset up to which the console was read."""
        return self._asker.offset

    def enter(self, *, timeout: float) -> None:
        """Make sure that a shell answers, find out what it can do, and quieten it."""
        self._asker.begin("handshake", timeout)
        self._asker.handshake()
        self._asker.phase = "settings"
        self._checksum = self._asker.probe(
            "echo seed|cksum", sums(b"seed\n", checksum=True).replace("-", " ")
        )
        self._codec = self._choose_codec()
        self.directory = self._make_directory()
        script = settings_script(
            directory=self.directory,
            function=self._function,
            nonce=self._nonce,
            codec=self._codec,
            checksum=self._checksum,
            echo=self._recorder.pace is not None,
        )
        self._upload(0, script)
        report = self._fetch(0, script, before=f". {self.directory}/0.sh;").text
        self.warnings = _unmet_settings(report, echo=self._recorder.pace is not None)

    def run(self, script: str, *, timeout: float) -> Reply:
        """Run a script once, in a shell of its own with the working directory of the guest's shell.

        Args:
            script: Any text for `bash`, if that is the guest's shell, or `sh`; its input is empty.
            timeout: Seconds of the clock for the upload, the command and its output together.
        """
        self._asker.begin("upload", timeout)
        self._runs += 1
        self._upload(self._runs, script.encode())
        self._asker.phase = "run"
        return self._fetch(self._runs, script.encode())

    def send_line(self, text: str) -> None:
        """Type last words, such as `poweroff`, without waiting for an answer."""
        self._asker.type(text)

    def restore(self, *, window: Window | None = None, timeout: float = 30.0) -> None:
        """Leave the shell as a person expects it: echo, a prompt, their window's size, no trace of us."""
        self._asker.begin("restore", timeout)
        size = f" {window.rows} {window.columns}" if window else ""
        self._asker.probe(f"{self._function}_end{size}", f"@{self._nonce}:end")
        self._asker.handshake()

    def regain(self, *, timeout: float) -> None:
        """Have the shell answer again, which a person had: out of what they left running, by Ctrl-C.

        Args:
            timeout: Seconds of the clock for each of a few tries: a shell that is just starting a program
                takes Ctrl-C for itself, and the program runs on.
        """
        for _ in range(_TRIES):
            self._recorder.write(b"\x03")
            self._asker = Asker(self._recorder, self._recorder.size, clock=self._clock)
            self._asker.begin("handshake", timeout)
            with suppress(ShellTimeout):
                self._asker.handshake()
                return
        raise ShellTimeout("handshake", self.offset)

    def _choose_codec(self) -> Codec:
        for codec in (BASE64, OCTAL):
            if self._asker.probe(codec.word, codec.answer):
                return codec
        raise InfraError(
            "the guest has neither `base64` and `dd` nor `od`, or its console is too noisy to tell"
        )

    def _make_directory(self) -> str:
        for parent in _DIRECTORIES:
            path = f"{parent}/{self._function}"
            if self._asker.probe(f"mkdir {path};printf %s%s\\\\n is ok >{path}/try;cat {path}/try", "isok"):
                return path
        raise InfraError(f"the guest has no writable directory among {', '.join(_DIRECTORIES[:-1])} and /")

    def _upload(self, run: int, script: bytes) -> None:
        """Store a script as `<run>.sh` in the guest, piece by piece."""
        path, size = f"{self.directory}/{run}", self._codec.piece
        pieces = [script[start : start + size] for start in range(0, len(script), size)] or [b""]
        if len(pieces) > _MAX_PIECES:
            hint = "Put it into the image."
            raise InfraError(f"a script of {len(script)} bytes is too long to type", hint=hint)
        # The digits count: a damaged name may have left a file that is no piece.
        join = f"cat {path}.c????|{self._codec.unpack} >{path}.sh"
        for attempt in range(_TRANSFERS):
            for first in range(0, len(pieces), _LINES_AT_ONCE):
                self._upload_pieces(path, first, pieces[first : first + _LINES_AT_ONCE])
            if self._store([join], f"{path}.sh", {f"{path}.sh": script}, PATIENCE * 2 ** min(attempt, 4)):
                return
        raise InfraError(
            f"a script of {len(script)} bytes did not reach the guest undamaged in {_TRANSFERS} tries"
        )

    def _upload_pieces(self, path: str, first: int, pieces: list[bytes]) -> None:
        wanted = {f"{path}.c{number:04}": piece for number, piece in enumerate(pieces, first)}
        for attempt in range(_TRANSFERS):
            commands = [f"{self._codec.typed(piece)} >{name}" for name, piece in wanted.items()]
            contents = {name: self._codec.stored(piece) for name, piece in wanted.items()}
            for name in self._store(
                commands, f"{path}.c{first // _LINES_AT_ONCE:03}*", contents, PATIENCE * 2 ** min(attempt, 4)
            ):
                del wanted[name]
            if not wanted:
                return
        message = f"typed text reached the guest damaged {_TRANSFERS} times: {', '.join(wanted)}"
        raise InfraError(message, hint="The guest's disk may be full, or the serial line needs pacing.")

    def _store(
        self, commands: list[str], names: str, contents: dict[str, bytes], patience: float
    ) -> set[str]:
        """Type commands that write the files `names`, and return those that hold what they should."""
        expected = {
            (*sums(content, checksum=self._checksum).replace("-", " ").split(), name): name
            for name, content in contents.items()
        }
        summer = "cksum" if self._checksum else "wc -c"
        stored = set()
        # The bare `echo` ends a line that a prompt has begun.
        for line in self._asker.ask("\n".join([*commands, f"echo;{summer} {names}"]), patience):
            if name := expected.get(tuple(line.split())):
                stored.add(name)
        return stored

    def _fetch(self, run: int, script: bytes, *, before: str = "") -> Reply:
        """Have a script run, if it has not yet, and its output printed until all of it has arrived."""
        frames = Frames(self._nonce, run, self._codec, self._checksum, LARGE)
        call = f"{before}{self._function} {run} {sums(script, checksum=self._checksum)}"
        blocks: list[int] = []  # all
        start = self.offset
        patience, fruitless = PATIENCE, 0
        while True:
            arrived, frames.seen = frames.arrived, False
            for line in self._asker.ask(" ".join([call, *map(str, (frames.size, *blocks))]), patience):
                frames.feed(line)
                if frames.complete:
                    return Reply(frames.status, frames.output, start, self.offset)
            if not frames.seen:  # still running, or the call got lost
                patience = min(2 * patience, _LONGEST_PATIENCE)
            if frames.seen and frames.size == LARGE:  # damage: less of it in small blocks
                frames = Frames(self._nonce, run, self._codec, self._checksum, SMALL)
                blocks = []
                continue
            fruitless = fruitless + 1 if frames.seen and frames.arrived == arrived else 0
            if fruitless == _TRANSFERS:
                raise _damaged(frames)
            # Where nothing comes through, several copies at once are more likely to.
            blocks = (frames.missing * (1 + fruitless))[:_BLOCKS_AT_ONCE] or [0]


def _damaged(frames: Frames) -> InfraError:
    if frames.lost:
        return InfraError("the guest did not keep the output of a command", hint="Is its disk full?")
    blocks = ", ".join(map(str, frames.missing)) or "all"
    return InfraError(f"the output of a command arrived damaged {_TRANSFERS} times; blocks: {blocks}")


def _unmet_settings(report: str, *, echo: bool) -> tuple[str, ...]:
    """Say which settings the guest did not take; all but these are as asked for."""
    checks = {
        "TERM is not dumb": "TERM=dumb\n" in report,
        "the shell still prints prompts": "prompts=[]" in report,
        "echo is still on": echo or not re.search(r"(?<!-)\becho\b", report),
        "the kernel is not quiet": re.search(r"^printk=(1\b|$)", report, re.MULTILINE),
    }
    return tuple(text for text, met in checks.items() if not met)
