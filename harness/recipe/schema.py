"""The JSON schema of recipes, for editors: `python -m harness.recipe.schema > images/recipe.schema.json`.

Types, defaults and limits come from the tables of the recipe, descriptions from the tables of
`docs/recipes.md`: so this runs in a checkout only, and what it wrote is installed with the recipes.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, get_args

import msgspec

from harness.core.errors import ConfigError, explaining
from harness.recipe import (
    Boot,
    Content,
    Debian,
    Drive,
    Image,
    Kernels,
    MenuEntry,
    Native,
    NativeCall,
    Partition,
    RecipeDocument,
)

_PAGE = Path(__file__).parents[2] / "docs/recipes.md"
# The line of the page that begins what describes a table.
_HEADS: dict[type[msgspec.Struct], str] = {
    RecipeDocument: "## Top level",
    Debian: "### `[debian]`",
    Kernels: "### `[kernels]`",
    Boot: "### `[boot]`",
    Native: "### `[native]`",
    NativeCall: "Keys of `[[native.then]]`",
    Drive: "Keys of `[[boot.drive]]`",
    Partition: "#### `[[image.partition]]`",
    MenuEntry: "#### `[[image.menu]]`",
    **{kind: f"### `{kind.__struct_config__.tag}`" for kind in get_args(Image)},
    **{kind: f"**`{kind.__struct_config__.tag}`**" for kind in get_args(Content)},
}


def schema() -> str:
    """The schema as a JSON text (JSON Schema 2020-12)."""
    with explaining(ConfigError, f"cannot read {_PAGE}", "the schema is made in a checkout"):
        page = _PAGE.read_text("utf-8")
    tables = list(_HEADS)
    _, found = msgspec.json.schema_components(tables, ref_template="#/$defs/{name}")
    for table in tables:
        # Python 3.13 takes the indentation out of docstrings, and earlier ones do not.
        found[table.__name__]["description"] = inspect.cleandoc(found[table.__name__]["description"])
        _describe(found[table.__name__]["properties"], _HEADS[table], page)
    top = found.pop(RecipeDocument.__name__)
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **top,
        "title": "Recipe of the bootstrap harness",
        "$defs": found,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode() + "\n"


def _describe(properties: dict[str, Any], head: str, page: str) -> None:
    """Put the meanings of keys, from the table behind a line of the page, beside their types."""
    table = re.search(rf"^{re.escape(head)}[\s\S]*?((?:^\|.*\n)+)", page, re.MULTILINE)
    meanings = dict(
        re.findall(r"^\| `([^`]+)` \|.*?\|.*?\| (.*) \|$", table[1] if table else "", re.MULTILINE)
    )
    for key, value in properties.items():
        if key in {"add", "kind"}:  # they say which table it is
            continue
        if key not in meanings:
            raise ConfigError(f"{_PAGE} does not describe {key} below {head}")
        if value.get("default", "") is None:  # absent in Python, and TOML has no null
            value.update(*(kind for kind in value.pop("anyOf") if kind != {"type": "null"}))
            del value["default"]
        value["description"] = re.sub(r"`|\[([^]]*)\]\([^)]*\)", r"\1", meanings[key])


if __name__ == "__main__":
    print(schema(), end="")  # noqa: T201 - it is what the program is for
