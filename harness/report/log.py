"""A record's console as text: lines with times, headings for stages."""

from __future__ import annotations

import re
import sys
from collections import deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from harness.console.lines import LineCleaner
from harness.core.errors import ConfigError
from harness.record.console_log import ConsoleTail, TimedLine
from harness.record.reading import Mark, Reading, RunState, read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from harness.stages.verdict import CheckResult, RunResult, StageResult

# Select Graphic Rendition of ECMA-48: a colour for each stage in turn, then bold, inverse and none.
_COLOURS = ("\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m")
_BOLD, _INVERSE, _NONE = "\x1b[1m", "\x1b[7m", "\x1b[0m"


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What of a console is shown, and how."""

    since: str | None = None  # stage to begin with
    until: str | None = None  # stage to end with
    grep: str | None = None  # only lines in which this pattern is found
    context: int = 0  # lines around each of those
    tail: int | None = None  # only so many of the last lines
    typed: bool = False  # whether what was typed to the guest is shown where it was typed
    clock: bool = False  # whether times are those of the clock on the wall, in UTC, instead of seconds
    colour: bool = False  # whether to colour


def log_lines(reading: Reading, options: LogOptions) -> Iterator[str]:
    """Yield the lines of a console for people, in bounded memory."""
    start, end = reading.span(options.since, options.until)
    writer = LogWriter(reading, options)
    writer.expect(reading)
    writer.skip(start)
    lines: Iterable[TimedLine | None] = reading.lines(start, end)
    if options.grep is not None:
        lines = _found(reading.lines(start, end), _pattern(options.grep), options.context)
    if options.tail is not None:
        lines = deque(lines, maxlen=options.tail)
    yield from writer.write(lines)
    if end is None and options.grep is None:
        yield from writer.rest()


def follow(directory: Path, options: LogOptions, *, wait: Callable[[], object]) -> Iterator[str]:
    """Yield the lines of a run that goes on, as they come, until it is over.

    What is chosen among lines counts for `log_lines` only; `wait` waits for a moment.
    """
    reading = read_run(directory)
    writer = LogWriter(reading, options)
    tail = ConsoleTail(directory)
    while True:
        running = read_run(directory).state == RunState.RUNNING  # before the last bytes are read
        lines = tail.read()
        writer.expect(reading)
        yield from writer.write(lines)
        if not running and not lines:
            break
        if not lines:
            wait()
    yield from writer.write(tail.finish())
    yield from writer.rest()


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        hint = "\\ before . * + ? ( [ | takes them literally"
        raise ConfigError(f"--grep: {text!r} is no pattern: {error}", hint=hint) from error


def _found(lines: Iterable[TimedLine], pattern: re.Pattern[str], context: int) -> Iterator[TimedLine | None]:
    """Lines with the pattern and those around them; None where some between are left out."""
    before: deque[TimedLine] = deque(maxlen=context)
    left, gap, any_found = 0, False, False
    for line in lines:
        if pattern.search(line.text):
            if gap and any_found and context:
                yield None
            yield from before
            yield line
            before.clear()
            left, gap, any_found = context, False, True
        elif left:
            yield line
            left -= 1
        else:
            gap = gap or len(before) == context
            before.append(line)


class LogWriter:
    """Turns lines into text, with headings where stages begin."""

    def __init__(self, reading: Reading, options: LogOptions) -> None:
        self._options = options
        self._started = datetime.fromisoformat(reading.document.started)
        self._grep = _pattern(options.grep) if options.grep else None
        self._colour = ""
        self._stages: Sequence[Mark] = ()
        self._typed: Sequence[Mark] = ()
        self._taken: Sequence[Mark] = ()
        self._begun = 0  # stages that have their heading
        self._shown = 0  # typed lines that were shown
        self._said = 0  # times that it was said that a person took over

    def expect(self, reading: Reading) -> None:
        """Take what is known about the console by now."""
        self._stages = reading.stages()
        if self._options.typed:
            self._typed = reading.typed()
        self._taken = reading.taken_over()

    def skip(self, offset: int) -> None:
        """Leave out what was typed before this raw offset."""
        self._shown = sum(mark.offset < offset for mark in self._typed)
        self._said = sum(mark.offset < offset for mark in self._taken)

    def write(self, lines: Iterable[TimedLine | None]) -> Iterator[str]:
        """Yield text for lines in order; None stands for lines that are left out."""
        for line in lines:
            if line is None:
                yield self._styled(f"{'⋮':>10}", _BOLD)
                continue
            yield from self._marks(line.offset)
            yield f"{self._styled(self._time(line.seconds), self._colour)}  {self._text(line.text)}"

    def rest(self) -> Iterator[str]:
        """Yield what belongs behind the last line."""
        return self._marks(sys.maxsize)

    def _marks(self, offset: int) -> Iterator[str]:
        begun = self._begun
        while self._begun < len(self._stages) and self._stages[self._begun].offset <= offset:
            self._begun += 1
        if self._begun > begun:  # stages without output have no heading
            self._colour = _COLOURS[(self._begun - 1) % len(_COLOURS)]
            yield self._styled(f"── {self._stages[self._begun - 1].text} ──", _BOLD + self._colour)
        while self._said < len(self._taken) and self._taken[self._said].offset <= offset:
            yield self._styled(f"── taken over by hand in stage {self._taken[self._said].text} ──", _BOLD)
            self._said += 1
        while self._shown < len(self._typed) and self._typed[self._shown].offset <= offset:
            mark = self._typed[self._shown]
            who = "by hand" if mark.by_hand else "typed"
            yield self._styled(f"{who:>10}  {mark.text!r}", _BOLD)
            self._shown += 1

    def _time(self, seconds: float) -> str:
        if self._options.clock:
            return f"{self._started + timedelta(seconds=seconds):%H:%M:%S.%f}"[:-3]
        return f"{seconds:10.3f}"

    def _text(self, text: str) -> str:
        if self._grep is None or not self._options.colour:
            return text
        return self._grep.sub(lambda match: self._styled(match[0], _INVERSE) if match[0] else "", text)

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_NONE}" if self._options.colour and style else text


_LINES = 40
_BYTES = 16384  # read back from the end of the excerpt


def explain_stage(result: RunResult, stage: StageResult, directory: Path) -> str:
    """The verdict, and the last console lines of the stage."""
    return "\n".join(
        [*_verdict(result), *console_lines(directory, stage.start, stage.end), f"record: {directory}"]
    )


def explain_check(result: RunResult, check: CheckResult, directory: Path) -> str:
    """The verdict with its evidence, and what the check got."""
    lines = [f"check {check.name} of stage {check.stage} got: {check.answer}", *_verdict(result)]
    lines += [f"  {item.text}" for item in result.verdict.evidence]
    return "\n".join([*lines, f"record: {directory}"])


def console_lines(directory: Path, start: int, end: int) -> list[str]:
    """The last cleaned console lines between two raw offsets of a record, indented."""
    with (directory / "console.raw").open("rb") as raw:
        raw.seek(max(start, end - _BYTES))
        cleaner = LineCleaner()
        lines = [*cleaner.feed(raw.read(max(0, end - raw.tell()))), *cleaner.flush()]
    return [f"  {line.text}" for line in lines[-_LINES:]]


def _verdict(result: RunResult) -> list[str]:
    verdict = result.verdict
    return [f"{verdict.outcome} in stage {verdict.stage}: {verdict.reason}", f"next: {verdict.hint}"]
