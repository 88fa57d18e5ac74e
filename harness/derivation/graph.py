"""Reads a derivation with all that it is built from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.formats import aterm, store_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.formats.aterm import Derivation, Output

STORES = ("/nix/store", "/gnu/store")


class Graph(msgspec.Struct, frozen=True):
    """A derivation and all that it is built from."""

    root: str  # its path in the store
    store: str  # the store that all paths are in
    derivations: Mapping[str, Derivation]  # all of them by path, each behind those that it needs
    place: Path  # the directory of this host that has the store's paths

    def on_host(self, path: str) -> Path:
        """Where a path of the store lies on this host, if it does."""
        return self.place / path.rpartition("/")[2]

    def has(self, path: str) -> bool:
        """Whether the store on this host has a path."""
        place = self.on_host(path)
        return place.exists() or place.is_symlink()

    def outputs(self) -> dict[str, Output]:
        """Every output by its path."""
        every = (derivation.outputs.values() for derivation in self.derivations.values())
        return {output.path: output for outputs in every for output in outputs}

    def by_hash(self) -> dict[str, str]:
        """Every output and source by the hash in its path."""
        sources = {path for derivation in self.derivations.values() for path in derivation.sources}
        return {path.rpartition("/")[2][: store_path.HASH]: path for path in {*self.outputs(), *sources}}

    def makers(self) -> dict[str, str]:
        """The derivation of each output, by the output's path."""
        return {
            output.path: path
            for path, derivation in self.derivations.items()
            for output in derivation.outputs.values()
        }


def read(path: Path, place: Path | None = None) -> Graph:
    """Read a derivation's file and those of all that it is built from.

    Args:
        path: The file, which is called HASH-NAME.drv.
        place: Where the others are; without it, beside the file.

    Raises:
        ConfigError: A file is missing, cut off or foreign, or they need each other in a circle.
    """
    place = path.absolute().parent if place is None else place
    first = _load(path, path.name)
    store = _store_of(path.name, first)
    root = f"{store}/{path.name}"
    found = {root: first}
    todo = [root]
    while todo:
        above = todo.pop()
        for needed in found[above].inputs:
            if needed not in found:
                found[needed] = _load(_place_of(needed, store, place, above), needed)
                todo.append(needed)
    return Graph(root, store, {name: found[name] for name in _ordered(root, found)}, place)


def _place_of(needed: str, store: str, place: Path, above: str) -> Path:
    directory, _, name = needed.rpartition("/")
    if directory != store:
        raise ConfigError(f"{above} needs {needed}, which is of another store than {store}")
    file = place / name
    if not file.is_file():
        raise ConfigError(
            f"{above} needs {name}, which is not in {place}",
            hint="name the store, or an export of the derivation with all that it needs, with --store",
        )
    return file


def _load(file: Path, name: str) -> Derivation:
    try:
        derivation = aterm.parse(file.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"cannot read {file}: {error.strerror}", hint="give a file HASH-NAME.drv"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{file} {error}") from error
    if any(not output.path for output in derivation.outputs.values()):
        raise ConfigError(
            f"{name} has outputs whose paths depend on their content",
            hint="evaluate it without content-addressed derivations",
        )
    for output in derivation.outputs.values():
        if output.hash and output.algorithm.removeprefix("r:") not in store_path.SIZES:
            raise ConfigError(f"{name} has an output with a hash of an unknown kind: {output.algorithm!r}")
    if derivation.environment.get("__impure") == "1":
        raise ConfigError(f"{name} is an impure derivation: it is built with the network, and anew each time")
    return derivation


def _store_of(name: str, first: Derivation) -> str:
    for output in first.outputs.values():
        store = output.path.rpartition("/")[0]
        if store not in STORES:
            raise ConfigError(f"{name} is of the store {store}, and only {' and '.join(STORES)} are known")
        return store
    raise ConfigError(f"{name} has no outputs")


def _ordered(root: str, found: Mapping[str, Derivation]) -> Iterator[str]:
    """All derivations, each behind those that it needs, and otherwise as its file lists them."""
    waiting: list[tuple[str, Iterator[str]]] = [(root, iter(found[root].inputs))]
    begun, done = {root}, set[str]()
    while waiting:
        above, inputs = waiting[-1]
        for needed in inputs:
            if needed not in begun:
                begun.add(needed)
                waiting.append((needed, iter(found[needed].inputs)))
                break
            if needed not in done:
                raise ConfigError(f"{above} needs {needed}, which needs {above} itself: a circle")
        else:
            waiting.pop()
            done.add(above)
            yield above


def wrong_paths(graph: Graph) -> Iterator[str]:
    """What is wrong with paths of derivations and of their outputs, in sentences.

    A derivation's path follows from its text, and the path of an output from the derivation that makes it.
    """
    known: dict[str, str] = {}
    for path, derivation in graph.derivations.items():
        name = store_path.split(path)[2].removesuffix(".drv")
        text = aterm.serialise(derivation)
        references = {*derivation.inputs, *derivation.sources}
        if store_path.of_text(text, graph.store, f"{name}.drv", references) != path:
            yield f"{path} is not what its path stands for: it was changed or damaged"
        known[path], wanted = _hashes(derivation, known, graph.store, name)
        for output, found in derivation.outputs.items():
            if found.path != wanted[output]:
                yield f"{path} makes {found.path}, and by its content it should be {wanted[output]}"


def _hashes(
    derivation: Derivation, known: Mapping[str, str], store: str, name: str
) -> tuple[str, dict[str, str]]:
    """The hash by which others name a derivation, and the paths that its outputs should have."""
    outputs = derivation.outputs
    fixed = outputs.get("out")
    if len(outputs) == 1 and fixed is not None and fixed.hash:
        text = f"fixed:out:{fixed.algorithm}:{fixed.hash}:{fixed.path}"
        path = store_path.of_fixed(fixed.algorithm, fixed.hash, store, name)
        return hashlib.sha256(text.encode()).hexdigest(), {"out": path}
    inputs: dict[str, tuple[str, ...]] = {}
    for needed, names in derivation.inputs.items():
        inputs[known[needed]] = tuple({*inputs.get(known[needed], ()), *names})
    full = msgspec.structs.replace(derivation, inputs=inputs)
    blank = msgspec.structs.replace(
        full,
        outputs=dict.fromkeys(outputs, aterm.Output("")),
        environment={key: "" if key in outputs else value for key, value in derivation.environment.items()},
    )
    digest = hashlib.sha256(aterm.serialise(blank)).hexdigest()
    paths = {output: store_path.of_output(digest, store, name, output) for output in outputs}
    return hashlib.sha256(aterm.serialise(full)).hexdigest(), paths
