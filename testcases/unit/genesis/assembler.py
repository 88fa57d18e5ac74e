"""Assembler in Python: a second opinion on the one of images/genesis, whose README.md defines the language.

Usage: python3 assembler.py SOURCE OUTPUT
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

BASE = 0x08048000
SIZE = 0x100000  # a source is smaller
FULL = 0x200000  # no word adds to an output of this size
MAX_NAMES = 4096
ITEM = re.compile(rb'(\n)|[\0- ]|#[^\n]*|"([^"\n]*)"|([^\0- ]+)')


class AssemblerError(Exception):
    """A source that the assembler refuses: line and message."""


class Assembler:
    def __init__(self, source: bytes) -> None:
        self.source = source + b"\n"
        self.line = 1
        self.names: dict[bytes, int | bytes] = {}  # address of a label, bytes of a word
        self.code = bytearray()

    def error(self, message: str) -> AssemblerError:
        return AssemblerError(f"{self.line}: {message}")

    def define(self, name: bytes, value: int | bytes) -> None:
        if not name:
            raise self.error("bad item")
        if name in self.names:
            raise self.error("name defined twice")
        if len(self.names) == MAX_NAMES:
            raise self.error("too large")
        self.names[name] = value

    def hex(self, digits: bytes) -> bytes:
        if not re.fullmatch(rb"([0-9A-F]{2})*", digits):
            raise self.error("bad item")
        return bytes.fromhex(digits.decode("ascii"))

    def number(self, text: bytes) -> bytes:
        if not re.fullmatch(rb"-?[0-9]+", text) or abs(int(text)) > 0x7FFFFFFF:
            raise self.error("bad item")
        return (int(text) & 0xFFFFFFFF).to_bytes(4, "little")

    def reference(self, name: bytes, origin: int, *, known: bool) -> bytes:
        if not known:
            return bytes(4)
        value = self.names.get(name)
        if not isinstance(value, int):
            raise self.error("unknown name")
        return ((value - origin) & 0xFFFFFFFF).to_bytes(4, "little")

    def add(self, code: bytes) -> None:
        if code and len(self.code) + len(code) > FULL:
            raise self.error("too large")
        self.code += code

    def item(self, item: bytes, at: int, *, second: bool) -> int:
        """Translate one item; the place where the next one may begin."""
        sign, rest, here = item[:1], item[1:], BASE + len(self.code)
        if sign == b":":
            if not second:
                self.define(rest, here)
        elif sign == b"=":
            blanks = re.compile(rb" *").match(self.source, at)
            assert blanks is not None
            word = re.compile(rb"[^\0- ]*").match(self.source, blanks.end())
            assert word is not None
            if not second:
                self.define(rest, self.hex(word.group()))
            if not word.group():
                raise self.error("bad item")
            return word.end()
        elif sign == b"@":
            self.code += self.reference(rest, 0, known=second)
        elif sign == b">":
            self.code += self.reference(rest, here + 4, known=second)
        elif sign == b"%":
            self.code += self.number(rest)
        elif sign in b"0123456789ABCDEF":
            self.add(self.hex(item))
        else:
            value = self.names.get(item)
            if not isinstance(value, bytes):
                raise self.error("unknown name")
            self.add(value)
        return at

    def assemble(self, *, second: bool) -> None:
        self.line, at = 1, 0
        self.code.clear()
        while at + 1 < len(self.source):
            match = ITEM.match(self.source, at)
            if match is None:
                raise self.error("bad item")
            at = match.end()
            if match.group(1):
                self.line += 1
            elif match.group(2) is not None:
                self.code += match.group(2)
            elif match.group(3) and match.group(3)[:1] == b'"':
                raise self.error("bad item")
            elif match.group(3):
                at = self.item(match.group(3), at, second=second)


def binary(source: bytes) -> bytes:
    """The output of a source.

    Raises:
        AssemblerError: The source is wrong.
    """
    assembler = Assembler(source)
    if len(source) >= SIZE:
        raise AssemblerError("0: missing or too large")
    assembler.assemble(second=False)
    assembler.assemble(second=True)
    return bytes(assembler.code)


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(binary(Path(sys.argv[1]).read_bytes()))
