"""Programs with one or two items changed, to see what compilers make of them."""

from __future__ import annotations

import random
import re

ITEM = re.compile(
    r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)+\'|[A-Za-z_]\w*|\d+|<<=|>>=|->|\+\+|--|&&|\|\||[-+*/%&|^<>=!]=|<<|>>|.',
    re.DOTALL,
)
ODD = ["0", "08", "#", "@", "\\", '"', "'", "//", "/*", "\0", "\2", "\xff", ".", "goto", "for", "struct late"]


def mutants(program: str, count: int, seed: int) -> list[bytes]:
    """Variants of a program: items left out, put in, replaced or exchanged."""
    chance = random.Random(seed)  # noqa: S311
    items = ITEM.findall(program)
    others = sorted({item for item in items if item.strip()}) + ODD
    found = []
    for _ in range(count):
        changed = list(items)
        for _ in range(chance.randrange(1, 3)):
            at, other = chance.randrange(len(changed)), chance.randrange(len(changed))
            kind = chance.randrange(4)
            if kind == 0:
                del changed[at]
            elif kind == 1:
                changed.insert(at, chance.choice(others))
            elif kind == 2:
                changed[at] = chance.choice(others)
            else:
                changed[at], changed[other] = changed[other], changed[at]
        found.append("".join(changed).encode("latin-1"))
    return found
