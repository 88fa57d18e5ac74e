"""Finds the lines of a block that may hold a marker."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.console.lines import LEVEL, STAMP

if TYPE_CHECKING:
    from collections.abc import Iterable

# What RE2 reads in another way than `re`, or cannot tell on one line of many: flags and looks around,
# \A, {,n} and [[:class:]] (https://github.com/google/re2/wiki/Syntax).
_UNLIKE_RE = re.compile(r"\(\?(?!:|P<|i:)|\\A|\{,|\[:")
# What needs a closer look on any line: a kernel message in the middle, and what is not ASCII, of which
# `re` and RE2 have different ideas.
_ALWAYS = (f".{STAMP.pattern}", r"[^\x00-\x7f]")
_ALL = "^"
# Without a look around more lines match, which `re` sorts out.
_LOOK_AROUND = re.compile(r"\(\?<?[!=](?:\\.|[^()\[\]\\])*\)")
# Where a kernel message begins; and each ^ that says so, in contrast to escaped ones and those of [^classes].
_START = f"^(?:{STAMP.pattern}|{LEVEL.pattern})?"
_CARET = re.compile(r"\\.|\[\^?\]?(?:\\.|[^]\\])*\]|(\^)")


class Candidate(NamedTuple):
    """A line to look at."""

    number: int  # of the line, counted from 0
    start: int  # where it begins in the text


class Sieve:
    """All patterns as one RE2 automaton: its speed does not depend on how many they are.

    It lets through every line that a pattern matches as `re` would, with or without a kernel timestamp in
    front of it, and some that none does. `re` has the last word.
    """

    def __init__(self, patterns: Iterable[re.Pattern[str]]) -> None:
        alternatives = (*_ALWAYS, *map(_for_blocks, patterns))
        self._automaton = _compiled(f"(?m){'|'.join(alternatives)}")

    def candidates(self, text: bytes) -> list[Candidate]:
        r"""Return the lines to look at, in text without control characters whose lines end in `\n`."""
        found = []
        number = position = 0
        while (match := self._automaton.search(text, position)) and (hit := match.start()) < len(text):
            number += text.count(b"\n", position, hit)
            found.append(Candidate(number, text.rfind(b"\n", 0, hit) + 1))
            number += 1
            position = text.index(b"\n", hit) + 1
        return found


@cache
def _options() -> Any:
    import re2  # when the console is looked at: plans are read before a machine starts

    options = re2.Options()
    options.never_nl = True  # no match reaches over the end of a line
    options.never_capture = True
    options.encoding = re2.Options.Encoding.LATIN1  # bytes as they are
    options.log_errors = False
    return options


@cache
def _compiled(text: str) -> Any:
    import re2

    return re2.compile(text.encode(), _options())


def unanchored(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """The pattern without what binds it to the beginning of a line."""
    return re.compile(_CARET.sub(lambda token: "" if token[1] else token[0], pattern.pattern))


@cache  # plans share most of their patterns
def _for_blocks(pattern: re.Pattern[str]) -> str:
    """The pattern as RE2 takes it, also behind a timestamp; what matches all lines, if RE2 cannot."""
    text = _LOOK_AROUND.sub("", pattern.pattern)
    if pattern.flags != re.UNICODE or not text.isascii() or _UNLIKE_RE.search(text):
        return _ALL
    import re2

    try:
        _compiled(text)
    except re2.error:
        return _ALL
    return f"(?:{_CARET.sub(lambda token: _START if token[1] else token[0], text)})"
