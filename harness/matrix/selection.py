"""`--select EXPR`: which cells of a matrix are meant.

    expression = term ("or" term)*        term = factor ("and" factor)*
    factor     = "not" factor | "(" expression ")" | test
    test       = KEY ("=" | "!=") PATTERN | PATTERN

Patterns are those of file names; one without a key has to be found somewhere in the cell's name.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from harness.matrix.cells import Cell

    Test = Callable[[Cell], bool]

KEYS = ("recipe", "kernel", "machine", "accelerator", "memory", "medium", "firmware")

_TOKEN = re.compile(r"\s*(?:(?P<sign>\(|\)|!=|=)|(?P<word>[^\s()=!]+|!(?!=)))")
_SYNTAX = "such as 'kernel=debian-6.* and not memory=512M'; docs/matrix.md describes it"


def select(cells: Sequence[Cell], expression: str) -> tuple[Cell, ...]:
    """The cells that an expression fits."""
    test = _Parser(expression).parse()
    chosen = tuple(cell for cell in cells if test(cell))
    if not chosen:
        some = ", ".join(cell.name for cell in cells[:5])
        more = f" and {len(cells) - 5} more" if len(cells) > 5 else ""
        raise ConfigError(f"--select {expression!r} fits no cell", hint=f"there are {some}{more}")
    return chosen


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = []
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None:
                raise self._wrong(f"{text[place:].strip()[:20]!r} is not understood")
            self._tokens.append(match["sign"] or match["word"])
            place = match.end()

    def parse(self) -> Test:
        test = self._expression()
        if self._tokens:
            raise self._wrong(f"{self._tokens[0]!r} is too much")
        return test

    def _expression(self) -> Test:
        return self._joined("or", partial(self._joined, "and", self._factor, all), any)

    def _joined(self, word: str, part: Callable[[], Test], how: Callable[[Iterable[bool]], bool]) -> Test:
        tests = [part()]
        while self._next_is(word):
            tests.append(part())
        return lambda cell: how(test(cell) for test in tests)

    def _factor(self) -> Test:
        if self._next_is("not"):
            negated = self._factor()
            return lambda cell: not negated(cell)
        if self._next_is("("):
            inner = self._expression()
            if not self._next_is(")"):
                raise self._wrong("a ')' is missing")
            return inner
        return self._test()

    def _test(self) -> Test:
        word = self._word("a test is missing")
        for sign in ("=", "!="):
            if self._next_is(sign):
                if word not in KEYS:
                    raise self._wrong(f"{word!r} is no key; there are {', '.join(KEYS)}")
                pattern = self._word(f"a pattern is missing after {word}{sign}")
                wanted = sign == "="
                return lambda cell: fnmatchcase(cell.value(word), pattern) is wanted
        return lambda cell: fnmatchcase(cell.name, f"*{word}*")

    def _next_is(self, token: str) -> bool:
        if self._tokens[:1] == [token]:
            del self._tokens[0]
            return True
        return False

    def _word(self, missing: str) -> str:
        if not self._tokens or self._tokens[0] in {"(", ")", "=", "!=", "and", "or", "not"}:
            raise self._wrong(missing)
        return self._tokens.pop(0)

    def _wrong(self, problem: str) -> ConfigError:
        return ConfigError(f"--select {self._text!r}: {problem}", hint=_SYNTAX)
