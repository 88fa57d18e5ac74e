"""Reads and writes derivations (.drv) of Nix and Guix.

A derivation is one term, as the ATerm library prints it: `Derive([outputs],[inputs],[sources],"system",
"builder",[arguments],[environment])`. The manual of Nix describes it under "Derivation ATerm format".
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)


def _listed(item: str) -> str:
    return rf"\[(?:{item}(?:,{item})*)?\]"


# What is left when each string is one "s".
_STRINGS = _listed("s")
_SKELETON = re.compile(
    rf"Derive\(({_listed(r'[(]s,s,s,s[)]')}),({_listed(rf'[(]s,{_STRINGS}[)]')}),({_STRINGS}),s,s,({_STRINGS}),"
    rf"({_listed(r'[(]s,s[)]')})\)"
)
_INPUT = re.compile(r"\(s,\[([s,]*)\]\)")


class Output(msgspec.Struct, frozen=True):
    """What a derivation makes."""

    path: str  # where in the store; "" where the content decides that
    algorithm: str = ""  # of a hash that is known beforehand, such as "sha256"; "r:" is in front of a NAR's
    hash: str = ""  # that hash, in hexadecimal; "" for an output that is not fixed


class Derivation(msgspec.Struct, frozen=True):
    """What is built, from what and how."""

    outputs: Mapping[str, Output]  # by name; "out" is the main one
    inputs: Mapping[str, tuple[str, ...]]  # derivations by path, and which of their outputs are needed
    sources: tuple[str, ...]  # paths in the store that no derivation makes
    system: str  # which machine can build it, such as "x86_64-linux"
    builder: str  # the program that builds it
    arguments: tuple[str, ...]  # its arguments
    environment: Mapping[str, str]  # its environment, and what is meant for the daemon


def parse(data: bytes) -> Derivation:
    """Read a derivation.

    Raises:
        ValueError: It is none, is cut off, or is of a kind that has no fixed plan; the message says which.
    """
    text = data.decode("utf-8", "surrogateescape")
    if text.startswith("DrvWithVersion("):
        raise ValueError("it is a dynamic derivation, which only its daemon can build")
    if "\0" in text:
        raise ValueError("it is no derivation: it has a NUL")
    parts = _STRING.split(text)
    skeleton, found = "s".join(parts[::2]), parts[1::2]
    match = _SKELETON.fullmatch(skeleton)
    if match is None or skeleton.count("s") != len(found):
        what = "it is cut off" if text.startswith("Derive(") else "it is no derivation"
        raise ValueError(f"{what}: it does not read Derive([outputs],[inputs],[sources],…)")
    strings = map(_unescaped, found)
    outputs, inputs, sources, arguments, environment = match.groups()
    return Derivation(
        outputs={name: Output(*islice(strings, 3)) for name in islice(strings, outputs.count("("))},
        inputs={next(strings): tuple(islice(strings, names.count("s"))) for names in _INPUT.findall(inputs)},
        sources=tuple(islice(strings, sources.count("s"))),
        system=next(strings),
        builder=next(strings),
        arguments=tuple(islice(strings, arguments.count("s"))),
        environment={name: next(strings) for name in islice(strings, environment.count("("))},
    )


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    # A backslash of its own waits as a NUL, which no derivation has.
    plain = text.replace("\\\\", "\0").replace('\\"', '"').replace("\\n", "\n")
    plain = plain.replace("\\r", "\r").replace("\\t", "\t")
    if "\\" in plain:
        raise ValueError(f"it is no derivation: a string has the escape \\{plain.partition(chr(92))[2][:1]}")
    return plain.replace("\0", "\\")


def serialise(derivation: Derivation) -> bytes:
    """The bytes of a derivation's file."""
    outputs = (
        f"({_row((name, output.path, output.algorithm, output.hash))})"
        for name, output in sorted(derivation.outputs.items())
    )
    inputs = (
        f"({_quoted(path)},[{_row(sorted(names))}])" for path, names in sorted(derivation.inputs.items())
    )
    environment = sorted(derivation.environment.items(), key=lambda pair: _bytes(pair[0]))
    return _bytes(
        f"Derive([{','.join(outputs)}],[{','.join(inputs)}],[{_row(sorted(derivation.sources))}],"
        f"{_quoted(derivation.system)},{_quoted(derivation.builder)},[{_row(derivation.arguments)}],"
        f"[{','.join(f'({_row(pair)})' for pair in environment)}])"
    )


def _row(strings: Iterable[str]) -> str:
    return ",".join(map(_quoted, strings))


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
