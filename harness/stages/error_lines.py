"""Finds lines that look like errors of any program."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.console.lines import LEVEL, STAMP, Line

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


_ERROR = re.compile(
    r"(?<![-/.\w])(?:error|fatal|panic|assertion|exception|traceback|abort(?:ed)?)\b(?!\.\w|[-=/])|\*\*\* "
    r"|\b(?:cannot|can't|could not|couldn't|unable to|failed|failure|not found|undefined reference|undeclared"
    r"|no such file|no rule to make|permission denied|not permitted|read-only file system|no space left"
    r"|segmentation fault|core dumped|killed|illegal instruction|bus error|bad address|out of memory"
    r"|not recognized|unexpected (?:end|eof)|no code for module)\b",
    re.IGNORECASE,
)
# What programs say of errors of others: not the cause, and often long after it.
_FOLLOWS = re.compile(
    r"^(?:g?make|ninja)(?:\[\d+\])?: |\bld returned \d|Error \d+$|due to previous errors|unfinished jobs"
    r"|^compilation terminated|^Subprocess error|^ABORTING"
)
_HARMLESS = re.compile(
    r"\bchecking (?:for|whether|if)\b|\bwarning: |\(ignored\)|\bno errors?\b|\b0 error", re.IGNORECASE
)
ERRORS_SHOWN = 5  # of such lines, the last ones
_NEAR = 30  # lines of programs before a failure in which they are looked for
_ASIDE = 3  # lines of programs between a clue and an error that has nothing to do with it
_FAR = 10  # the same where the error only follows from another one


def looks_like_error(text: str) -> bool:
    """Whether a program reports an error with this line; the kernel's lines are left to plans."""
    return _ERROR.search(text) is not None and not _HARMLESS.search(text)


def last_errors(lines: Sequence[Line]) -> list[Line]:
    """The last lines that look like errors, near the end of these lines."""
    return [line for line in _spoken(lines)[-_NEAR:] if looks_like_error(line.text)][-ERRORS_SHOWN:]


def distance(clue: int, lines: Sequence[Line], known: Collection[int]) -> int | None:
    """How many lines of other work follow a clue up to the failure; None where another error overrules it.

    The clue, and other clues that are known, are raw offsets of lines.
    """
    between = 0
    for line in _spoken(lines):
        if line.start <= clue:
            continue
        if line.start not in known and not looks_like_error(line.text):
            between += 1
        elif between >= (_FAR if _FOLLOWS.search(line.text) else _ASIDE):
            return None
    return between


def _spoken(lines: Sequence[Line]) -> list[Line]:
    """What programs said: those parts of a line that a kernel message interrupted are one."""
    said: list[Line] = []
    head: Line | None = None
    for line in lines:
        if head is not None:
            line = line._replace(text=head.text + line.text, start=head.start)  # noqa: PLW2901
        stamp = STAMP.search(line.text)
        head = line._replace(text=line.text[: stamp.start()]) if stamp and stamp.start() else None
        if line.text.strip() and not stamp and not LEVEL.match(line.text):
            said.append(line)
    return said
