"""What a kernel is asked, and its answers on the console: `images/qualify/`."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from harness.core import paths, toml
from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ANSWER = re.compile(
    r"^probe (?P<name>\S+) (?P<word>yes|module|no|untested)(?: (?P<detail>.*))?$", re.MULTILINE
)


class Word(StrEnum):
    """An answer in a word: built in, only with a module of the kernel's own, not at all, not found out."""

    YES = "yes"
    MODULE = "module"
    NO = "no"
    UNTESTED = "untested"


class Answer(msgspec.Struct, frozen=True):
    """What a kernel answered to a question, and what was seen with it."""

    word: Word
    detail: str = ""


UNTESTED = Answer(Word.UNTESTED)


class Question(toml.Table, frozen=True):
    """Something that a kernel is asked."""

    name: str  # by which the answer is known on the console
    what: str  # title of its row
    feature: str = ""  # the feature of `kernels/features/` that it is the proof of, if any


class _QuestionsDocument(toml.Table, frozen=True):
    question: tuple[Question, ...]


@cache
def load_questions() -> Mapping[str, Question]:
    """All questions, by name, in the order of their rows."""
    from harness.kernel.features import load_features

    path = questions_file()
    found: dict[str, Question] = {}
    for number, question in enumerate(toml.load(path, _QuestionsDocument).question):
        if question.name in found:
            raise ConfigError(f"{path}: key question[{number}].name: {question.name!r} is there twice")
        if question.feature and question.feature not in load_features():
            raise ConfigError(f"{path}: key question[{number}].feature: there is no {question.feature!r}")
        found[question.name] = question
    return found


def questions_file() -> Path:
    """Where the questions are."""
    return paths.data_root() / "images/qualify/questions.toml"


def read_answers(console: bytes) -> dict[str, Answer]:
    """The answers on a console, by the name of their question; the first one counts.

    A line that the kernel wrote into is none: what is not sure is not said.
    """
    text = console.decode("utf-8", "replace").replace("\r", "")
    found: dict[str, Answer] = {}
    for match in _ANSWER.finditer(text):
        found.setdefault(match["name"], Answer(Word(match["word"]), match["detail"] or ""))
    return found
