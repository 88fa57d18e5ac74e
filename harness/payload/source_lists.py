r"""What a tree downloads: the lists of every era, line by line.

The formats, as the trees' own scripts read them:

- "sources" (lib/sysgeneral.py of October 2022 to lib/generator.py of 2024): `URL SHA256 [NAME]`;
- "typed-sources" (lib/generator.py of 2025): `f URL SHA256 [NAME]` and `g GITURL~REF URL|_ SHA256 [NAME]`,
  where `git` stands for `g` as well, and lines without a type are read as above;
- "get-file" (sysa.py of 2021): calls of `self.get_file(URL or [URL, …], mkbuild=…, output=NAME or [NAME, …])`
  with hashes in a file of `SHA256  NAME` lines. Packages are directories called like the first file.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.payload.era import Distfiles

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[^/\s\x00-\x1f]+")
_BUILD = re.compile(r"build: +(\S+)")


class Distfile(msgspec.Struct, frozen=True):
    """A file that a tree needs and does not have in it."""

    name: str  # what it is called in the guest and on mirrors
    sha256: str  # in hex
    urls: tuple[str, ...]  # where it comes from, best first; empty where only mirrors have it
    packages: tuple[str, ...]  # who needs it, in the order of the lists
    group: str  # the name of the `Distfiles` that list it: the stage that needs it
    git: str = ""  # repository and revision that it was made from, where the list says so


class Line(msgspec.Struct, frozen=True):
    """One entry of a list, as it stands there."""

    package: str
    name: str
    sha256: str
    url: str
    git: str = ""


class Call(msgspec.Struct, frozen=True):
    """A call of `get_file` in a script of 2021."""

    package: str  # directory of the package, below that of the system
    files: tuple[tuple[str, str], ...]  # names of what it downloads, with their addresses
    build: bool  # whether a directory `build` is made for it


def read(tree: Path, wanted: Distfiles) -> tuple[Distfile, ...]:
    """All that one entry of an era's `distfiles` lists in a tree, each file once, in the order of need."""
    if wanted.format == "get-file":
        lines = list(_called(tree, wanted))
    else:
        lines = [line for path in _lists(tree, wanted) for line in _listed(tree, path)]
    return _merged(tree, lines, wanted.name)


def parse_line(text: str, package: str) -> Line | None:
    """Read a line of a "sources" or "typed-sources" list; None for an empty one or a comment.

    Raises:
        ValueError: It is none; the error says why.
    """
    words = text.split()
    if not words or words[0].startswith("#"):
        return None
    git = ""
    if words[0] in {"f", "file"}:
        words = words[1:]
    elif words[0] in {"g", "git"}:
        if len(words) < 3:
            raise ValueError("a line of type g has a repository, an address and a sha256")
        git, words = words[1], words[2:]
    if "#" in words[2:]:  # a comment, where a name could stand
        words = words[: words.index("#")]
    if len(words) < 2:
        raise ValueError("an address and a sha256 are wanted")
    url, sha256 = words[0], words[1].lower()
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{words[1]!r} is no sha256")
    if url == "_":
        url = ""
    elif not urlsplit(url).scheme:
        raise ValueError(f"{url!r} is no address")
    name = words[2] if len(words) > 2 else url.rpartition("/")[2]
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise ValueError(f"{name!r} is no name of a file")
    return Line(package, name, sha256, url, git)


def calls(path: Path) -> tuple[Call, ...]:
    """The calls of `get_file` in a script, in order."""
    try:
        module = ast.parse(_text(path))
    except SyntaxError as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self.get_file":
            try:
                found.append((node.lineno, _call(node)))
            except (ValueError, TypeError, LookupError) as error:
                raise ConfigError(f"{path}:{node.lineno}: get_file is not called as it should be") from error
    return tuple(call for _, call in sorted(found, key=lambda item: item[0]))


def steps(path: Path) -> Iterator[str]:
    """The lines of a steps manifest that say something."""
    lines = _text(path).splitlines()
    return (line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))


def built_package(line: str) -> str:
    """The package that a line of a steps manifest builds; "" for every other line."""
    match = _BUILD.match(line)
    return match[1] if match else ""


def _lists(tree: Path, wanted: Distfiles) -> list[Path]:
    if not wanted.manifest:
        return sorted(tree.glob(wanted.lists))
    found: dict[Path, None] = {}
    for line in steps(tree / wanted.manifest):
        if wanted.before and re.search(wanted.before, line):
            break
        if package := built_package(line):
            path = tree / wanted.lists.replace("*", package)
            if path.is_file():
                found[path] = None
    return list(found)


def _listed(tree: Path, path: Path) -> Iterator[Line]:
    for number, words in enumerate(_text(path).splitlines(), start=1):
        try:
            line = parse_line(words, path.parent.name)
        except ValueError as error:
            where = f"{path.relative_to(tree)}:{number}"
            raise ConfigError(f"{tree}: {where}: {error}", hint="`git diff` shows what changed") from error
        if line is not None:
            yield line


def _called(tree: Path, wanted: Distfiles) -> Iterator[Line]:
    sums = _sums(tree / wanted.sums)
    for path in sorted(tree.glob(wanted.lists)):
        for call in calls(path):
            for name, url in call.files:
                # By substring, as the scripts do it.
                sha256 = next((known for listed, known in sums.items() if name in listed), "")
                if not sha256:
                    raise ConfigError(f"{tree / wanted.sums} has no hash of {name}")
                yield Line(call.package, name, sha256, url)


def _sums(path: Path) -> Mapping[str, str]:
    found = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        match = re.fullmatch(r"([0-9a-f]{64})\s+(\S+)", line.strip())
        if match:
            found[match[2]] = match[1]
        elif line.strip():
            raise ConfigError(f"{path}:{number}: {line!r} is no sha256 with a name")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def _call(node: ast.Call) -> Call:
    given = {word.arg: ast.literal_eval(word.value) for word in node.keywords}
    positional = [ast.literal_eval(argument) for argument in node.args]
    urls: str | list[str] = given["url"] if "url" in given else positional[0]
    urls = [urls] if isinstance(urls, str) else list(urls)
    outputs = given.get("output")
    outputs = [outputs] if isinstance(outputs, str) else outputs
    names = outputs or [url.rpartition("/")[2] for url in urls]
    files = tuple((name, url) for name, url in zip(names, urls, strict=True))
    # What the scripts call a package: its file's name without suffix, and without .tar before it.
    package = (names[0].rpartition(".")[0] or names[0]).removesuffix(".tar")
    return Call(package, files, build=bool(given.get("mkbuild")))


def _merged(tree: Path, lines: list[Line], group: str) -> tuple[Distfile, ...]:
    found: dict[str, Distfile] = {}
    for line in lines:
        known = found.get(line.name)
        if known is not None and known.sha256 != line.sha256:
            message = f"{tree}: {line.package} and {known.packages[0]} want different files {line.name}"
            raise ConfigError(message, hint="the lists of the tree contradict each other")
        urls = known.urls if known else ()
        packages = known.packages if known else ()
        found[line.name] = Distfile(
            line.name,
            line.sha256,
            tuple(dict.fromkeys((*urls, *filter(None, [line.url])))),
            tuple(dict.fromkeys((*packages, line.package))),
            group,
            (known.git if known else "") or line.git,
        )
    return tuple(found.values())
