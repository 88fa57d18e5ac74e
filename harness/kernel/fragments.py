"""Fragments of kernel configurations: read, composed, applied and checked.

A fragment has the lines of a `.config` (Documentation/kbuild/kconfig.rst of the kernel): `CONFIG_X=value`, or
`# CONFIG_X is not set` for what has to stay off. All other comments are for people. What no
fragment asks for is off.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core import paths, programs
from harness.core.errors import ConfigError
from harness.kernel import config
from harness.kernel.make import WANTED, KernelMake
from harness.kernel.source import version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


OFF = "n"
_SET = re.compile(r'CONFIG_(\w+)=(y|n|-?\d+|0[xX][0-9a-fA-F]+|"(?:[^"\\]|\\.)*")')
_UNSET = re.compile(r"# CONFIG_(\w+) is not set")


class Setting(msgspec.Struct, frozen=True):
    """A symbol that a fragment asks for."""

    symbol: str  # its name without `CONFIG_`
    value: str  # "y", "n", a number, or a string in double quotes, as in a `.config`
    origin: str  # where that stands: "disk.config:12"

    @property
    def line(self) -> str:
        """The line of a `.config` that says so."""
        if self.value == OFF:
            return f"# CONFIG_{self.symbol} is not set"
        return f"CONFIG_{self.symbol}={self.value}"


class Lost(msgspec.Struct, frozen=True):
    """A setting that was not granted."""

    setting: Setting  # the setting
    got: str  # the value that the configuration has instead; "n" also where it lacks the symbol


def fragment_files() -> dict[str, Path]:
    """The project's own fragments, by name."""
    return {path.stem: path for path in sorted((paths.data_root() / "kernels/fragments").glob("*.config"))}


def compose(names: Sequence[str], beside: Path) -> tuple[Setting, ...]:
    """Put fragments together, sorted by symbol. A later fragment has the last word on a symbol.

    `names` are those of the project's fragments, or paths that end in `.config`, relative to `beside`.
    """
    settings: dict[str, Setting] = {}
    for name in names:
        settings |= parse(*_text(name, beside))
    return tuple(settings[symbol] for symbol in sorted(settings))


def parse(text: str, origin: str) -> dict[str, Setting]:
    """Read one fragment."""
    settings: dict[str, Setting] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{origin}:{number}"
        words = line.strip()
        if match := _SET.fullmatch(words):
            setting = Setting(match[1], match[2], where)
        elif match := _UNSET.fullmatch(words):
            setting = Setting(match[1], OFF, where)
        elif not words or words.startswith("#"):
            continue
        elif words.endswith("=m"):
            hint = "write =y: kernels are built without modules, so that one file says what runs"
            raise ConfigError(f"{where}: {words} asks for a module", hint=hint)
        else:
            hint = 'write CONFIG_X=y, CONFIG_X=12, CONFIG_X="text" or # CONFIG_X is not set, a line each'
            raise ConfigError(f"{where}: {words!r} is no line of a kernel configuration", hint=hint)
        before = settings.get(setting.symbol)
        if before and before.value != setting.value:
            message = f"{where}: {setting.line} contradicts {before.line} of {before.origin}"
            raise ConfigError(message, hint="keep one of them")
        settings[setting.symbol] = setting
    return settings


def text_of(settings: Iterable[Setting]) -> str:
    """The settings as one fragment."""
    return "".join(f"{setting.line}\n" for setting in settings)


def lost(settings: Iterable[Setting], values: Mapping[str, str]) -> list[Lost]:
    """The settings that a configuration does not grant."""
    return [
        Lost(setting, values.get(setting.symbol, OFF))
        for setting in settings
        if values.get(setting.symbol, OFF) != setting.value
    ]


def _text(name: str, beside: Path) -> tuple[str, str]:
    known = fragment_files()
    path = beside / name if name.endswith(".config") else known.get(name)
    if path is None:
        hint = f"there are: {', '.join(known)}; or give the path of a .config file"
        raise ConfigError(f"there is no fragment {name!r} of a kernel configuration", hint=hint)
    try:
        return path.read_text("utf-8"), path.name
    except OSError as error:
        raise ConfigError(f"cannot read the fragment {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the fragment {path} is no text: {error}") from error


def configure(make: KernelMake, settings: Sequence[Setting], what: str, bits: int) -> Path:
    """Write the `.config` of a build, make sure that it has what was wished for, and return its path.

    `allnoconfig` takes the settings and leaves everything else off, unlike `olddefconfig`, which takes the
    default for what one makes visible. That one follows nevertheless: what it changes, any `make` would.
    """
    wanted = make.objects / WANTED
    wanted.write_text(text_of(settings), "utf-8")
    make.run("allnoconfig", f"KCONFIG_ALLCONFIG={wanted}")
    make.run("olddefconfig")
    found = make.objects / ".config"
    ungranted = lost(settings, config.parse(found.read_text("utf-8")))
    if ungranted:
        why = _reasons(make, found, [each.setting.symbol for each in ungranted], bits)
        sentences = "; ".join(_sentence(each, why) for each in ungranted)
        hint = "add what is missing to a fragment, or take the symbol out; `harness kernel build` tries again"
        raise ConfigError(
            f"the configuration of {what} lacks what its fragments ask for: {sentences}", hint=hint
        )
    return found


def _sentence(lost: Lost, why: dict[str, str]) -> str:
    setting = lost.setting
    if lost.got == OFF:
        became = "was not switched on"
    elif setting.value == OFF:
        became = "was not switched off"
    else:
        became = f"became {lost.got}, not {setting.value}"
    reason = why.get(setting.symbol, "")
    return f"{setting.symbol} ({setting.origin}) {became}" + (f": it {reason}" if reason else "")


def _reasons(make: KernelMake, configuration: Path, symbols: list[str], bits: int) -> dict[str, str]:
    """What the symbols need, by symbol; nothing where kconfiglib does not understand these Kconfig files."""
    environment = {
        **make.environment,
        # The top Makefile exports these to Kconfig.
        "ARCH": "i386" if bits == 32 else "x86_64",
        "SRCARCH": "x86",
        "KERNELVERSION": version_of(make.source),
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
    command = [sys.executable, "-I", *map(str, (program, make.source, configuration)), *symbols]
    asked = programs.call(command, environment=environment, cwd=make.source)
    if asked.returncode != 0:
        return {}
    found: dict[str, str] = json.loads(asked.stdout)
    return found
