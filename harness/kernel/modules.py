"""Finds the kernel modules that an initramfs needs, in load order.

Debian's kernel packages carry no modules.dep (depmod makes it at installation), so we read what depmod reads:
the `.modinfo` section of each ELF module, NUL-separated `key=value` strings that the kernel's
include/linux/module.h (MODULE_ALIAS, MODULE_SOFTDEP) and scripts/mod/modpost.c (depends) write.
"""

from __future__ import annotations

import io
import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.formats import compression
from harness.formats.elf import damage

if TYPE_CHECKING:
    from collections.abc import Sequence

# Software dependencies name algorithms such as "crc32c"; what provides them lives here.
_PROVIDERS = re.compile(r"kernel/(crypto|lib|arch/[^/]+/(crypto|lib))/")


# How modules may be compressed (scripts/Makefile.modinst), and by which bytes that shows.
_SUFFIXES = {"": "none", ".gz": "gzip", ".xz": "xz", ".zst": "zstd"}
_MODULE_MAX = 512 << 20  # bytes: no module is larger, however small its file


class Module(msgspec.Struct, frozen=True):
    """A module to load."""

    name: str  # its name as lsmod shows it, with underscores
    path: Path  # the file that it comes from, perhaps compressed
    data: bytes  # the module itself, decompressed: what `insmod` takes on any kernel


def closure(root: Path, wanted: Sequence[str]) -> list[Module]:
    """Find modules with everything they depend on, in the order in which they load.

    Hard dependencies (`depends=`) always come first. Soft ones (`softdep=`) are added when some module here
    provides them, `pre:` before and `post:` after; where several provide one name, only the generic one,
    which runs on every CPU, is taken (modprobe loads them all). What the kernel has built in is left out.

    Args:
        root: A `lib/modules/<release>` directory.
        wanted: Module names, '-' and '_' being equal; "name?" is left out where the kernel lacks it.

    Returns:
        Each module once; the same input gives the same order.

    Raises:
        ConfigError: No such directory or module, a dependency that is missing, a file that is no module.
    """
    tree = _ModuleIndex(root)
    order = _Order(tree)
    for word in wanted:
        name = _normal(word.removesuffix("?"))
        if name in tree.paths:
            order.load(name)
        elif name not in tree.builtin and not word.endswith("?"):
            import difflib

            close = difflib.get_close_matches(name, sorted({*tree.paths, *tree.builtin}))
            hint = f"did you mean {' or '.join(close)}? " if close else ""
            hint += f"write {word + '?'!r} if only some kernels have it"
            if not tree.paths:
                message = f"the kernel of {root} has no modules, and {word!r} is not built in"
                raise ConfigError(message, hint=f"{hint}; or build the kernel with that driver")
            raise ConfigError(f"there is no kernel module {word!r} in {root}", hint=hint)
    return [Module(name, tree.paths[name], _read(tree.paths[name])) for name in order.names]


def release(root: Path) -> str:
    """The release of Linux that the modules in a `lib/modules/<release>` directory are built for."""
    tree = _ModuleIndex(root)
    name = min(tree.paths)
    magic = tree.info(name).vermagic
    if not magic:
        raise ConfigError(f"{tree.paths[name]} does not say which kernel it is for (vermagic)")
    return magic.split()[0]


class _Info(msgspec.Struct, frozen=True):
    """What a module says in `.modinfo`; names as they stand there."""

    depends: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    aliases: frozenset[str]
    vermagic: str = ""


