"""Terminal modes that a guest's output changed, to be undone.

The control functions are those of xterm: https://invisible-island.net/xterm/ctlseqs/ctlseqs.html.
"""

from __future__ import annotations

import re

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
