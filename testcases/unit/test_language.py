"""The language of code and documents: plain words, and a first line that says what a module is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = [path for path in sorted((ROOT / "harness").rglob("*.py")) if "_data" not in path.parts]
TEXTS = [*MODULES, *sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]

# Words behind which a sentence hides who does what.
VAGUE = re.compile(r"\b(nobody|somebody|whoever|whatever)\b", re.IGNORECASE)


def test_sentences_say_who_does_what() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        for _ in VAGUE.findall(line)
    ]
    assert len(found) < 10, "\n".join(found)


def test_the_first_line_of_a_module_says_what_it_is() -> None:
    found = []
    for path in MODULES:
        first = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
        if not 1 <= len(first.split()) <= 12:
            found.append(f"{path.relative_to(ROOT)}: {first or 'no docstring'}")
    assert found == []
