"""The JSON schema of recipes: up to date, good for our recipes, and of use against wrong ones."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from harness.core import paths
from harness.recipe import recipe_files
from harness.recipe.schema import schema
from testcases.unit.test_recipe import GOOD, MORE

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

FILE = paths.data_root() / "images/recipe.schema.json"


def validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # takes seconds

    return Draft202012Validator(json.loads(schema()))


def problems(text: str) -> list[str]:
    document: dict[str, Any] = tomllib.loads(text)
    return [error.message for error in validator().iter_errors(document)]


def test_the_file_is_up_to_date() -> None:
    assert FILE.read_text("utf-8") == schema(), "python -m harness.recipe.schema > images/recipe.schema.json"


def test_it_is_a_good_schema() -> None:
    validator().check_schema(json.loads(schema()))


def test_every_key_is_described() -> None:
    document = json.loads(schema())
    for table in [document, *document["$defs"].values()]:
        for key, value in table["properties"].items():
            assert key in {"add", "kind"} or value["description"], key
            assert "null" not in json.dumps(value), "TOML has none"


@pytest.mark.parametrize("name", recipe_files())
def test_our_recipes_follow_it_and_name_it(name: str) -> None:
    path = recipe_files()[name]
    text = path.read_text("utf-8")
    assert problems(text) == []
    first = text.partition("\n")[0]
    assert first.startswith("#:schema ")
    assert (path.parent / first.removeprefix("#:schema ")).resolve() == FILE.resolve()


@pytest.mark.parametrize("text", [GOOD, MORE])
def test_good_recipes_follow_it(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('summary = "a recipe"\n', ""),
        ('suite = "bookworm"', "suite = 12"),
        ('suite = "bookworm"', 'suite = "book worm"'),
        ('suite = "bookworm"', 'suite = "bookworm"\nmirror = ""'),
        ('kind = "disk"', 'kind = "tape"'),
        ('size = "8M"\n', ""),
        ('add = "file"', 'add = "fiel"'),
        ("mode = 0o755", 'mode = "755"'),
        ("mode = 0o755", "mode = 0o17777"),
        ('type = "char", ', ""),
        ('type = "char"', 'type = "tape"'),
        ("minor = 3", "minor = 3, miner = 4"),
    ],
)
def test_wrong_recipes_do_not(old: str, new: str) -> None:
    assert old in GOOD
    assert problems(GOOD.replace(old, new))
