"""TOML files into typed values; errors name file and key."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from msgspec import inspect

T = TypeVar("T")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """Base of all TOML tables: frozen, typed, and closed to unknown keys."""


def load(path: Path, kind: type[T], given: Mapping[str, str] | None = None) -> T:
    """Read a TOML file as a value of the given type; `given` fills in names in braces, but not in keys."""
    document = read(path)
    return typed(path, _filled(document, given) if given else document, kind)


def read(path: Path) -> dict[str, Any]:
    """Read a TOML file as plain values."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def typed(path: Path, document: object, kind: type[T]) -> T:
    """Make a value of the given type of what was read from a file."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        problem, hint = _name_key(str(error), kind)
        raise ConfigError(f"{path}: {problem}", hint=hint) from error


def _filled(value: object, given: Mapping[str, str]) -> object:
    match value:
        case str():
            return re.sub(r"\{([a-z0-9-]+)\}", lambda match: given.get(match[1], match[0]), value)
        case list():
            return [_filled(item, given) for item in value]
        case dict():
            return {key: _filled(item, given) for key, item in value.items()}
    return value


def _name_key(message: str, kind: Any) -> tuple[str, str]:
    """Turn msgspec's "… - at `$.image[0].size`" into "key image[0].size: …", and a hint."""
    hint = "docs/ describes the keys of each file"
    match = re.fullmatch(r"(?P<what>.*?)(?: - at (?:`key` in )?`(?P<where>[^`]+)`)?", message, re.DOTALL)
    if match is None:  # the pattern accepts any text
        return message, hint
    what = match["what"]
    where = (match["where"] or "$").removeprefix("$").removeprefix(".")
    if missing := re.fullmatch(r"Object missing required field `([^`]+)`", what):
        return f"key {f'{where}.' if where else ''}{missing[1]} is missing", hint
    if unknown := re.fullmatch(r"Object contains unknown field `([^`]+)`", what):
        if keys := _keys(kind, where):
            hint = f"the keys {f'of {where} ' if where else ''}are {', '.join(keys)}"
        return f"key {f'{where}.' if where else ''}{unknown[1]} is not known", hint
    wrong = re.fullmatch(r"Invalid (?:enum )?value (.*)", what, re.DOTALL)
    if wrong and (choice := _choice(kind, where)):
        return f"key {where}: {wrong[1]} is none of {', '.join(choice)}", hint
    what = what[0].lower() + what[1:]
    return f"key {where}: {what}" if where else what, hint


def _keys(kind: Any, where: str) -> list[str]:
    """The keys of the table at "image[0]"; empty where it is one of several kinds of table."""
    from msgspec import inspect

    match [each for each in _types(kind, where) if isinstance(each, inspect.StructType)]:
        case [table]:
            return [field.encode_name for field in table.fields]
    return []


def _choice(kind: Any, where: str) -> list[str]:
    """What may stand at "image[0].compression"; empty where that is no choice of texts."""
    from msgspec import inspect

    found: list[str] = []
    for each in _types(kind, where):
        match each:
            case inspect.LiteralType():
                found += map(str, each.values)
            case inspect.EnumType():
                found += (str(member.value) for member in each.cls)
    outside, _, last = where.rpartition(".")
    for each in _types(kind, outside):
        if isinstance(each, inspect.StructType) and each.tag_field == last:  # says which struct it is
            found.append(str(each.tag))
    return list(dict.fromkeys(found))  # what several images may contain is there several times


def _types(kind: Any, where: str) -> list[inspect.Type]:
    """The types that a value at "image[0].compression" may be of, unions taken apart."""
    from msgspec import inspect

    kinds: list[inspect.Type] = [inspect.type_info(kind)]
    for step in (*re.findall(r"[^.\[\]]+|\[[^\]]*\]", where), None):
        inside: list[inspect.Type] = []
        for each in kinds:  # grows meanwhile
            match each:
                case inspect.UnionType():
                    kinds += each.types
                case _ if step is None:
                    inside.append(each)
                case inspect.StructType():
                    inside += (field.type for field in each.fields if field.encode_name == step)
                case inspect.ListType() | inspect.VarTupleType():
                    inside.append(each.item_type)
                case inspect.DictType():
                    inside.append(each.value_type)
        kinds = inside
    return kinds
