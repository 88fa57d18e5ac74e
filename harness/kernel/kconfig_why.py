"""Asks a kernel's Kconfig files why a configuration lacks a symbol.

Run as a program of its own: kconfiglib takes the source's place and settings from the environment, and runs
the compiler to learn what it can do.

Arguments: the source's directory, a `.config`, and names of symbols. It prints a JSON object of sentences by
symbol.
"""

from __future__ import annotations

import difflib
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import kconfiglib

_WIDEST = 6  # alternatives that are still read by people


class _Kconfig(kconfiglib.Kconfig):  # type: ignore[misc, unused-ignore] # it has no types
    """kconfiglib 14.1, with one word that it does not know yet."""

    def _open(self, filename: str, mode: str) -> Any:
        """Since Linux 6.1 MODULES says `modules` where `option modules` was before."""
        file = super()._open(filename, mode)
        if mode != "r":
            return file
        with file:
            return io.StringIO(re.sub(r"(?m)^(\s+)modules[ \t]*$", r"\1option modules", file.read()))


def reasons(source: Path, configuration: Path, symbols: list[str]) -> dict[str, str]:
    """Say for each symbol what it lacks, as the end of a sentence that begins with its name.

    Raises:
        kconfiglib.KconfigError: The files have a construct that kconfiglib does not know.
    """
    os.environ["srctree"] = str(source)  # noqa: SIM112 - kconfiglib's name for it
    kconfig = _Kconfig("Kconfig", warn=False)
    kconfig.load_config(str(configuration))
    return {name: _reason(kconfig, name) for name in symbols}


def _reason(kconfig: Any, name: str) -> str:
    symbol = kconfig.syms.get(name)
    if symbol is None or not symbol.nodes:
        close = difflib.get_close_matches(name, [s.name for s in kconfig.unique_defined_syms])
        return "is no symbol of this kernel" + (f" (did you mean {' or '.join(close)}?)" if close else "")
    if symbol.tri_value and (by := _selecting(kconfig, symbol, now=True)):
        return f"is switched on by {by}"
    missing = _unmet(kconfig, symbol.direct_dep)
    if missing:
        return f"needs {' and '.join(missing)}"
    if not any(node.prompt for node in symbol.nodes):
        by = _selecting(kconfig, symbol)
        return "cannot be asked for" + (f": it comes with {by}" if by else "")
    if symbol.choice is not None:
        return (
            f"is one of a choice, of which {symbol.choice.selection.name} was taken"
            if (symbol.choice.selection)
            else "is one of a choice that is not offered"
        )
    hidden = _unmet(kconfig, symbol.nodes[0].prompt[1]) if symbol.nodes[0].prompt else []
    return f"is offered only with {' and '.join(hidden)}" if hidden else "has its dependencies"


def _unmet(kconfig: Any, expression: Any, above: frozenset[str] = frozenset()) -> list[str]:
    """The parts of a dependency that are not met, and of what those are built on, the deepest last."""
    found: list[str] = []
    for part in kconfiglib.split_expr(expression, kconfiglib.AND):
        if kconfiglib.expr_value(part):
            continue
        text = kconfiglib.expr_str(part)
        if isinstance(part, kconfiglib.Symbol) and text not in above:
            deeper = _unmet(kconfig, part.direct_dep, above | {text}) if part.nodes else []
            if deeper:
                text += f" (which needs {' and '.join(deeper)})"
            elif not any(node.prompt for node in part.nodes) and (by := _selecting(kconfig, part)):
                text += f" (which comes with {by})"
        found.append(text.replace("&&", "and").replace("||", "or"))
    return list(dict.fromkeys(found))


def _selecting(kconfig: Any, symbol: Any, *, now: bool = False) -> str:
    """What selects a symbol; only what selects it now, if wanted."""
    names = [
        other.name
        for other in kconfig.unique_defined_syms
        for to, condition in other.selects
        if to is symbol and (not now or (other.tri_value and kconfiglib.expr_value(condition)))
    ]
    return (" and " if now else " or ").join(names[:_WIDEST]) + (
        " and others" if len(names) > _WIDEST else ""
    )


if __name__ == "__main__":
    print(json.dumps(reasons(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])))  # noqa: T201 - a program
