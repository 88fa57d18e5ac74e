"""stage0-posix: checks a checkout, and makes its recipe.

The layout is that of https://github.com/oriansj/stage0-posix: the submodule of an architecture holds its
scripts, and `ARCH.answers` the sha256 of what they build.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.recipe import Checkout, Content, Image, Recipe, Text, load_recipe
from harness.sources.committed import submodules_hint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_ANSWER = re.compile(r"(?P<sum>[0-9a-f]{64})  (?P<path>\S+)")
RECIPES = ("stage0-posix", "builder-hex0")
# Of each architecture: the kernel of the catalogue whose programs it can run.
_KERNELS = {"x86": "debian-6.1-i686", "AMD64": "debian-6.1-x86_64"}
_SUBMODULES = ("bootstrap-seeds", "M2libc", "M2-Planet", "M2-Mesoplanet", "mescc-tools", "mescc-tools-extra")
_HOOK = "after.kaem"
# What a script's words call that it makes: in the seed's scripts by directory, later by variable.
_MADE = re.compile(r"(?P<where>artifact|BUILDDIR\}|bin|BINDIR\})/(?P<name>[A-Za-z0-9_.+-]+)")


def load(name: str, tree: Path, *, arch: str, builder: Path | None, instrument: bool) -> Recipe:
    """The recipe that runs a checkout.

    Args:
        name: One of `RECIPES`.
        tree: The checkout.
        arch: "x86" or "AMD64", as stage0-posix calls them.
        builder: A checkout of builder-hex0, for the recipe of that name.
        instrument: Whether the tree's own hook is replaced by a script that prints the sha256 of all that
            was made.
    """
    if name == "builder-hex0" and arch != "x86":
        raise ConfigError("builder-hex0 runs programs for x86 only", hint="leave out --arch")
    if arch not in _KERNELS:
        message = f"of stage0-posix, {arch} is not run here"
        raise ConfigError(message, hint=f"choose one of {', '.join(_KERNELS)} with --arch")
    if name == "builder-hex0":
        builder = builder_of(name, builder)
    check(tree, arch)
    given = {"tree": str(tree.absolute()), "arch": arch, "other": "AMD64" if arch == "x86" else "x86"}
    if builder is not None:
        given["builder"] = str(builder.absolute())
    recipe = load_recipe(name, given)
    if (kernels := recipe.document.kernels) is not None:
        kernels = msgspec.structs.replace(kernels, seed=_KERNELS[arch])
        recipe = _changed(recipe, kernels=kernels)
    return _instrumented(recipe, tree, arch) if instrument else recipe


def builder_of(name: str, builder: Path | None) -> Path:
    """The checkout of builder-hex0 that a recipe needs.

    Raises:
        ConfigError: None is named.
    """
    if builder is None:
        raise ConfigError(
            f"the recipe {name} needs a checkout of builder-hex0, and none is named",
            hint="git clone https://github.com/ironmeld/builder-hex0, then name it with --builder DIR",
        )
    return builder.absolute()


def check(tree: Path, arch: str) -> None:
    """Make sure that a directory is a checkout of stage0-posix with all that an architecture needs."""
    answers = f"{arch.lower()}.answers"
    wanted = (f"kaem.{arch.lower()}", answers, _HOOK)
    missing = [name for name in wanted if not (tree / name).is_file()]
    if missing:
        what = f"{tree} is no checkout of stage0-posix: it has no {' and no '.join(missing)}"
        raise ConfigError(what, hint="git clone --recurse-submodules https://github.com/oriansj/stage0-posix")
    needed = (*_SUBMODULES, arch)
    absent = [name for name in needed if not (tree / name).is_dir() or not any((tree / name).iterdir())]
    if absent:
        which = "submodule is" if len(absent) == 1 else "submodules are"
        message = f"in {tree} the {which} not checked out: {', '.join(absent)}"
        raise ConfigError(message, hint=submodules_hint(tree, *absent))


def expected(tree: Path, arch: str) -> dict[str, str]:
    """The sha256 of each program, by absolute path, as the checkout's answers say."""
    path = tree / f"{arch.lower()}.answers"
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        match = _ANSWER.fullmatch(line)
        if match is None and line.strip():
            raise ConfigError(f"{path}, line {number}: {line!r} is no sha256 with the name of a file")
        if match is not None:
            found[f"/{match['path']}"] = match["sum"]
    if not found:
        message = f"{path} has no answers: nothing would be checked"
        raise ConfigError(message, hint="take the file anew from where the tree is from")
    return found


def products(tree: Path, arch: str) -> tuple[str, ...]:
    """Paths of all that the scripts of an architecture make, read from the scripts themselves, sorted."""
    scripts = [*sorted((tree / arch).glob("*.kaem")), tree / "mescc-tools-extra/mescc-tools-extra.kaem"]
    made = set()
    for script in scripts:
        text = script.read_text(encoding="utf-8", errors="replace") if script.is_file() else ""
        for line in text.splitlines():
            for match in _MADE.finditer(line.partition("#")[0]):
                kind = "artifact" if match["where"] in {"artifact", "BUILDDIR}"} else "bin"
                made.add(f"{arch}/{kind}/{match['name']}")
    return tuple(sorted(made))


def _instrumented(recipe: Recipe, tree: Path, arch: str) -> Recipe:
    """Put a script in place of the tree's hook; the tree itself stays as it is."""
    lines = [f"./{arch}/bin/sha256sum ./{name}" for name in products(tree, arch)]
    text = "\n".join(["#! /usr/bin/env bash", "# Added by the harness: --instrument.", *lines, ""])

    def changed(image: Image) -> Iterator[Content]:
        for content in image.contents if hasattr(image, "contents") else ():
            if isinstance(content, Checkout):
                yield msgspec.structs.replace(content, drop=(*content.drop, _HOOK))
            else:
                yield content
        yield Text(path=_HOOK, text=text)

    images = tuple(msgspec.structs.replace(image, contents=tuple(changed(image))) for image in recipe.images)
    return _changed(recipe, image=images)


def _changed(recipe: Recipe, **tables: object) -> Recipe:
    return msgspec.structs.replace(recipe, document=msgspec.structs.replace(recipe.document, **tables))
