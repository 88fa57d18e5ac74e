"""Qualifications as a table of words: a column for each kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.outcome import Outcome
from harness.qualify.questions import UNTESTED, Answer, Word, load_questions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.qualify.qualification import Qualification, Relay

_MARKS = {Word.YES: "✓", Word.MODULE: "✓ as a module", Word.NO: "✗", Word.UNTESTED: "?"}
# Where the detail of a good answer is worth a place: it says what was on the other side.
_TOLD = {"kexec-jump"}


def table_rows(found: Sequence[Qualification]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Rows of the table: a title, and a cell for each kernel."""
    yield "Linux", tuple(f"{each.version}, {each.bits} bit" for each in found)
    yield "boots", tuple("✓" if each.boots else f"✗ {each.verdict.reason}" for each in found)
    yield "serial console", tuple("✓" if each.serial else "✗ nothing was heard" for each in found)
    for question in load_questions().values():
        cells = (_cell(question.name, each.answers.get(question.name, UNTESTED)) for each in found)
        yield question.what, tuple(cells)
    yield "CPU-s to init", tuple(_seconds(each.to_init) for each in found)
    yield "least memory", tuple(_memory(each) for each in found)
    yield "relay", tuple(_outcome(each.relay) for each in found)
    yield (
        "relay: CPU-s to init",
        tuple(_seconds(each.relay.to_init if each.relay else None) for each in found),
    )
    yield (
        "relay: CPU-s to prompt",
        tuple(_seconds(each.relay.to_prompt if each.relay else None) for each in found),
    )


def advice_lines(found: Sequence[Qualification]) -> Iterator[str]:
    """A line for each kernel and plan, with those that say why not."""
    for each in found:
        yield ""
        yield f"{each.kernel} (Linux {each.version})"
        for advice in each.advice:
            mark, word = {True: ("✓", "fits"), False: ("✗", "not"), None: ("·", "may fit")}[advice.fits]
            role = " as second kernel" if advice.role == "second" else ""
            yield f"  {mark} {word} {advice.plan}{role}: {advice.summary}"
            yield from (f"      {why}" for why in advice.why)
        yield f"  records: {', '.join(each.records)}"


def _cell(name: str, answer: Answer) -> str:
    telling = {Word.NO, Word.UNTESTED} | ({Word.YES} if name in _TOLD else set())
    told = answer.detail and answer.word in telling
    return f"{_MARKS[answer.word]} {answer.detail}" if told else _MARKS[answer.word]


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"


def _memory(each: Qualification) -> str:
    if each.memory is None:
        return "?"
    if each.memory.least is None:
        return f"more than {each.memory.too_little} MiB"
    limit = f" ({each.memory.too_little} are too little)" if each.memory.too_little else ""
    return f"{each.memory.least} MiB{limit}"


def _outcome(relay: Relay | None) -> str:
    if relay is None:
        return "?"
    if relay.verdict.outcome == Outcome.PASS:
        return "✓"
    return f"✗ {relay.verdict.outcome} in {relay.verdict.stage}: {relay.verdict.reason}"
