"""Makes a recipe from a checkout, its era and a mode.

An era's recipe has, beside the contents of all recipes, some of its own that become several of those:

- `{ add = "distfiles", of = "sysa", path = "sysa/distfiles" }`: the files that the era's list names;
- `{ add = "package-directories", of = "sysa", path = "after" }`: for the trees of 2021, the directories of
  the packages that the script names, with their distfiles below `src`;
- `{ add = "config", path = "sysa/bootstrap.cfg" }`: the configuration;
- `{ add = "path-list", path = "sysa/list.txt", behind = "{tree}/first.txt", below = ["sysa"] }`: the lines of
  a file of the tree, and behind them the absolute paths of all files that the contents before it put there;
  with `itself = true` its own, too.
- `{ add = "instrument", path = "steps/after/1-harness.sh", source = "payload/instrument.sh" }`: a
  script, with `--instrument` only.

In texts, `{tree}` is the checkout and `{jobs}` the number of build jobs, beside the mode's own settings.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.core.errors import ConfigError
from harness.formats.names import matches
from harness.payload import source_lists
from harness.payload.tree import SourceTree, says
from harness.recipe import Recipe, RecipeDocument, problems
from harness.sources import committed
from harness.sources.checkout import look

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.payload.era import Distfiles, Era, Instrument, Mode, ModeName
    from harness.payload.source_lists import Distfile

_KEY = re.compile(r"[A-Z_]+(?==)")


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may choose about an era's recipe."""

    jobs: int = 1  # how many build jobs the guest runs at a time, and processors that it has
    own_kernel: bool = False  # whether the seed kernel is a file of the user's
    without: frozenset[str] = frozenset()  # SHA-256 of distfiles that are left out
    dirty: bool = False  # whether files that git does not track get in
    disk_size: str = ""  # size of the disk instead of the era's, as recipes write it
    instrument: bool = False  # whether a script is added that opens a shell at the end


def assemble(tree: SourceTree, mode: ModeName, choices: Choices | None = None) -> Recipe:
    """The recipe that makes a tree's images in a mode, and boots them."""
    chosen = choices or Choices()
    wanted = tree.mode(mode)
    tables = dict(wanted.recipe)
    if chosen.own_kernel and wanted.own_kernel:
        tables["boot"] = wanted.own_kernel
    if chosen.instrument:
        tables["plan"] = hook(tree, mode).plan
    filled = _Filling(tree, wanted, chosen).value(tables)
    era = tree.era
    try:
        document = msgspec.convert(filled, RecipeDocument)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{era.path}: key mode.{mode}.recipe: {error}", hint="docs/live-bootstrap.md describes the keys"
        ) from error
    recipe = Recipe(era.name, era.path, document)
    for key, problem in problems(recipe):
        message = f"{era.path}: key mode.{mode}.recipe.{key}: {problem}"
        raise ConfigError(message, hint=f"{tree.path} may be damaged; see docs/live-bootstrap.md")
    return recipe


def hook(tree: SourceTree, mode: ModeName) -> Instrument:
    """What `--instrument` means for a tree."""
    wanted = tree.mode(mode)
    hint = "leave out --instrument; what the scripts themselves check is checked all the same"
    if wanted.instrument is None:
        raise ConfigError(
            f"{tree.path} is {tree.era.name}, which has no hook for a script of --instrument in mode {mode}",
            hint=hint,
        )
    for name, word in wanted.instrument.needs.items():
        if not says(tree.path / name, word):
            message = f"{tree.path} has no hook for a script of --instrument: {name} says nothing of {word}"
            raise ConfigError(message, hint=hint)
    return wanted.instrument


def config_values(tree: SourceTree, mode: ModeName, choices: Choices) -> dict[str, str]:
    """The configuration's keys and values, as the guest will read them."""
    text = config_text(tree.era, _Filling(tree, tree.mode(mode), choices))
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value.strip('"') for key, _, value in pairs}


def groups_of(tree: SourceTree, mode: ModeName) -> tuple[str, ...]:
    """The names of the distfiles that go into a mode's images; the guest fetches the others, if at all."""
    found: dict[str, None] = {}
    for content in _contents(tree.mode(mode).recipe):
        if content.get("add") in {"distfiles", "package-directories"}:
            found[str(content.get("of"))] = None
    return tuple(found)


def added(tree: SourceTree, mode: ModeName) -> tuple[str, ...]:
    """The paths of what `--instrument` puts into a mode's images."""
    contents = _contents(tree.mode(mode).recipe)
    return tuple(str(content["path"]) for content in contents if content.get("add") == "instrument")


