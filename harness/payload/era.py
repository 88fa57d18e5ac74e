"""Eras of a bootstrap: what its checkouts have and need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from harness.core import paths, toml
from harness.core.errors import ConfigError

ModeName = Literal["qemu", "builder-hex0", "chroot", "bwrap", "board"]


class Distfiles(toml.Table, frozen=True):
    """Where an era says which files it downloads."""

    name: str  # what these are called: the stage that needs them
    # how they are listed; `harness.payload.source_lists` has the formats
    format: Literal["sources", "typed-sources", "get-file"]
    lists: str  # shell pattern of the lists' paths; of the Python script for "get-file"
    directory: str  # where the era's own scripts keep what they downloaded
    sums: str = ""  # for "get-file": where the hashes are
    manifest: str = ""  # a file of `build: PACKAGE` lines that says which packages count, and in which order
    before: str = ""  # pattern of the manifest's line from which on files are not needed any more


class Submodule(toml.Table, frozen=True):
    """A submodule without which an era does not start."""

    path: str  # where it is
    proof: str  # shell pattern of a file in it that shows that it is checked out


class Config(toml.Table, frozen=True):
    """The configuration that the era's own script would write beside the steps."""

    text: str  # lines `KEY=value`; placeholders are filled in
    # a script; keys that it does not mention are left out: they came later than this tree
    keys_from: str = ""
    newline: bool = True  # whether the last line ends


class Instrument(toml.Table, frozen=True):
    """How `--instrument` has a tree tell more: a script that its own hook runs, and the plan that asks it.

    The script itself is among the recipe's contents (`assembly`).
    """

    plan: str  # the plan that is followed then
    # words that files of the tree must have, by the files' paths: they show that the hook is there
    needs: dict[str, str]


class Mode(toml.Table, frozen=True):
    """One way to run an era's trees."""

    recipe: dict[str, Any]  # a recipe's tables, with contents of eras among its contents (`assembly`)
    # replaces the recipe's table `boot` when the seed kernel is a file of the user's: such a kernel comes
    # without modules
    own_kernel: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it
    # placeholders for the configuration
    settings: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    # words that certain files of a tree must have for it to offer the mode, by the files' paths: where it
    # came later than the era, or its layout did
    saying: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    submodule: tuple[Submodule, ...] = ()  # what must be checked out beside what the era needs
    instrument: Instrument | None = None  # what `--instrument` changes; None where there is no hook


class _EraDocument(toml.Table, frozen=True):
    """An era as it stands in its file."""

    summary: str  # one line about it
    payload: str  # what it is an era of, such as "live-bootstrap"
    # shell patterns of paths that a tree of it has, each at least once
    present: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    mode: dict[ModeName, Mode]  # the ways to run it
    like: str = ""  # the era whose keys it has where it leaves them out
    refused: dict[ModeName, str] = {}  # noqa: RUF012 - msgspec copies it; why it has not a certain mode
    absent: tuple[str, ...] = ()  # shell patterns of paths that it has not
    saying: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it; words that its files have, by their paths
    lacking: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it; words that its files have not
    manifest: str = ""  # the file of `build: PACKAGE` lines that says what is built, in order
    stale: tuple[str, ...] = ()  # shell patterns of what an earlier run by the tree's own scripts leaves
    submodule: tuple[Submodule, ...] = ()  # what must be checked out
    distfiles: tuple[Distfiles, ...] = ()  # what it downloads
    config: Config | None = None  # the configuration that it reads, if any


class Era(_EraDocument, frozen=True, kw_only=True):
    """An era that has been read."""

    name: str  # the file's name without suffix
    path: Path  # the TOML file


def era_files() -> dict[str, Path]:
    """The eras that come with the project, by name."""
    return {path.stem: path for path in sorted((paths.data_root() / "images/eras").glob("*.toml"))}


def load_era(path: Path) -> Era:
    """Read an era; what it leaves out of the era that it is like is as there."""
    document = toml.typed(path, _whole(path), _EraDocument)
    return Era(**msgspec.structs.asdict(document), name=path.stem, path=path)


def _whole(path: Path, behind: tuple[str, ...] = ()) -> dict[str, Any]:
    """All keys of an era: its own, and those of the era that it is like; of modes, each counts as a whole."""
    own = toml.read(path)
    name = own.get("like", "")
    if name == "":
        return own
    other = path.with_name(f"{name}.toml")
    if not other.is_file() or name in (*behind, path.stem):
        raise ConfigError(f"{path}: key like: there is no other era {name!r} beside it")
    base = _whole(other, (*behind, path.stem))
    modes = {**base.get("mode", {}), **own.get("mode", {})}
    return {**base, **own, "mode": modes}


def load_eras() -> tuple[Era, ...]:
    """All eras that come with the project, by name."""
    return tuple(load_era(path) for path in era_files().values())
