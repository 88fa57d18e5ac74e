"""Finds and removes prefixes of log lines.

Times, container names, columns of CI services, quotes: their shape is learned from lines whose beginning is
known, such as a kernel's messages and the lines with which stages begin.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from harness.console.lines import LEVEL, STAMP, LineCleaner
from harness.console.prefilter import unanchored

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    Signature = tuple[str, ...]

_ALTERNATIVES = 4  # prefixes of different shapes in one log, such as those with and without a column
_SHAPES = 4  # of one word; with more, any word will do
_MOST = 0.5  # share of the lines that must have a prefix
_SURE = 0.9  # share that makes looser patterns unnecessary
_LINES = 1000  # so many of the first ones and of the last ones are looked at

_WORD = r"\w+(?:[-.:,+/@#%]\w+)*(?:\[\d+\])?"  # also a program with its process
_TOKEN = re.compile(rf"({_WORD})|[^\s\w]", re.ASCII)
_BANNER = re.compile(rf"(?:{LEVEL.pattern})?(?:\[ *0\.000000\](?:\[ *[CT]\d+\])? )?Linux version \d")
_FIRMWARE = re.compile(r"SeaBIOS \(version|Booting from |BdsDxe: |UEFI |iPXE ")
_LITERAL = re.compile(r"\^(?=\w*[ :'/,\\-])((?:\\\W|[\w :'/,-]){4,})(?![?*+{\w])")
_ESCAPE = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][0-9AB])"
_GAP = rf"(?:[ \t]|{_ESCAPE})*"
_LEAD = rf"(?:\xef\xbb\xbf)?(?:[ \t\r]|{_ESCAPE})*"
# GitLab's mark of a line that goes on from the one before.
_GLUE = re.compile(rb"\r?\n\d{4}-\d\d-\d\dT[\d:.]+Z \d\d[OE]\+")
_QUOTED = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(033|.))")
# Quoted control characters, which belong to what the console said.
_CONTROLS = re.compile(r"(?:\\(?:u00[01][0-9a-f]|x[01][0-9a-f]|033|[ern])(?:\[[0-9;?]*[A-Za-z])?)+$")
_OPENED = re.compile(r"""(?:(?<!\w)|\bb)(["'`])[^"'`]*$""")
_LETTERS = {b"e": b"\x1b", b"033": b"\x1b", b"t": b"\t", b"n": b"\0", b"r": b"\0"}


class Prefix(msgspec.Struct, frozen=True):
    """What stands before the lines of a log."""

    example: str  # that of one line
    pattern: re.Pattern[bytes]  # that of all, from the beginning of a raw line
    quote: str = ""  # the quotation mark in which the rest of the line stands, if any

    def blank(self, data: bytes) -> bytes:
        """Put NULs, which cleaned lines leave out, in its place: what is behind it stays where it is."""
        data = _GLUE.sub(lambda glue: bytes(len(glue[0])), data)
        if not self.quote:
            return self.pattern.sub(lambda prefix: bytes(len(prefix[0])), data)
        return b"".join(self._unquoted(line) for line in data.splitlines(keepends=True))

    def _unquoted(self, line: bytes) -> bytes:
        prefix = self.pattern.match(line)
        if prefix is None:
            return line
        rest = line[prefix.end() :]
        text, end = rest.rstrip(), self.quote.encode()
        if text.endswith(end):
            text = text[:-1]
        elif behind := re.match(rb"(?:[^\\%b]|\\.)*(?=%b)" % (end, end), text):
            text = behind[0]
        plain = _QUOTED.sub(_unescaped, text)
        newline = b"\n" if line.endswith(b"\n") else b""
        return bytes(len(prefix[0])) + plain + bytes(len(rest) - len(plain) - len(newline)) + newline


def _unescaped(escape: re.Match[bytes]) -> bytes:
    if number := escape[1] or escape[2]:
        char = chr(int(number, 16))
        plain = b"" if char in "\r\n" else char.encode("utf-8", "replace")
    else:
        plain = _LETTERS.get(escape[3], escape[3])
    return bytes(len(escape[0]) - len(plain)) + plain  # nothing may stand behind an escape


class Unclear(Exception):  # noqa: N818 - what is known of a log, not an error of the program
    """The kernel's banner never begins a line, and no prefix explains that; `line` shows it."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


def find_prefix(
    sample: bytes, begins: Iterable[re.Pattern[str]], others: Iterable[str] = ()
) -> Prefix | None:
    """Learn the prefix of a log from some of it; None where lines have none.

    Args:
        sample: Raw lines.
        begins: Patterns of lines that a plan expects.
        others: Further patterns, of which only the letters count with which lines begin.

    Raises:
        Unclear: The kernel's banner stands behind something that no other lines share.
    """
    begins = [pattern for pattern in begins if pattern.pattern.startswith("^")]
    literals = dict.fromkeys(words[1] for pattern in others if (words := _LITERAL.match(pattern)))
    text = LineCleaner().feed(sample + b"\n").text.decode("utf-8", "replace")
    lines = [line for line in text.split("\n") if line.strip()]
    lines = lines if len(lines) < 2 * _LINES else lines[:_LINES] + lines[-_LINES:]
    known = [_BANNER, *map(unanchored, begins)]
    stamps = [] if any(map(_has_foreign_stamp, lines)) else [STAMP]  # which also interrupt lines
    unsure = [_FIRMWARE, *map(re.compile, literals)]
    prefixes = _before([*known, *stamps], lines) or _before(unsure, lines)
    surest = _before(known, lines) or prefixes
    if surest.count("") * 2 >= len(surest):
        return None
    found = _learned(list(filter(None, prefixes)) or surest, {_signature(it) for it in surest}, lines)
    banner = next(filter(_BANNER.search, lines), None)
    if found is None and banner and "" not in prefixes + _before(unsure, lines):
        raise Unclear(banner)
    return found


def _has_foreign_stamp(line: str) -> bool:
    """Whether another program put a stamp before the line that looks like a kernel's."""
    stamp = STAMP.match(line)
    if stamp is None:
        return False
    banner = _BANNER.search(line)
    return STAMP.match(line, stamp.end()) is not None or (banner is not None and banner.start() > 0)


def _before(known: Sequence[re.Pattern[str]], lines: Iterable[str]) -> list[str]:
    """What stands before known words, in the lines that have any."""
    places = ((line, _beginning(line, known)) for line in lines)
    return [_CONTROLS.sub("", line[:place]) for line, place in places if place is not None]


def _beginning(line: str, known: Sequence[re.Pattern[str]]) -> int | None:
    """Where what the console said begins in a line, if that is known."""
    places = [match.start() for pattern in known if (match := pattern.search(line))]
    if (stamp := STAMP.match(line)) and STAMP.match(line, stamp.end()):
        return stamp.end()
    return min(places, default=None)


def _learned(prefixes: Sequence[str], sure: Collection[Signature], lines: Sequence[str]) -> Prefix | None:
    """The pattern of these prefixes, if most lines have it; rare ones only where they are sure."""
    left, patterns = list(prefixes), dict[str, str]()  # with an example of each
    for _ in range(_ALTERNATIVES):
        signatures = [_signature(prefix) for prefix in left]
        ((signature, count),) = Counter(signatures).most_common(1)
        if patterns and count * 10 < len(prefixes):
            signature = next((it for it in signatures if it in sure), ())
        if not signature and patterns:
            break
        alike = [prefix for prefix in left if _signature(prefix) == signature]
        pattern = _generalised(alike, signature, lines if not patterns else ())
        patterns[pattern] = alike[0]
        left = [prefix for prefix in left if not re.fullmatch(pattern, prefix, re.ASCII)]
        if not left:
            break
    if _share("|".join(patterns), lines) < _MOST:
        return None
    example = patterns[max(patterns, key=lambda pattern: _share(pattern, lines))]
    opened = _OPENED.search(example)
    quote = opened[1] if opened and example.count(opened[1]) % 2 else ""
    return Prefix(example, re.compile(f"(?m)^(?:{'|'.join(patterns)})".encode()), quote)


def _signature(prefix: str) -> Signature:
    """The prefix without its words and its spaces."""
    return tuple("" if token[1] else token[0] for token in _TOKEN.finditer(prefix))


def _generalised(prefixes: Sequence[str], signature: Signature, lines: Sequence[str]) -> str:
    """A pattern for prefixes of one signature, as strict as covers the lines, if any must be."""
    end = min((prefix[len(prefix.rstrip()) :] for prefix in prefixes), key=len)
    words = [[token[1] for token in _TOKEN.finditer(prefix) if token[1]] for prefix in prefixes]
    strict = _joined(signature, [_one_of(column, loose=False) for column in zip(*words, strict=True)], end)
    if (share := _share(strict, lines)) >= _SURE:
        return strict
    loose = _joined(signature, [_one_of(column, loose=True) for column in zip(*words, strict=True)], end)
    return loose if _share(loose, lines) > share else strict


def _one_of(words: Iterable[str], *, loose: bool) -> str:
    """A pattern for one word: the shapes that were seen, and with `loose` others of the kind."""
    shapes = Counter(re.sub(r"\d+", "0", word) for word in words)
    known = [re.escape(shape).replace("0", r"\d+") for shape, _ in shapes.most_common(_SHAPES)]
    if loose or len(shapes) > _SHAPES:
        known.append(rf"(?=\S*\d){_WORD}" if all("0" in shape for shape in shapes) else _WORD)
    return f"(?:{'|'.join(known)})"


def _joined(signature: Sequence[str], words: Sequence[str], end: str) -> str:
    if not signature:
        return re.escape(end)
    left, pattern, before = list(words), _LEAD, "x"
    for token in signature:
        pattern += r"(?=[ \t\x1b])" if token == before == "" else ""
        pattern += _GAP + (re.escape(token) if token else left.pop(0))
        before = token
    return rf"{pattern}(?:{_ESCAPE})*(?:{re.escape(end)}|[ \t]*(?=[\r\n]|\Z))"


def _share(pattern: str, lines: Sequence[str]) -> float:
    compiled = re.compile(pattern, re.ASCII)
    return sum(compiled.match(line) is not None for line in lines) / max(len(lines), 1)