def _contents(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, dict):
        if "add" in value:
            yield value
        for inner in value.values():
            yield from _contents(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _contents(inner)


class _Filling(msgspec.Struct, frozen=True):
    tree: SourceTree
    mode: Mode
    choices: Choices

    def value(self, value: Any) -> Any:
        """A table, list or text with everything filled in."""
        if isinstance(value, dict):
            return {key: self.value(inner) for key, inner in value.items()}
        if isinstance(value, list):
            filled: list[Any] = []
            for inner in value:
                filled.extend(self._item(inner, filled))
            return filled
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        """A text with its placeholders filled in; other braces stay."""
        known = {"tree": str(self.tree.path), "jobs": str(self.choices.jobs), **self.mode.settings}
        if self.choices.disk_size:
            known["disk_size"] = self.choices.disk_size
        return re.sub(r"\{([a-z_]+)\}", lambda match: known.get(match[1], match[0]), text)

    def _item(self, item: Any, before: Sequence[Any]) -> Iterator[Any]:
        kind = item.get("add") if isinstance(item, dict) else None
        if kind == "distfiles":
            yield {"add": "directory", "path": item.get("path")}
            for distfile in self._listed(item):
                yield _download(distfile, str(item.get("path", "")))
        elif kind == "package-directories":
            yield from self._packages(item)
        elif kind == "config":
            yield {"add": "text", "path": item.get("path"), "text": config_text(self.tree.era, self)}
        elif kind == "instrument":
            if self.choices.instrument:
                yield {"add": "file", "path": item.get("path"), "source": item.get("source"), "mode": 0o755}
        elif kind == "path-list":
            yield {"add": "text", "path": item.get("path"), "text": self._path_list(item, before)}
        elif kind == "checkout":
            yield {**self.value(item), **self._checked_out()}
        else:
            yield self.value(item)

    def _listed(self, item: Mapping[str, Any]) -> Sequence[Distfile]:
        found = source_lists.read(self.tree.path, _group(self.tree.era, item))
        return [distfile for distfile in found if distfile.sha256 not in self.choices.without]

    def _packages(self, item: Mapping[str, Any]) -> Iterator[Any]:
        """Package directories of 2021, as `get_file` made them: PKG, PKG/src/TARBALL, maybe PKG/build."""
        group = _group(self.tree.era, item)
        below = str(item["path"])
        files = {distfile.name: distfile for distfile in self._listed(item)}
        packages: dict[str, None] = {}
        for script in sorted(self.tree.path.glob(group.lists)):
            for call in source_lists.calls(script):
                packages[call.package] = None
                yield {"add": "directory", "path": f"{below}/{call.package}/src"}
                if call.build:
                    yield {"add": "directory", "path": f"{below}/{call.package}/build"}
                for name, _ in call.files:
                    if name in files:
                        yield _download(files[name], f"{below}/{call.package}/src")
        yield {
            "add": "checkout",
            "source": self.text(str(item["source"])),
            "path": below,
            "keep": list(packages),
            "drop": list(item.get("drop", ())),
            **self._checked_out(),
        }

    def _path_list(self, item: Mapping[str, Any], before: Sequence[Any]) -> str:
        """A list of files as the trees' scripts of 2023 write one for the filesystem of the next kernel."""
        first = Path(self.text(str(item["behind"]))).read_text("utf-8")
        below = tuple(f"{name}/" for name in item["below"])
        listed = [item, *before] if item.get("itself") else before
        paths = sorted(path for content in listed for path in _files(content) if path.startswith(below))
        return first + "".join(f"/{path}\n" for path in paths)

    def _checked_out(self) -> dict[str, object]:
        """What goes for all checkouts; the submodules that are needed were looked for with the tree.

        Every era's own script follows links when it copies (shutil.copytree, distutils.copy_tree).
        """
        return {"dirty": self.choices.dirty, "partial": True, "follow": True}


def config_text(era: Era, filling: _Filling) -> str:
    """The configuration as the era's own script would write it for this mode."""
    if era.config is None:
        return ""
    text = filling.text(era.config.text)
    lines = text.strip().splitlines()
    if era.config.keys_from:
        known = (filling.tree.path / era.config.keys_from).read_text("utf-8", errors="replace")
        lines = [
            line for line in lines if (key := _KEY.match(line)) and re.search(rf"""["']{key[0]}=""", known)
        ]
    return "\n".join(lines) + ("\n" if era.config.newline and lines else "")


def _group(era: Era, item: Mapping[str, Any]) -> Distfiles:
    for group in era.distfiles:
        if group.name == item.get("of"):
            return group
    raise ConfigError(f"{era.path}: there are no distfiles {item.get('of')!r}")


def _files(content: Mapping[str, Any]) -> Iterator[str]:
    """The paths of the files that a content, once filled in, puts into an image."""
    path = str(content["path"]) if "path" in content else ""
    if content["add"] == "checkout":
        drop = tuple(content.get("drop", ()))

        def left(name: str) -> bool:
            return bool(drop) and matches(name, drop)

        found = look(Path(content["source"]), dirty=bool(content["dirty"]), partial=True, leave=left)
        files = committed.followed(found.files)
        names = (file.path for file in files if not stat.S_ISDIR(file.mode) and not left(file.path))
        yield from (f"{path}/{name}".lstrip("/") for name in names)
    elif content["add"] != "directory":
        yield path


def _download(distfile: Distfile, directory: str) -> dict[str, object]:
    return {
        "add": "download",
        "path": f"{directory}/{distfile.name}",
        "url": (*distfile.urls, distfile.git.partition("~")[0])[0],
        "sha256": distfile.sha256,
    }