class _ModuleIndex:
    """The modules of one kernel: found by file name, read only when asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths: dict[str, Path] = {}
        for directory, _, files in os.walk(root / "kernel"):
            for file in files:
                stem, dot, suffix = file.partition(".ko")
                if dot and suffix in _SUFFIXES:
                    path = Path(directory, file)
                    # Twice the same name: the same one wins on every host.
                    self.paths[_normal(stem)] = min(path, self.paths.get(_normal(stem), path))
        # A kernel without modules still says what is built in.
        if not self.paths and not (root / "modules.builtin").is_file():
            hint = "give a lib/modules/<release> directory"
            raise ConfigError(f"there are no kernel modules below {root / 'kernel'}", hint=hint)
        self.builtin = {_normal(Path(line).stem) for line in self._list("modules.builtin", "\n")}
        self._info: dict[str, _Info] = {}

    def info(self, name: str) -> _Info:
        if name not in self._info:
            self._info[name] = _modinfo(self.paths[name])
        return self._info[name]

    def dependencies(self, name: str) -> list[str]:
        """Return the modules that must be loaded before this one."""
        names = [_normal(each) for each in self.info(name).depends]
        for each in names:
            if each not in self.paths and each not in self.builtin:
                hint = "the kernel package is incomplete, or mixed with another"
                raise ConfigError(f"module {name} needs {each}, which {self.root} lacks", hint=hint)
        return [each for each in names if each in self.paths]

    def provider(self, wanted: str) -> str | None:
        """Return the module that a software dependency asks for; None if there is none, or it is built in."""
        name = _normal(wanted)
        if name in self.paths:
            return name
        aliases = {name, f"crypto_{name}"}
        if name in self.builtin or not aliases.isdisjoint(self._builtin_aliases):
            return None
        found = [each for each in self._providers if not aliases.isdisjoint(self.info(each).aliases)]
        return min(found, key=lambda each: (not each.endswith("_generic"), each), default=None)

    @cached_property
    def _providers(self) -> list[str]:
        return [
            n for n, path in self.paths.items() if _PROVIDERS.match(path.relative_to(self.root).as_posix())
        ]

    @cached_property
    def _builtin_aliases(self) -> set[str]:
        """Aliases of what is built in, "module.alias=name" in a file of kernels since 5.2."""
        facts = (fact.partition(".alias=") for fact in self._list("modules.builtin.modinfo", "\0"))
        return {_normal(alias) for _, key, alias in facts if key}

    def _list(self, name: str, separator: str) -> list[str]:
        """Return the parts of a text file beside the modules; none where a kernel has no such file."""
        try:
            text = (self.root / name).read_text("utf-8", "replace")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(f"cannot read {self.root / name}: {error.strerror}") from error
        return [part for part in text.split(separator) if part]


class _Order:
    """Modules in the order in which they load."""

    def __init__(self, tree: _ModuleIndex) -> None:
        self._tree = tree
        self._started: list[str] = []  # a path from a wanted module down its dependencies
        self._later: list[str] = []
        self.names: dict[str, None] = {}

    def load(self, name: str) -> None:
        """Add a wanted module after everything it needs."""
        self._add(name)
        while self._later:
            self._add(self._later.pop(0))

    def _add(self, name: str) -> None:
        if name in self.names:
            return
        if name in self._started:
            circle = " -> ".join([*self._started[self._started.index(name) :], name])
            raise ConfigError(
                f"kernel modules of {self._tree.root} depend on each other in a circle: {circle}"
            )
        self._started.append(name)
        info = self._tree.info(name)
        self._add_soft(info.before)
        for each in self._tree.dependencies(name):
            self._add(each)
        self._started.pop()
        self.names[name] = None
        self._add_soft(info.after)

    def _add_soft(self, names: Sequence[str]) -> None:
        for provider in filter(None, map(self._tree.provider, names)):
            # What needs a module that is still waiting for its own dependencies cannot come before it.
            if self._needs(provider).isdisjoint(self._started):
                self._add(provider)
            else:
                self._later.append(provider)

    def _needs(self, name: str) -> set[str]:
        """Return a module and everything it depends on."""
        found = {name}
        queue = [name]
        while queue:
            new = set(self._tree.dependencies(queue.pop())) - found
            found |= new
            queue += new
        return found


def _modinfo(path: Path) -> _Info:
    """Read a module's `.modinfo` section."""
    from elftools.elf.elffile import ELFFile

    try:
        section = ELFFile(io.BytesIO(_read(path))).get_section_by_name(".modinfo")
        facts = section.data().decode("utf-8", "replace").split("\0") if section else None
    except damage() as error:
        raise ConfigError(f"{path} is a damaged kernel module: {error}") from error
    if facts is None:
        raise ConfigError(f"{path} is no kernel module: it has no .modinfo section")
    depends: list[str] = []
    soft: dict[str, list[str]] = {"pre:": [], "post:": []}
    aliases = set()
    vermagic = ""
    for fact in facts:
        key, _, value = fact.partition("=")
        if key == "depends":
            depends += filter(None, value.split(","))
        elif key == "alias":
            aliases.add(_normal(value))
        elif key == "vermagic":
            vermagic = value
        elif key == "softdep":
            kind = ""
            for word in value.split():
                if word in soft:
                    kind = word
                elif kind:
                    soft[kind].append(word)
    return _Info(tuple(depends), tuple(soft["pre:"]), tuple(soft["post:"]), frozenset(aliases), vermagic)


def _read(path: Path) -> bytes:
    """Return a module, decompressed."""
    kind = _SUFFIXES[path.name.partition(".ko")[2]]
    try:
        if kind == "none":
            return path.read_bytes()
        with path.open("rb") as file:
            found = compression.detect(file.read(2))
            if found != kind:
                raise ConfigError(f"cannot read kernel module {path}: it is no {kind} file")
            unpacked = io.BytesIO()
            compression.unpack(file, 0, unpacked, limit=_MODULE_MAX)
            return unpacked.getvalue()
    except compression.StreamError as error:
        raise ConfigError(f"cannot read kernel module {path}: {error}") from None
    except OSError as error:
        raise ConfigError(f"cannot read kernel module {path}: {error.strerror}") from error


def _normal(name: str) -> str:
    return name.replace("-", "_")
