"""The input files of a script, named by their origin."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness import recipe as r
from harness.core.digest import sha256_of
from harness.core.errors import ConfigError, explaining
from harness.image import contents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.formats.tree import Entry
    from harness.image.factory import Made
    from harness.image.ingredients import Ingredients
    from harness.recipe import Content

_TEXT_MAX = 1 << 16  # bytes of a text that stands in the script itself
_ODD = re.compile(r"[^ -~]|\\")  # what sha256sum would escape, and what is not the same in every locale
_SPECIAL = re.compile(r'([$`"])')  # within double quotes; there are no backslashes


class Input(msgspec.Struct, frozen=True):
    """A file that lies beside the script."""

    name: str  # its path there
    content: Path | bytes  # where it is here, or its bytes
    size: int  # in bytes
    sha256: str  # of its content, in hex


class Given(msgspec.Struct, frozen=True):
    """The content of an entry, as a script has it."""

    word: str  # what names it in the shell; "" for a text
    text: str  # a text that stands in the script
    content: Path | bytes  # where it is here, or its bytes
    size: int  # in bytes

    def behind(self, command: str) -> str:
        """A command with this as its last argument: the file's name, or "-" and the text behind it."""
        return f"{command} - <<'END'\n{self.text}END" if self.text else f"{command} {self.word}"


class Inputs:
    """All that a script needs, found out while its images are looked at.

    `roots` are directories of the user's, by the names that they have beside the script: what lies in them
    keeps its place there.
    """

    def __init__(self, roots: Mapping[str, Path]) -> None:
        self._roots = {name: Path(os.path.realpath(root)) for name, root in roots.items()}
        self._wanted: dict[Path | str, str] = {}
        self._by_name: dict[str, Input] = {}
        self._given: dict[Path | str, Given] = {}

    @property
    def files(self) -> list[Input]:
        """What has to lie beside the script, by name."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def learn(self, added: Iterable[Content], given: Ingredients) -> None:
        """Take the names of all that some contents add."""
        for content in added:
            for entry in contents.entries(content, given):
                if entry.is_file and not entry.link:
                    name = self._name(content, entry, given)
                    self._wanted.setdefault(_key(entry.content), _ODD.sub("_", name))

    def name(self, file: Path, name: str) -> None:
        """Take the name of a file that is in no contents."""
        self._wanted.setdefault(file, name)

    def made(self, made: Made, name: str) -> None:
        """Take an image that the script makes, for those that it goes into."""
        path = made.artifact.path
        self._given[path] = Given(in_shell(f"$out/{name}"), "", path, made.artifact.size)

    def of(self, content: Path | bytes) -> Given:
        """What the script has for the content of a file."""
        key = _key(content)
        if key not in self._given:
            self._given[key] = self._found(content, key)
        return self._given[key]

    def _found(self, content: Path | bytes, key: Path | str) -> Given:
        if isinstance(content, bytes) and (text := _text(content)) is not None:
            return Given("", text, content, len(content))
        if isinstance(content, bytes):
            size, sha256 = len(content), hashlib.sha256(content).hexdigest()
        else:
            with explaining(ConfigError, f"cannot read {content}"):
                size, sha256 = content.stat().st_size, sha256_of(content)
        name = self._wanted.get(key) or self._name_in_root(content) or f"made/{sha256[:16]}"
        if name in self._by_name and self._by_name[name].sha256 != sha256:
            name += f"-{sha256[:8]}"
        self._by_name[name] = Input(name, content, size, sha256)
        return Given(in_shell(f"$in/{name}", but="$in"), "", content, size)

    def _name(self, content: Content, entry: Entry, given: Ingredients) -> str:
        last = entry.path.rpartition("/")[2]
        match content:
            case r.Packages():
                place = given.recipe.debian
                closure = given.context.debian.closure(place.suite, place.architecture, content.names)
                package = next(each for each in closure if str(each) == entry.source)
                return f"packages/{package.file_name.removesuffix('.deb')}/{entry.path}"
            case r.Checkout() | r.File() | r.Files():
                return self._name_of_own(content, entry, given)
            case r.Download() | r.SourcePackage():
                return f"downloads/{last}"
            case r.Tarball():
                return f"unpacked/{content.url.rpartition('/')[2]}/{entry.path}"
            case r.Modules() | r.KernelFile():
                name = last if isinstance(content, r.Modules) else "vmlinuz"
                return f"kernels/{release(given.kernel(content.kernel).image.version)}/{name}"
        return f"made/{last}"

    def _name_of_own(self, content: r.Checkout | r.File | r.Files, entry: Entry, given: Ingredients) -> str:
        source = given.recipe.base / content.source
        name = source.resolve().name
        if (own := self._name_in_root(entry.content)) is not None:
            return own
        if isinstance(content, r.Files):
            return f"files/{entry.source}"
        if isinstance(content, r.File):
            beside = ".." not in content.source and not Path(content.source).is_absolute()
            return f"files/{content.source if beside else name}"
        directory = Path(os.path.realpath(source))
        if isinstance(entry.content, Path):
            place = Path(os.path.realpath(entry.content))
            if place.is_relative_to(directory):
                return f"checkouts/{name}/{place.relative_to(directory)}"
        return f"checkouts/{name}/{entry.path}"

    def place_of(self, source: Path) -> str:
        """A source's place beside the script, in words: nothing in a script tells of this machine's disks."""
        return self._name_in_root(source) or source.name

    def _name_in_root(self, content: Path | bytes) -> str | None:
        """The name of what lies in one of the user's directories."""
        if isinstance(content, bytes):
            return None
        place = Path(os.path.realpath(content))
        for name, root in self._roots.items():
            if place.is_relative_to(root):
                return f"{name}/{place.relative_to(root)}"
        return None


def release(version: str) -> str:
    """The directory of a kernel that says this version; a file of the user's own may say none."""
    return (version.split() or ["of-no-version"])[0]


def in_shell(text: str, *, but: str = "$out") -> str:
    """A word in double quotes in which one variable is put in, and nothing else."""
    rest = text.removeprefix(but)
    return '"' + (but if rest != text else "") + _SPECIAL.sub(r"\\\1", rest) + '"'


def _key(content: Path | bytes) -> Path | str:
    return content if isinstance(content, Path) else hashlib.sha256(content).hexdigest()


def _text(content: bytes) -> str | None:
    """The content as a text of whole lines that can stand in a script; None for all else."""
    if len(content) > _TEXT_MAX or not content.endswith(b"\n"):
        return None
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        return None
    plain = all(letter.isprintable() or letter in "\n\t" for letter in text)
    return text if plain and "END" not in text.splitlines() else None
