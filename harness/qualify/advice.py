"""Decides for which plans a kernel is good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core.sizes import parse_size
from harness.kernel.features import lacking, load_features
from harness.qualify.questions import Answer, Word, load_questions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.kernel.bzimage import KernelImage
    from harness.stages.needs import Needs

# What a kernel must have had to answer at all.
_HAD = ("initramfs", "elf", "scripts", "serial-console")


class Advice(msgspec.Struct, frozen=True):
    """Whether a kernel is good for a plan."""

    plan: str  # its name
    summary: str  # what it does
    role: str  # "seed" or "second"
    fits: bool | None  # none where what it needs could not be found out
    why: tuple[str, ...] = ()  # what is missing, or not known, a few words each


class Known(msgspec.Struct, frozen=True):
    """What is known of a kernel."""

    image: KernelImage  # what its file says
    symbols: Mapping[str, str] | None  # its configuration without CONFIG_; None where it is not known
    answers: Mapping[str, Answer]  # what it answered; empty for a kernel that never got so far
    modules: bool = True  # whether it came with modules


def advise(known: Known, plans: Mapping[str, tuple[str, Needs]]) -> list[Advice]:
    """Judge a kernel for plans, by their names, with the summary and needs of each."""
    found = []
    for name, (summary, needs) in plans.items():
        for role in ("seed", "second"):
            if needs.of(role).built_in or needs.of(role).modular:
                fits, why = _judge(known, needs, role)
                found.append(Advice(name, summary, role, fits, why))
    return found


def _judge(known: Known, needs: Needs, role: str) -> tuple[bool | None, tuple[str, ...]]:
    if "init" not in known.answers:
        return False, ("it does not start the first process of an initramfs",)
    image, symbols = known.image, known.symbols
    part, seen = needs.of(role), dict(_seen(known.answers))
    bad: list[str] = []
    unknown: list[str] = []
    for module, features in ((False, part.built_in), (True, part.modular)):
        for feature in features:
            what, word = load_features()[feature].what, seen.get(feature, Word.UNTESTED)
            as_module = _module_of(feature, symbols)
            if module and word == Word.NO and not known.modules:
                word = Word.UNTESTED  # there were none to load
            if word == Word.UNTESTED:
                built_in, modular = ((), (feature,)) if module else ((feature,), ())
                lacks = lacking(image, symbols, built_in=built_in, modular=modular)
                lacks = [each for each in lacks if each.strict]
                bad += [f"{each.what} ({each.hint})" for each in lacks]
                if not lacks and symbols is None:
                    unknown.append(f"it is not known whether it has {what}")
            elif word == Word.NO:
                bad.append(f"{what}: not built in{as_module}" if as_module else f"it lacks {what}")
            elif word == Word.MODULE and not module:
                bad.append(f"{what}: only as a module{as_module}")
    if needs.memory:
        lacks = lacking(image, symbols, memory=parse_size(needs.memory))
        bad += [each.what for each in lacks if each.strict]
    return False if bad else None if unknown else True, (*bad, *unknown)


def _seen(answers: Mapping[str, Answer]) -> Iterator[tuple[str, Word]]:
    yield from ((feature, Word.YES) for feature in _HAD)
    for question in load_questions().values():
        if question.feature and question.name in answers:
            yield question.feature, answers[question.name].word


def _module_of(feature: str, symbols: Mapping[str, str] | None) -> str:
    """Which symbols of the configuration are modules, in brackets."""
    wanted = (name for symbol in load_features()[feature].symbols for name in symbol.split("|"))
    found = [f"CONFIG_{name}" for name in wanted if symbols and symbols.get(name) == "m"]
    return f" ({', '.join(found)}=m)" if found else ""
