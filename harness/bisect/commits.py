"""The commits of a checkout as candidates of a bisection."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.sources.committed import ask, git, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GITLINK = "160000"
_SHORT = 12  # letters of a commit that are shown


class Commits(msgspec.Struct, frozen=True):
    """The commits of a checkout."""

    tree: Path  # the checkout; only read
    first_parent: bool = False  # whether merges count as one step, and what they brought is not gone into

    def commit(self, text: str, option: str) -> str:
        """The full name of the commit that a person means."""
        inside = ask(self.tree, "rev-parse", "--git-dir") if self.tree.is_dir() else None
        if inside is None or inside.returncode != 0:
            if inside is not None and b"dubious" in inside.stderr:
                raise refusal(self.tree, inside)
            hint = "name one with --tree DIR: its history is searched"
            raise ConfigError(f"{self.tree} is no git checkout", hint=hint)
        result = ask(self.tree, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
        if result.returncode != 0:
            hint = "take a commit, tag or branch that `git log` knows there; `git fetch` may bring it"
            raise ConfigError(f"{option} {text}: {self.tree} has no such commit", hint=hint)
        return result.stdout.decode().strip()

    def check(self, good: str, bad: str) -> None:
        """Find out whether one end follows on the other."""
        if good == bad:
            raise ConfigError(f"--good and --bad are the same commit {good[:_SHORT]}", hint="name two")
        if ask(self.tree, "merge-base", "--is-ancestor", good, bad).returncode != 0:
            base = ask(self.tree, "merge-base", good, bad).stdout.decode().strip()
            hint = "name an older good commit"
            if base == bad:
                hint = "the good one has to be the older; are the two exchanged?"
            elif base:
                hint = f"{base[:_SHORT]} is in both their pasts: try it as --good"
            raise ConfigError(f"the commit {bad[:_SHORT]} does not follow on {good[:_SHORT]}", hint=hint)

    def between(self, good: Sequence[str], bad: str) -> Sequence[str]:
        """Those besides `bad` that may be the first bad one, the one that halves them best first."""
        words = ["rev-list", "--bisect-all", *(["--first-parent"] if self.first_parent else [])]
        # A good commit's whole past is good, also where only first parents are looked at.
        lines = git(self.tree, *words, bad, "--not", *good, "--").decode().splitlines()
        return [commit for commit in (line.split(" ")[0] for line in lines) if commit != bad]

    def nearest(self, good: Sequence[str], bad: str) -> str:
        """The good commit that the fewest others lie behind, up to the bad one."""
        return min(good, key=lambda one: int(git(self.tree, "rev-list", "--count", f"{one}..{bad}")))

    def title(self, commit: str) -> str:
        """A commit in one line: its short name, day and subject."""
        words = ["log", "-1", f"--abbrev={_SHORT}", "--format=%h %cs %s", commit]
        return git(self.tree, *words).decode("utf-8", "replace").strip()

    def check_out(self, commit: str, place: Path) -> tuple[str, ...]:
        """Lay out a commit with its submodules in a directory; what could not be: commits that are not there.

        Objects are shared with the checkout, so nothing is fetched and nothing written there.
        """
        return tuple(_lay_out(commit, place, _object_stores(self.tree)))


def _lay_out(commit: str, place: Path, stores: Sequence[Path]) -> Iterator[str]:
    _borrow(place, stores)
    git(place, "checkout", "--quiet", "--force", "--detach", commit)
    git(place, "clean", "-ffdxq")
    for row in git(place, "ls-tree", "-r", "-z", commit).split(b"\0"):
        facts, _, path = os.fsdecode(row).partition("\t")
        if not facts.startswith(_GITLINK):
            continue
        pinned = facts.split(" ")[2]
        if ask(place, "cat-file", "-e", f"{pinned}^{{commit}}").returncode == 0:
            yield from (f"{path}/{missing}" for missing in _lay_out(pinned, place / path, stores))
        else:
            yield f"{path} at {pinned[:_SHORT]}"


def _object_stores(tree: Path) -> tuple[Path, ...]:
    """Where the objects of a checkout and of all its submodules lie, of those too that other commits have."""
    words = ("rev-parse", "--path-format=absolute")
    homes = [
        Path(os.fsdecode(git(tree, *words, which).removesuffix(b"\n")))
        for which in ("--git-dir", "--git-common-dir")
    ]
    found = [home / "objects" for home in homes]
    found += [path for home in homes for path in sorted(home.glob("modules/**/objects"))]
    found += sorted(tree.glob("**/.git/objects"))  # submodules that were cloned by hand
    return tuple(dict.fromkeys(path for path in found if path.is_dir()))


def _borrow(place: Path, stores: Sequence[Path]) -> None:
    """Make a repository that finds all objects in these places."""
    place.mkdir(parents=True, exist_ok=True)
    if (place / ".git").exists():
        return
    git(place, "init", "--quiet")
    for key, value in (
        ("core.autocrlf", "false"),
        ("core.hooksPath", os.devnull),
    ):  # not the user's
        git(place, "config", key, value)
    lines = "".join(f"{path}\n" for path in stores)
    (place / ".git/objects/info/alternates").write_text(lines, encoding="utf-8", errors="surrogateescape")
