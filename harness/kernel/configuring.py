"""Configures a kernel from fragments, and checks the result.

All that no fragment asks for is off.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core import programs
from harness.core.errors import ConfigError
from harness.kernel import config, fragments
from harness.kernel.fragments import OFF
from harness.kernel.making import WANTED
from harness.kernel.source import version_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.kernel.fragments import Lost, Wish
    from harness.kernel.making import Making


def configure(making: Making, wishes: Sequence[Wish], what: str, bits: int) -> Path:
    """Write the `.config` of a build, and make sure that it has what was wished for.

    `allnoconfig` takes the wishes and leaves everything else off, unlike `olddefconfig`, which takes the
    default for what a wish makes visible. That one follows nevertheless: what it changes, any `make` would.

    Returns:
        The path of the `.config`.
    """
    wanted = making.objects / WANTED
    wanted.write_text(fragments.text_of(wishes), "utf-8")
    making.run("allnoconfig", f"KCONFIG_ALLCONFIG={wanted}")
    making.run("olddefconfig")
    found = making.objects / ".config"
    lost = fragments.lost(wishes, config.parse(found.read_text("utf-8")))
    if lost:
        why = _reasons(making, found, [each.wish.symbol for each in lost], bits)
        sentences = "; ".join(_sentence(each, why) for each in lost)
        hint = "add what is missing to a fragment, or take the symbol out; `harness kernel build` tries again"
        raise ConfigError(
            f"the configuration of {what} lacks what its fragments ask for: {sentences}", hint=hint
        )
    return found


def _sentence(lost: Lost, why: dict[str, str]) -> str:
    wish = lost.wish
    if lost.got == OFF:
        became = "was not switched on"
    elif wish.value == OFF:
        became = "was not switched off"
    else:
        became = f"became {lost.got}, not {wish.value}"
    reason = why.get(wish.symbol, "")
    return f"{wish.symbol} ({wish.origin}) {became}" + (f": it {reason}" if reason else "")


def _reasons(making: Making, configuration: Path, symbols: list[str], bits: int) -> dict[str, str]:
    """What the symbols need, by symbol; nothing where kconfiglib does not understand these Kconfig files."""
    environment = {
        **making.environment,
        # The top Makefile exports these to Kconfig.
        "ARCH": "i386" if bits == 32 else "x86_64",
        "SRCARCH": "x86",
        "KERNELVERSION": version_of(making.source),
        "CC": "gcc",
        "LD": "ld",
        "AR": "ar",
        "NM": "nm",
        "OBJCOPY": "objcopy",
        "HOSTCC": "gcc",
        "HOSTCXX": "g++",
        "PAHOLE": "pahole",
        "RUSTC": "rustc",
        "BINDGEN": "bindgen",
        "CLANG_FLAGS": "",
        "CONFIG_SHELL": "sh",
        "KCONFIG_CONFIG": ".config",
    }
    program = Path(__file__).with_name("kconfig_why.py")
    command = [sys.executable, "-I", *map(str, (program, making.source, configuration)), *symbols]
    asked = programs.call(command, environment=environment, cwd=making.source)
    if asked.returncode != 0:
        return {}
    found: dict[str, str] = json.loads(asked.stdout)
    return found
