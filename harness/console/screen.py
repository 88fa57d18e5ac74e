"""Shows the live console on the user's terminal, with our messages."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from harness.console.recorder import Recorder

_PAUSE = 0.2  # seconds of silence after which we may put in a word
_BEHIND = 1 << 20  # bytes that are left out, rather than shown long after they came
_KEPT = 1 << 14  # of which so many are shown
_LINE = 512  # bytes of an unfinished line that are shown again after our words
# All but colours: what was a question to a terminal once must not be answered now.
_COMMAND = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-ln-~]|\x1b[P\]X^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x05]")
_INVISIBLE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|[\x00-\x1f]")


class Screen:
    """The screen of a terminal, with a guest's console on it.

    Args:
        recorder: The console.
        output: File descriptor of the terminal, in raw mode.
        offset: Raw offset from which on it is shown.
        paused: Called when nothing has come for a moment, with the unfinished line that the console ends
            with, and the raw offset of its end.
        ended: Called, perhaps more than once, when the console has ended and all of it is shown.
    """

    def __init__(
        self,
        recorder: Recorder,
        output: int,
        *,
        offset: int,
        paused: Callable[[bytes, int], None],
        ended: Callable[[], None],
    ) -> None:
        self._recorder = recorder
        self._output = output
        self._shown = offset
        self._old = recorder.size  # raw offset up to which it came before anybody looked
        self._paused = paused
        self._ended = ended
        self._words: deque[str] = deque()
        self._line = b""  # what came after the last newline
        self._heard = 0.0  # when anything was shown, in host seconds
        self._modes = Modes()

    def say(self, words: str) -> None:
        """Put in a line of our own where the guest's output pauses; from any thread."""
        self._words.append(words)
        self._recorder.wake()

    def show(self, closing: Event) -> None:
        """Show the console until `closing` is set; what has come until then is shown.

        Raises:
            OSError: The terminal is gone.
        """
        while True:
            self._catch_up()
            last = closing.is_set()  # before reading: what came until then is shown
            if data := self._recorder.read(self._shown, timeout=0 if last else _PAUSE):
                old = max(0, self._old - self._shown)
                self._shown += len(data)
                self._show(_COMMAND.sub(b"", data[:old]) + data[old:])
                continue
            paused = time.monotonic() - self._heard >= _PAUSE or last
            if self._words and (paused or self._is_fresh):
                self._put_in()
            if last:
                return
            if self._recorder.ended and self._recorder.size <= self._shown:
                self._ended()
                closing.wait(_PAUSE)
            elif paused:
                self._paused(self._line, self._shown)

    def restore(self) -> None:
        """Undo what the guest did to the terminal, and begin a new line."""
        with suppress(OSError):
            self._write(self._modes.undo() + (b"" if self._is_fresh else b"\r\n"))
        self._modes, self._line = Modes(), b""

    def _catch_up(self) -> None:
        """Leave out what a flood has put between what is shown and what comes now."""
        behind = self._recorder.size - self._shown - _KEPT
        if behind > _BEHIND:
            self._shown += behind
            self._words.append(f"{behind} bytes came too fast to be shown; they are recorded")
            self._put_in()
            self._line = b""

    def _show(self, data: bytes) -> None:
        line, newline, rest = data.partition(b"\n")
        if self._words and newline:
            self._echo(line + newline)
            self._put_in()
            data = rest
        self._echo(data)

    def _echo(self, data: bytes) -> None:
        self._write(data)
        self._modes.feed(data)
        self._line = (self._line + data[-2 * _LINE :]).rpartition(b"\n")[2][-_LINE:]
        self._heard = time.monotonic()

    @property
    def _is_fresh(self) -> bool:
        """Whether the guest's last line has nothing on it."""
        return not _INVISIBLE.sub(b"", self._line)

    def _put_in(self) -> None:
        """Write our words in lines of their own, and the guest's unfinished line again after them."""
        if self._modes.alternate:  # a full-screen program: later
            return
        if not self._is_fresh:
            self._write(b"\r\n")
        while self._words:
            self._write(f"\r\x1b[0;1m── {self._words.popleft()}\x1b[0m\x1b[K\r\n".encode())
        self._write(self._line.rpartition(b"\r")[2])

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._output, rest) :]


# The control functions are those of xterm: https://invisible-island.net/xterm/ctlseqs/ctlseqs.html.
_SWITCH = re.compile(
    rb"\x1b\[\?(?P<modes>[\d;]+)(?P<set>[hl])"  # DECSET, DECRST
    rb"|\x1b\[(?P<margins>\d*;?\d*)r"  # DECSTBM
    rb"|\x1b(?P<keypad>[=>])"  # DECKPAM, DECKPNM
    rb"|\x1b\[(?P<keys>[>=<])[\d;]*u"  # keyboard protocol of kitty
    rb"|\x1b\[>4(?P<other>;[12])?m"  # modifyOtherKeys
    rb"|\x1b(?P<reset>c)"  # RIS
)
_CUT = re.compile(rb"\x1b(?:\[[?>=<]?[\d;]{0,30})?\Z")  # may be the beginning of one
_ON = frozenset({7, 25})  # modes that are on in a fresh terminal: wrapping, and the cursor
_ALTERNATE = frozenset({47, 1047, 1049})
_PLAIN = b"\x0f\x1b(B\x1b[0m"  # the first character set, which is ASCII; no colours


class Modes:
    """The modes of a terminal, as far as output has changed them."""

    def __init__(self) -> None:
        self._changed: dict[int, bool] = {}
        self._margins = self._keypad = self._keys = self._other = False
        self._cut = b""

    @property
    def alternate(self) -> bool:
        """Whether a full-screen program has the alternate screen."""
        return any(self._changed.get(mode) for mode in _ALTERNATE)

    def feed(self, data: bytes) -> None:
        """Take output."""
        if not self._cut and b"\x1b" not in data:
            return
        data = self._cut + data
        cut = _CUT.search(data, max(0, len(data) - 40))
        self._cut = cut[0] if cut else b""
        for match in _SWITCH.finditer(data):
            self._switch(match)

    def _switch(self, match: re.Match[bytes]) -> None:
        match match.lastgroup:
            case "set":
                on = match["set"] == b"h"
                for mode in filter(None, match["modes"].split(b";")):
                    self._change(int(mode), on)
            case "margins":
                self._margins = bool(match["margins"])
            case "keypad":
                self._keypad = match["keypad"] == b"="
            case "keys":
                self._keys = self._keys or match["keys"] != b"<"
            case "other":
                self._other = True
            case "reset":
                self._changed.clear()
                self._margins = self._keypad = self._keys = self._other = False

    def _change(self, mode: int, on: bool) -> None:
        if on == (mode in _ON):
            self._changed.pop(mode, None)
        else:
            self._changed[mode] = on

    def undo(self) -> bytes:
        """What to write so that the terminal is as it was; plain characters in any case."""
        undone = [_PLAIN]
        if self._margins:
            undone.append(b"\x1b7\x1b[r\x1b8")  # resetting them moves the cursor
        if self._keypad:
            undone.append(b"\x1b>")
        if self._keys:
            undone.append(b"\x1b[=0u")
        if self._other:
            undone.append(b"\x1b[>4m")
        undone += [b"\x1b[?%d%s" % (mode, b"l" if on else b"h") for mode, on in self._changed.items()]
        return b"".join(undone)
